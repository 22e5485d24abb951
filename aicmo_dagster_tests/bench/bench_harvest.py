"""A harvest of 10,000 leads, from search to enriched frame, beside the least that it could take.

The ideal: of each kind of request as many at once as configured, each taking as long as the
stand-in takes to answer, one kind after the other, since each needs what the one before it found;
the first of a kind goes alone. The stand-in tells no limits of requests, so that they cost nothing.

A machine that has other things to do keeps nobody's ideal. So the same requests are also sent bare,
in the same run and as many at once, by threads that do nothing with the answers.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path

import requests

from aicmo_dagster.settings import Provider
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster_tests.bench.measure import Measured, cost
from aicmo_dagster_tests.providers.accounts import GOOD
from aicmo_dagster_tests.providers.apart import stand_in_apart
from aicmo_dagster_tests.providers.market import person_id
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.harvesting.harvests import (
    campaign,
    leads,
    open_harvest_workspace,
    search,
)

LEADS = 10_000
DELAY = 0.02
AT_ONCE = Provider("").at_once
BOUND = 1.3

BODIES = {
    "/apollo/mixed_people/api_search": {"page": 1, "per_page": 100},
    "/apollo/people/bulk_match": {"details": [{"id": person_id(n)} for n in range(20, 30)]},
}
"""The two kinds that all but a few requests are of."""


def run(scratch: Path) -> Iterator[Measured]:
    """The harvest's wall time over the ideal, and over that of bare requests."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    with (
        stand_in_apart(LEADS, 10.0 * LEADS, DELAY) as warm,
        stand_in_apart(LEADS, 10.0 * LEADS, DELAY) as stand_in,
    ):
        spent = cost(_harvest, scratch, warm.url, stand_in.url)
    with stand_in_apart(LEADS, 10.0 * LEADS, DELAY) as bare:
        seconds = cost(_send_bare, bare.url).value
    size = f"{LEADS:,} leads, {AT_ONCE} at once"
    count = f"{sum(stand_in.calls.values()):,} requests"
    ideal = ideal_seconds(stand_in.calls, DELAY, AT_ONCE)
    against = f"{count} of {DELAY * 1000:.0f} ms"
    yield Measured("harvest, wall, beside the ideal", size, spent.value, "s", ideal, against, BOUND)
    against = f"{sum(bare.calls.values()):,} bare requests"
    yield Measured("harvest, wall, beside bare requests", size, spent.value, "s", seconds, against)
    yield Measured("harvest", size, spent.cpu, "CPU s")
    yield Measured("harvest, memory", size, spent.peak, "MiB")


def ideal_seconds(calls: Counter[str], delay: float, at_once: int) -> float:
    """The least that requests of these kinds take, one kind after the other."""
    return sum(delay * (1 + ceil((count - 1) / at_once)) for count in calls.values())


def _send_bare(url: str) -> float:
    """The wall seconds of a page for each 100 leads and a match for each ten."""
    begun = time.perf_counter()
    with requests.Session() as session, ThreadPoolExecutor(AT_ONCE) as pool:
        session.headers["x-api-key"] = GOOD
        for (path, body), each in zip(BODIES.items(), (100, 10), strict=True):
            sent = [pool.submit(session.post, url + path, json=body) for _ in range(LEADS // each)]
            if not all(one.result().ok for one in sent):
                raise RuntimeError("a bare request was refused")
    return time.perf_counter() - begun


def _harvest(folder: Path, warm_url: str, url: str) -> float:
    """The wall seconds of the harvest alone: what is imported once does not count."""
    _timed(folder, warm_url, "warm", 100)
    return _timed(folder, url, "spring", LEADS)


def _timed(folder: Path, url: str, key: str, count: int) -> float:
    workspace = open_harvest_workspace(folder, f"sqlite:///{folder / key}.db", url, AT_ONCE)
    enrich = {"waterfall": ["apollo", "dropcontact"], "max_credits": 10 * LEADS}
    campaign(workspace, key, sources=[search(count)], enrich=enrich)
    begun = time.perf_counter()
    harvest(workspace, key, NOON)
    seconds = time.perf_counter() - begun
    if len(leads(workspace, key)) != count:
        raise RuntimeError("leads are lost")
    workspace.database.close()
    return seconds
