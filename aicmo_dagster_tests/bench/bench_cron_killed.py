"""SIGKILL of daemons, code server and runs at 20 random moments of a cron that fires each minute.

Every tick must end in one successful run or in a visible failure, and never in two runs, with one
daemon and with two.
"""

from collections.abc import Iterator
from pathlib import Path

from aicmo_dagster_tests.bench.cron_killing import kill_at_random
from aicmo_dagster_tests.bench.measure import Measured

CAMPAIGNS = 8
KILLS = 20
EVERY = 12.0
"""Seconds between two kills, about."""


def run(scratch: Path) -> Iterator[Measured]:
    """Ticks doubled, lost and unexplained, with Dagster's own runs as the judge."""
    for daemons in (1, 2):
        yield from trial(scratch / str(daemons), daemons, KILLS)


def trial(home: Path, daemons: int, kills: int) -> Iterator[Measured]:
    """One system, killed so often."""
    after = kill_at_random(
        home, campaigns=CAMPAIGNS, kills=kills, every=EVERY, daemons=daemons, seed=daemons
    )
    name = f"{daemons} daemon{'s' * (daemons > 1)}"
    size = f"{after.ticks} ticks, {kills} kills"
    told = ", ".join(f"{count} {state}" for state, count in sorted(after.states.items()))
    met = ", ".join(f"{count} {victim}" for victim, count in sorted(after.kills.items()))
    yield Measured(f"{name}: ticks with two good runs", size, after.doubled, "ticks", bound=0)
    yield Measured(f"{name}: ticks unlike their run", size, after.unlike, "ticks", bound=0)
    lost = after.states.get("claimed", 0) + after.unexplained
    yield Measured(f"{name}: ticks without an end or reason", size, lost, "ticks", bound=0)
    yield Measured(f"{name}: {told}; killed {met}", size, after.runs, "runs")
