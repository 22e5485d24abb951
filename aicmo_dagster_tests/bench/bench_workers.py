"""Campaigns of 2,000 leads through web server, daemon, code server and Celery workers.

All by the files in deploy, on PostgreSQL and Redis, the API beside them. The rows must be those of
a single process, also where one of two workers is killed on the way, and limits hold over all
workers.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from http import HTTPStatus
from pathlib import Path

import dagster as dg

from aicmo_dagster.settings import Provider
from aicmo_dagster_tests.bench.bench_mail_killed import postgresql
from aicmo_dagster_tests.bench.cluster import redis_server
from aicmo_dagster_tests.bench.installation import (
    SENT_EACH,
    Installation,
    Kill,
    Planned,
    differences,
    rows_of_one_process,
)
from aicmo_dagster_tests.bench.measure import Measured
from aicmo_dagster_tests.providers.accounts import GOOD
from aicmo_dagster_tests.providers.apollo import ApolloModes
from aicmo_dagster_tests.providers.market import TITLES
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.stages.harvesting.harvests import SEARCH

LEADS = 2_000
MANY, FEW, SHARED = 40, 12, 4
OF_A_MINUTE = 12
SEARCHED = {"spring": TITLES[:2], "autumn": TITLES[2:4]}


def run(scratch: Path) -> Iterator[Measured]:
    """Throughput by workers, and what killed workers and shared limits did to the rows."""
    for part in PARTS.values():
        yield from part(scratch)


def _calm(scratch: Path) -> Iterator[Measured]:
    """The rows to compare with, for the parts that follow."""
    begun = time.process_time()
    rows_of_one_process(scratch, _campaigns(MANY))
    yield Measured(
        "one process, without Dagster", _size(MANY), time.process_time() - begun, "CPU s"
    )


def _scaled(scratch: Path) -> Iterator[Measured]:
    """Throughput of one worker and of two, in the same run."""
    with _server() as server:
        one, two = (
            Installation(scratch / f"of_{len(names)}", server, _campaigns(FEW)).run(names)
            for names in (["first"], ["first", "second"])
        )
    size = _size(FEW)
    yield Measured("one worker", size, one.per_minute, "campaigns/min")
    yield Measured(
        *("two workers", size, two.per_minute, "campaigns/min", one.per_minute, "one worker"),
        bound=1.0,
        at_least=True,
    )


def _spread(scratch: Path) -> Iterator[Measured]:
    """40 campaigns over two workers, and four more of one sender."""
    expected = rows_of_one_process(scratch, _campaigns(MANY))
    with _server() as server:
        installation = Installation(scratch / "spread", server, _campaigns(MANY), _shared())
        spread = installation.run(["first", "second"])
    size = f"{_size(MANY)}, two workers"
    yield Measured("throughput", size, spread.per_minute, "campaigns/min")
    lost = differences(spread.rows, expected)
    yield Measured("frames unlike one process's", size, lost, "frames", bound=0)
    yield Measured("runs of the busier worker", size, max(spread.by_worker.values()), "runs")
    yield Measured("runs of the other", size, min(spread.by_worker.values()), "runs")
    size, sent = f"{SHARED} campaigns, cap {SENT_EACH}", spread.sent_by_shared_sender
    yield Measured("sent by a shared sender", size, sent, "mails", bound=SENT_EACH)


def _killed(scratch: Path) -> Iterator[Measured]:
    """One of two workers is killed in the middle of a run."""
    yield from _with_a_kill(scratch, Kill(dg.DagsterRunStatus.STARTED, FEW // 4))


def _starting(scratch: Path) -> Iterator[Measured]:
    """One of two workers is killed when it has taken a run and not begun it."""
    yield from _with_a_kill(scratch, Kill(dg.DagsterRunStatus.STARTING, 0))


def _limited(scratch: Path) -> Iterator[Measured]:
    """Two workers harvest with one key of a provider, more than it allows in a minute."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    modes = ApolloModes(limits={"minute": OF_A_MINUTE, "hour": 300, "day": 1000})
    with _server() as server, StandIn(200, apollo=modes, specials=False).running() as stand_in:
        searches = [_search(key, titles) for key, titles in SEARCHED.items()]
        provider = Provider(f"{stand_in.url}/apollo", GOOD)
        installation = Installation(scratch / "limited", server, searches, apollo=provider)
        harvested = installation.run(["first", "second"])
        entries = stand_in.ledger.entries
    size = f"{len(searches)} campaigns, {len(entries)} requests, {OF_A_MINUTE} of a kind a minute"
    refused = sum(entry.status != HTTPStatus.OK for entry in entries)
    yield Measured("refused by a provider", size, refused, "requests", bound=0)
    took = entries[-1].at - entries[0].at
    yield Measured("a harvest held back by it", size, took, "s", bound=60, at_least=True)
    workers = len(harvested.by_worker)
    yield Measured("workers that harvested", size, workers, "workers", bound=2, at_least=True)


PARTS: dict[str, Callable[[Path], Iterator[Measured]]] = {
    "calm": _calm,
    "scaled": _scaled,
    "spread": _spread,
    "killed": _killed,
    "starting": _starting,
    "limited": _limited,
}
"""Each takes less than four minutes on two cores of its own; `calm` is for all that follow."""


def _with_a_kill(scratch: Path, kill: Kill) -> Iterator[Measured]:
    expected = rows_of_one_process(scratch, _campaigns(FEW))
    with _server() as server:
        installation = Installation(scratch / kill.status.value.lower(), server, _campaigns(FEW))
        survived = installation.run(["first", "second"], kill)
    size = f"{_size(FEW)}, one of two workers killed at a run that is {kill.status.value}"
    lost = differences(survived.rows, expected)
    yield Measured("frames unlike one process's", size, lost, "frames", bound=0)
    yield Measured("runs beside one a campaign", size, survived.retries, "runs", bound=2)
    yield Measured("workers killed", size, survived.kills, "workers", bound=1, at_least=True)


def _search(key: str, titles: Sequence[str]) -> Planned:
    source = SEARCH | {"search": {"person_titles": [*titles]}, "max_leads": 100}
    enrich = {"waterfall": ["apollo"], "max_credits": 500}
    return Planned(key, 1, 0, key, {"sources": [source], "enrich": enrich})


def _campaigns(count: int) -> list[Planned]:
    names = [f"campaign-{number:02}" for number in range(count)]
    return [Planned(name, 1 + place * LEADS, LEADS, name) for place, name in enumerate(names)]


def _shared() -> list[Planned]:
    """Campaigns of one sender, whose cap is one campaign's."""
    first = 1 + MANY * LEADS
    return [
        Planned(f"shared-{number}", first + number * SENT_EACH, SENT_EACH, "shared")
        for number in range(SHARED)
    ]


def _size(campaigns: int) -> str:
    return f"{campaigns} campaigns of {LEADS:,} leads"


def _server() -> AbstractContextManager[str]:
    if redis_server() is None:
        raise RuntimeError("redis-server is not installed")
    return postgresql()
