"""A harvest of 10,000 leads, from search to enriched frame, beside the least that it could take.

The ideal: of each kind of request as many at once as configured, each taking as long as the
stand-in takes to answer, one kind after the other, since each needs what the one before it found;
the first of a kind goes alone. The stand-in tells no limits of requests, so that they cost nothing.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from math import ceil
from pathlib import Path

from aicmo_dagster.settings import Provider
from aicmo_dagster.stages.harvest import harvest
from aicmo_dagster_tests.bench.measure import Measured, cost
from aicmo_dagster_tests.providers.apart import stand_in_apart
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.harvesting import campaign, leads, open_harvest_workspace, search

LEADS = 10_000
DELAY = 0.02
AT_ONCE = Provider("").at_once
BOUND = 1.3


def run(scratch: Path) -> Iterator[Measured]:
    """The harvest's wall time over the ideal."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    with stand_in_apart(LEADS, 10.0 * LEADS, DELAY) as stand_in:
        spent = cost(_harvest, scratch, stand_in.url)
    size = f"{LEADS:,} leads, {AT_ONCE} at once"
    ideal = ideal_seconds(stand_in.calls, DELAY, AT_ONCE)
    against = f"{sum(stand_in.calls.values()):,} requests of {DELAY * 1000:.0f} ms"
    yield Measured("harvest, wall", size, spent.value, "s", ideal, against, BOUND)
    yield Measured("harvest", size, spent.cpu, "CPU s")
    yield Measured("harvest, memory", size, spent.peak, "MiB")


def ideal_seconds(calls: Counter[str], delay: float, at_once: int) -> float:
    """The least that requests of these kinds take, one kind after the other."""
    return sum(delay * (1 + ceil((count - 1) / at_once)) for count in calls.values())


def _harvest(folder: Path, url: str) -> float:
    """The wall seconds of the harvest alone: what is imported and opened once does not count."""
    database_url = f"sqlite:///{folder / 'harvest.db'}"
    workspace = open_harvest_workspace(folder, database_url, url, AT_ONCE)
    enrich = {"waterfall": ["apollo", "dropcontact"], "max_credits": 10 * LEADS}
    campaign(workspace, "warm", sources=[search(100)], enrich=enrich)
    harvest(workspace, "warm", NOON)
    campaign(workspace, sources=[search(LEADS)], enrich=enrich)
    begun = time.perf_counter()
    harvest(workspace, "spring", NOON)
    seconds = time.perf_counter() - begun
    if len(leads(workspace)) != LEADS:
        raise RuntimeError("leads are lost")
    workspace.database.close()
    return seconds
