"""A month of a campaign's life, SIGKILL at random moments, on both engines, with 20 seeds each.

Nobody may be mailed twice or after an objection, no credit spent twice, nobody lost, no cap broken,
and every decision must be kept.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from aicmo_dagster_tests.bench.bench_mail_killed import postgresql
from aicmo_dagster_tests.bench.measure import Measured
from aicmo_dagster_tests.simulation.killing import live_despite_kills

SEEDS = range(1, 21)
PEOPLE, DAYS, KILLS = 60, 30, 8


def run(scratch: Path) -> Iterator[Measured]:
    """Breaches of what must hold, over all seeds."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    for seed in SEEDS:
        home = scratch / f"sqlite-{seed}"
        home.mkdir()
        yield from _lived(f"SQLite, seed {seed}", home, f"sqlite:///{home}/aicmo.db", seed)
    for seed in SEEDS:
        home = scratch / f"postgresql-{seed}"
        home.mkdir()
        with postgresql() as url:
            yield from _lived(f"PostgreSQL, seed {seed}", home, url, seed)


def _lived(name: str, home: Path, url: str, seed: int) -> Iterator[Measured]:
    after = live_despite_kills(home, url, people=PEOPLE, days=DAYS, kills=KILLS, seed=seed)
    size = f"{DAYS} days, {after.kills} kills, {after.letters} mails, {after.spent:g} credits"
    yield Measured(f"{name}: broken promises", size, len(after.breaches), "breaches", bound=0)
