"""A campaign's life in processes of their own, which are killed at random moments and begun again.

The providers stay in the caller's process and the journal of arrivals on disk, so that both tell
the truth whatever happened. Not here: what must hold in the end (`invariants`).
"""

import multiprocessing
import os
import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

from aicmo_dagster.simulation.post import Journal
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.simulation.invariants import breaches
from aicmo_dagster_tests.simulation.worlds import (
    MONDAY,
    living,
    market,
    nurture,
    settle,
    world,
)
from aicmo_dagster_tests.stages.harvesting import open_harvest_workspace, search

DAILY = {"harvest": "0 6 * * *", "nurture": "*/30 * * * *"}
CAPS = {"per_sender_per_day": 25, "per_domain_per_hour": 3}
SEARCHED = 20
DELAY = 0.004
"""Seconds that the mail server takes to say that it has a message: when most kills befall."""
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Aftermath:
    """A life that was ended and begun again until it came to its end.

    Args:
        kills: How often it was killed in the middle of something.
        letters: Messages that arrived.
        spent: Credits that the providers took.
        breaches: Every invariant that does not hold.
    """

    kills: int
    letters: int
    spent: float
    breaches: list[str]


def live_despite_kills(
    home: Path, database_url: str, *, people: int, days: int, kills: int, seed: int
) -> Aftermath:
    """A campaign over `people` people of a list and SEARCHED of Apollo's, killed `kills` times."""
    drawn, until = random.Random(seed), MONDAY + timedelta(days=days)
    home.mkdir(exist_ok=True)
    with StandIn(SEARCHED, specials=False).running() as stand_in:
        workspace = open_harvest_workspace(home, database_url, stand_in.url, at_once=1)
        market(home, people, seed)
        sources = [*living().model_dump(mode="json")["sources"], search(SEARCHED)]
        enrich = {"waterfall": ["apollo", "dropcontact"], "max_credits": 500}
        sending = nurture(caps=CAPS)
        document = living(sources=sources, enrich=enrich, schedule=DAILY, nurture=sending)
        settle(workspace, document)
        given = (home, database_url, stand_in.url, until, seed)
        steps = (drawn.randint(1, 25) for _ in range(kills))
        killed = sum(_killed(given, _steps(home) + step, drawn.random() / 50) for step in steps)
        last = _started(given)
        last.join()
        journal = Journal(home / "journal")
        found = breaches(workspace, ["spring"], journal, until)
        found += [] if last.exitcode == 0 else [f"the last process ended with {last.exitcode}"]
        for provider in ("apollo", "dropcontact"):
            twice = stand_in.ledger.paid_twice(provider)
            found += [f"{provider} was paid twice for {len(twice)} people"] if twice else []
        spent = stand_in.ledger.spent()
        journal.close()
        workspace.database.close()
    return Aftermath(killed, len(journal.letters), spent, found)


_Given = tuple[Path, str, str, datetime, int]


def _killed(given: _Given, step: int, moment: float) -> bool:
    """Whether it was killed, `moment` seconds after its journal had `step` lines, or had ended."""
    process = _started(given)
    while process.is_alive() and _steps(given[0]) < step:
        time.sleep(0.002)
    process.join(moment)
    process.kill()
    process.join()
    return process.exitcode != 0


def _steps(home: Path) -> int:
    path = home / "journal"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _started(given: _Given) -> BaseProcess:
    process = _PROCESSES.Process(target=_live, args=given)
    process.start()
    return process


def _live(home: Path, database_url: str, url: str, until: datetime, seed: int) -> None:
    os.environ["NO_PROXY"] = "127.0.0.1"
    workspace = open_harvest_workspace(home, database_url, url, at_once=1)
    world(workspace, seed=seed, pause=partial(time.sleep, DELAY)).run(until)
    workspace.database.close()
