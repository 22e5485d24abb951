"""Which ticks share a run: one of its own costs a campaign several CPU seconds before it begins.

Small campaigns share; a large one has a run of its own, so that no other waits for it. Not here:
which ticks are due (`clock`), or how campaigns of one run are kept apart (`defs.shared_runs`).
"""

import hashlib
from collections.abc import Collection, Container, Mapping, Sequence
from datetime import timedelta

import sqlalchemy as sa

from aicmo_dagster.domain.schedules import Tick
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.domain.sections.sources import CsvSource
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.harvesting.source_files import bytes_in, patterns_of
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.results import last_durations
from aicmo_dagster.store.uploads import list_uploads

NURTURE, HARVEST = "nurture", "harvest"
SHARED = {NURTURE: STAGES[4:], HARVEST: STAGES[:4]}
"""The jobs whose ticks may share a run, and their stages."""

LARGE = timedelta(minutes=1)
"""A campaign whose nurture took longer has a run of its own."""

MOST_CAMPAIGNS, MOST_WORK = 200, timedelta(minutes=5)
"""What one run of nurture is for; campaigns beyond it have the next, side by side with it."""

UNKNOWN = timedelta(seconds=1)
"""What a campaign that was never nurtured is taken to need."""

LONG_HARVEST = timedelta(seconds=15)
"""So has one whose harvest, with what follows, took longer than this."""

MOST_BYTES = 2_000_000
"""And one whose files hold more: some ten thousand leads."""

MOST_ROWS = 10_000
"""And one whose imports do."""

FEW = 4
"""So few harvests at once have runs of their own, side by side and each in the UI as its own."""

_AGAIN = "#"
"""In the key of a run: it is followed by how many were lost before."""

Lengths = Mapping[tuple[str, str], timedelta]
"""(job, campaign) to how long the job took it the last time that it went well."""


def lengths_of(connection: sa.Connection, job: str, campaigns: Collection[str]) -> Lengths:
    """How long the stages of the job took; a campaign that was never done is absent."""
    found: dict[tuple[str, str], timedelta] = {}
    if not campaigns:
        return found
    for stage in SHARED[job]:
        for campaign, length in last_durations(connection, stage, campaigns).items():
            found[job, campaign] = found.get((job, campaign), timedelta()) + length
    return found


def within_a_run(nurtures: Sequence[Tick], lengths: Lengths) -> list[Tick]:
    """The first of `nurtures`: those of large campaigns, and as many others as one run is for."""
    found: list[Tick] = []
    work = timedelta()
    for tick in nurtures[:MOST_CAMPAIGNS]:
        length = lengths.get((NURTURE, tick.campaign), UNKNOWN)
        work += length if length <= LARGE else timedelta()
        if work > MOST_WORK:
            break
        found.append(tick)
    return found


def sharing(workspace: Workspace, due: Sequence[Tick], lengths: Lengths) -> set[Tick]:
    """Those of `due`, which are to be done now, that share a run with others of their job."""
    nurtures = {
        tick
        for tick in due
        if tick.job == NURTURE and lengths.get((NURTURE, tick.campaign), LARGE) <= LARGE
    }
    harvests = [tick for tick in due if tick.job == HARVEST]
    if len(harvests) <= FEW:
        return nurtures
    small = {
        tick
        for tick in harvests
        if _is_small(workspace, tick.campaign, lengths.get((HARVEST, tick.campaign)))
    }
    return nurtures | (small if len(small) > FEW else set())


def run_keys(due: Sequence[Tick], shares: Container[Tick]) -> dict[Tick, str]:
    """Tick to the key of the run that is going to do it: its own, or that of all who share it."""
    together: dict[str, str] = {}
    for job in SHARED:
        keys = "".join(tick.key for tick in due if tick.job == job and tick in shares)
        together[job] = f"{job}:{hashlib.sha256(keys.encode()).hexdigest()[:16]}"
    return {tick: together[tick.job] if tick in shares else tick.key for tick in due}


def key_again(tick: Tick, run_key: str) -> str:
    """The key of the next run of a tick whose run of the key `run_key` was lost.

    What was lost with others is done apart from them, lest it be what ends them all: a harvest at
    once, and nurture, of which many are lost together, in one of sixteen runs before.
    """
    lost = losses(run_key)
    key = tick.key
    if tick.job == NURTURE and not lost and not is_own(tick, run_key):
        key = f"{run_key}-{hashlib.sha256(key.encode()).hexdigest()[0]}"
    return f"{key}{_AGAIN}{lost + 1}"


def losses(run_key: str) -> int:
    """How many runs of the key have been lost."""
    return int(run_key.partition(_AGAIN)[2] or 0)


def is_own(tick: Tick, run_key: str) -> bool:
    """Whether the run of the key is that of the tick alone."""
    return run_key.partition(_AGAIN)[0] == tick.key


def _is_small(workspace: Workspace, campaign: str, length: timedelta | None) -> bool:
    """Whether a harvest is not going to keep others waiting, as far as one can tell."""
    if length is not None and length > LONG_HARVEST:
        return False
    try:
        stored = workspace.campaign(campaign)
    except AicmoError:  # its own run says what is wrong
        return False
    if length is None and _asks_others(stored):
        return False
    with workspace.database.read() as connection:
        imported = sum(upload.rows for upload in list_uploads(connection, campaign))
    return imported <= MOST_ROWS and bytes_in(patterns_of(stored)) <= MOST_BYTES


def _asks_others(stored: StoredCampaign) -> bool:
    """Whether the harvest waits for a provider or a remote file."""
    document = stored.campaign
    return document.enrich is not None or any(
        not isinstance(source, CsvSource) or source.is_remote for source in document.sources
    )
