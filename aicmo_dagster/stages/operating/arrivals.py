"""What arrives by itself and wants a harvest: files of CSV sources, answers that were pending.

Not here: reading either (`harvest`), or what the clock says (`clock`), which also asks again for a
run whose taker died.
"""

import hashlib
import logging
import math
from collections.abc import Iterable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice

import sqlalchemy as sa

from aicmo_dagster.domain.field_types import is_url
from aicmo_dagster.domain.schedules import Tick, is_blacked_out
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.remote_files import matching
from aicmo_dagster.stages.harvesting.source_files import files_of, patterns_of
from aicmo_dagster.stages.operating.clock import AT_ONCE, Request
from aicmo_dagster.stages.operating.sharing import HARVEST
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.provider_calls import pending_since
from aicmo_dagster.store.source_marks import Watched, move_mark, put_mark, watched_files
from aicmo_dagster.store.ticks import active_schedules, open_ticks, take_tick

NEW_FILES, ANSWERS = "new_files", "answers"

SETTLED = timedelta(seconds=30)
"""A file that was written to later than this ago may still be."""

FIRST_ASK = timedelta(minutes=10)
"""An answer that is pending is asked for after this, then after twice as long, and so on."""


REMOTE_SECONDS = 20.0
"""How long all URLs together are waited for."""

REMOTE_AT_ONCE = 8

Seen = tuple[str, float]
"""A state of files, and when one of them was last written to, in seconds of the epoch."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Known:
    """A campaign's files, what they are called, and whether that has just been looked up."""

    watched: Watched
    patterns: list[str] | None
    is_new: bool


def look_for_arrivals(workspace: Workspace, busy: Set[str], now: datetime) -> list[Request]:
    """The harvests to start, each once, whoever looks and how often.

    Files that are there when a campaign is applied start nothing (`watch_files`).

    Args:
        workspace: The settings and the database.
        busy: Campaigns of which a run goes; they are looked at again, as are those whose harvest
            the clock has asked for and that has not ended.
        now: The instant of looking.
    """
    with workspace.database.read() as connection:
        schedules = active_schedules(connection)
        watched = watched_files(connection)
        pending = pending_since(connection)
        asked_for = [found.tick for found in open_ticks(connection)]
    harvests = {tick.campaign for tick in asked_for if tick.job == HARVEST}
    resting = {key for key, s in schedules.items() if not s.enabled or is_blacked_out(s, now)}
    held = busy | harvests | resting
    known = [_with_patterns(workspace, each) for each in watched]
    remote = _remote_marks(p for each in known for p in each.patterns or () if is_url(p))
    due = {k: at for k, at in pending.items() if k in schedules and now - at >= FIRST_ASK}
    new_files = (_file_tick(workspace, each, remote, held, now) for each in known)
    answers = (_answer_tick(workspace, k, at, now) for k, at in due.items() if k not in held)
    # No more are taken than are asked for: the others are taken at the next look.
    taken = islice((tick for tick in chain(new_files, answers) if tick), AT_ONCE)
    return [Request(tick.job, (tick.campaign,), tick.key, tick.at) for tick in taken]


def watch_files(connection: sa.Connection, stored: StoredCampaign, now: datetime) -> None:
    """What arrives from now on is new to the campaign; what an earlier version awaited still is.

    URLs are not asked within a transaction, but by the next look, from which on they count.
    """
    patterns = patterns_of(stored)
    if any(map(is_url, patterns)):
        return
    if found := _mark_of(patterns, {}, now):
        put_mark(connection, stored.campaign.campaign, stored.version, patterns, found[0], now)


def _mark_of(patterns: list[str], remote: Mapping[str, Seen | None], now: datetime) -> Seen | None:
    """What tells this state of the files from any other, and when one was last written to.

    None if some URL could not be asked: what cannot be read is not taken to be empty. A date in the
    future, which another machine gave, or this one before its clock was set back, tells nothing.

    Args:
        patterns: Paths and URLs.
        remote: What was found at the URLs.
        now: The instant of looking.
    """
    seen: list[object] = []
    dates = [0.0]
    for pattern in patterns:
        if is_url(pattern):
            told = remote[pattern]
            if told is None:
                return None
            seen.append(told[0])
            dates.append(told[1])
            continue
        for file in files_of(pattern):
            seen.append(file)
            dates.append(file[2] / 1e9)
    latest = max(date for date in dates if date <= (now + SETTLED).timestamp())
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16], latest


def _remote_marks(urls: Iterable[str]) -> dict[str, Seen | None]:
    """What is found at each URL; None where nothing is, or it does not answer in time.

    Some protocols do not tell a server that is down from one that has no such file.
    """
    pool = ThreadPoolExecutor(REMOTE_AT_ONCE)
    asked = {url: pool.submit(_remote_mark, url) for url in set(urls)}
    wait(asked.values(), REMOTE_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)  # one that hangs must not hold up the others
    return {
        url: future.result() if future.done() and not future.cancelled() else None
        for url, future in asked.items()
    }


def _remote_mark(url: str) -> Seen | None:
    try:
        files = matching(url, "arrivals")
    except AicmoError as error:
        _log.warning("a source is not looked at: %s", type(error).__name__)
        return None
    if not files:
        return None
    return repr([(f.url, f.state) for f in files]), max(file.written for file in files)


def _with_patterns(workspace: Workspace, watched: Watched) -> _Known:
    """`watched` with its patterns; without any if its document cannot be read."""
    if watched.patterns is not None:
        return _Known(watched, watched.patterns, is_new=False)
    try:
        return _Known(watched, patterns_of(workspace.campaign(watched.campaign)), is_new=True)
    except AicmoError:  # a document of another version must not hold up the others
        return _Known(watched, None, is_new=True)


def _file_tick(
    workspace: Workspace,
    known: _Known,
    remote: Mapping[str, Seen | None],
    held: Set[str],
    now: datetime,
) -> Tick | None:
    """The tick for files that have changed, taken by us."""
    watched, patterns = known.watched, known.patterns
    found = _mark_of(patterns, remote, now) if patterns is not None else None
    if patterns is None or found is None:
        return None
    mark, written = found
    if known.is_new:
        with workspace.database.write() as connection:
            put_mark(connection, watched.campaign, watched.version, patterns, mark, now)
        return None
    if mark == watched.mark or watched.campaign in held or written > (now - SETTLED).timestamp():
        return None
    tick = Tick(now, watched.campaign, NEW_FILES)
    with workspace.database.write() as connection:
        ours = move_mark(connection, watched, mark, now) and take_tick(connection, tick, now)
    return tick if ours else None


def _answer_tick(
    workspace: Workspace, campaign: str, since: datetime, now: datetime
) -> Tick | None:
    """The tick for answers that are pending since then, taken by us."""
    tick = Tick(_slot(since, now), campaign, ANSWERS)
    with workspace.database.write() as connection:
        return tick if take_tick(connection, tick, now) else None


def _slot(since: datetime, now: datetime) -> datetime:
    """The latest instant at which to ask: the first, twice as late, four times as late."""
    doublings = math.floor(math.log2((now - since) / FIRST_ASK))
    return since + FIRST_ASK * 2**doublings
