"""Harvests in processes of their own, which may be killed at any moment and begun again.

The stand-in stays in the caller's process, and tells in its ledger what was paid for.
"""

import json
import os
import random
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pandas as pd

from aicmo_dagster.domain.tokens import person_key
from aicmo_dagster.stages.harvesting.asked import asked_about, identity_of
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.forked import processes
from aicmo_dagster_tests.providers.clock import FastClock, on_clock
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.harvesting.harvests import (
    calls,
    campaign,
    leads,
    open_harvest_workspace,
    search,
)

HOUR = 3600.0
BUDGET = 1_000_000


def harvest_apart(
    home: Path, database_url: str, url: str, key: str = "spring", clock: FastClock | None = None
) -> BaseProcess:
    """A process that harvests a campaign, which must have been applied."""
    given = (home, database_url, url, key, clock or FastClock())
    process = processes().Process(target=_harvest, args=given)
    process.start()
    return process


def _harvest(home: Path, database_url: str, url: str, key: str, clock: FastClock) -> None:
    os.environ["NO_PROXY"] = "127.0.0.1"
    workspace = open_harvest_workspace(home, database_url, url)
    harvest(workspace, key, NOON, on_clock(clock))
    workspace.database.close()


@dataclass(frozen=True)
class Point:
    """When to kill.

    Args:
        request: At which request, of all that the stand-in ever saw.
        moment: `arrived`, `processed` and not answered, or `later`.
        delay: Seconds after that, if it is later.
    """

    request: int
    moment: str
    delay: float


@dataclass(frozen=True)
class Survived:
    """A harvest that was killed and begun again until it came to its end.

    Args:
        leads: Its leads.
        doubtful: The ids of leads that a call in doubt asked about.
        kills: How often it was killed.
        released: Calls in doubt that turned out to have cost nothing.
    """

    leads: pd.DataFrame
    doubtful: set[str]
    kills: int
    released: int


def random_points(count: int, requests: int, seed: int) -> list[Point]:
    """`count` moments, spread at random over so many requests."""
    chance = random.Random(seed)
    numbers = sorted(chance.sample(range(1, requests), count))
    moments = ("arrived", "processed", "later")
    return [Point(n, chance.choice(moments), chance.random() * 0.05) for n in numbers]


def harvest_calmly(folder: Path, database_url: str, stand_in: StandIn, size: int) -> pd.DataFrame:
    """The leads of a harvest that nothing befalls."""
    workspace = _prepared(folder, database_url, stand_in, size)
    process = harvest_apart(folder, database_url, stand_in.url)
    _joined(process)
    found = leads(workspace)
    workspace.database.close()
    return found


def harvest_killed(
    folder: Path, database_url: str, stand_in: StandIn, size: int, points: Sequence[Point]
) -> Survived:
    """The harvest of `size` leads, killed at each of `points` and begun again each time."""
    workspace = _prepared(folder, database_url, stand_in, size)
    kills = sum(_killed(folder, database_url, stand_in, point) for point in points)
    _joined(harvest_apart(folder, database_url, stand_in.url))
    before = _in_doubt(workspace)
    # By now the balance tells.
    later = FastClock(ahead=HOUR)
    _joined(harvest_apart(folder, database_url, stand_in.url, clock=later))
    after = _in_doubt(workspace)
    survived = Survived(
        leads(workspace), _leads_of(workspace, after), kills, len(before) - len(after)
    )
    workspace.database.close()
    return survived


def _prepared(folder: Path, database_url: str, stand_in: StandIn, size: int) -> Workspace:
    folder.mkdir()
    workspace = open_harvest_workspace(folder, database_url, stand_in.url)
    enrich = {"waterfall": ["apollo", "dropcontact"], "max_credits": BUDGET}
    campaign(workspace, sources=[search(size)], enrich=enrich)
    return workspace


def _killed(folder: Path, database_url: str, stand_in: StandIn, point: Point) -> bool:
    """Whether the harvest was killed at `point`; else it came to its end before."""
    process = harvest_apart(folder, database_url, stand_in.url)
    is_time = threading.Event()

    def witness(moment: str) -> None:
        wanted = "processed" if point.moment == "later" else point.moment
        if moment == wanted and len(stand_in.requests) >= point.request and not is_time.is_set():
            is_time.set()
            if point.moment != "later" and process.pid:
                os.kill(process.pid, signal.SIGKILL)

    stand_in.witness = witness
    while process.is_alive() and not is_time.wait(0.02):
        pass
    if is_time.is_set() and point.moment == "later":
        process.join(point.delay)
        process.kill()
    process.join()
    stand_in.witness = lambda moment: None
    return process.exitcode == -signal.SIGKILL


def _joined(process: BaseProcess) -> None:
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"a harvest ended with {process.exitcode}")


def _in_doubt(workspace: Workspace) -> list[list[str]]:
    """The people, by their key, of every call in doubt."""
    found = calls(workspace, "people", "state")
    return [json.loads(people) for people, state in found if state in ("begun", "unknown")]


def _leads_of(workspace: Workspace, doubtful: list[list[str]]) -> set[str]:
    """The ids of the leads that these calls ask about."""
    people = {person for call in doubtful for person in call}
    found = leads(workspace)
    plain = found.astype(object).where(found.notna(), None).to_dict("records")
    key = workspace.settings.secret_key()
    return {
        asked.key
        for provider in ("apollo", "dropcontact")
        for asked in asked_about(provider, plain)
        if (identity := identity_of(asked)) and person_key(key, provider, identity) in people
    }
