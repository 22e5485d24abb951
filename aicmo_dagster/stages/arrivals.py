"""What arrives by itself and wants a harvest: files of CSV sources, answers that were pending.

Not here: reading either (`harvest`), or what the clock says (`clock`), which also asks again for a
run whose taker died.
"""

import glob
import hashlib
import math
from collections.abc import Set
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from aicmo_dagster.domain.campaigns import CsvSource
from aicmo_dagster.domain.schedules import Tick, is_blacked_out
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.clock import Request
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.provider_calls import pending_since
from aicmo_dagster.store.source_marks import Watched, move_mark, put_mark, watched_files
from aicmo_dagster.store.ticks import active_schedules, take_tick

NEW_FILES, ANSWERS = "new_files", "answers"

SETTLED = timedelta(seconds=30)
"""A file that was written to later than this ago may still be."""

FIRST_ASK = timedelta(minutes=10)
"""An answer that is pending is asked for after this, then after twice as long, and so on."""


def look_for_arrivals(workspace: Workspace, busy: Set[str], now: datetime) -> list[Request]:
    """The harvests to start, each once, whoever looks and how often.

    Files that are seen for the first time start nothing: they were there before.

    Args:
        workspace: The settings and the database.
        busy: Campaigns of which a run goes; they are looked at again.
        now: The instant of looking.
    """
    with workspace.database.read() as connection:
        schedules = active_schedules(connection)
        watched = watched_files(connection)
        pending = pending_since(connection)
    resting = {key for key, s in schedules.items() if not s.enabled or is_blacked_out(s, now)}
    held = busy | resting
    taken = [tick for each in watched if (tick := _file_tick(workspace, each, held, now))]
    for campaign, since in pending.items():
        if campaign in schedules and campaign not in held and now - since >= FIRST_ASK:
            tick = Tick(_slot(since, now), campaign, ANSWERS)
            with workspace.database.write() as connection:
                taken += [tick] if take_tick(connection, tick, now) else []
    return [Request(tick.job, (tick.campaign,), tick.key, tick.at) for tick in taken]


def mark_of(patterns: list[str]) -> tuple[str, float]:
    """What tells this state of the files from any other, and when one was last written to."""
    seen = []
    for pattern in patterns:
        for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - absolute patterns
            try:
                stat = Path(name).stat()
            except OSError:  # gone since
                continue
            seen.append((name, stat.st_size, stat.st_mtime_ns))
    latest = max((written / 1e9 for _, _, written in seen), default=0.0)
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16], latest


def _file_tick(
    workspace: Workspace, watched: Watched, held: Set[str], now: datetime
) -> Tick | None:
    """The tick for files that have changed, taken by us."""
    if watched.patterns is None:
        try:
            patterns = _patterns(workspace.campaign(watched.campaign))
        except AicmoError:  # a document of another version must not hold up the others
            return None
        mark, _ = mark_of(patterns)
        with workspace.database.write() as connection:
            put_mark(connection, replace(watched, patterns=patterns), mark, now)
        return None
    mark, written = mark_of(watched.patterns)
    if mark == watched.mark or watched.campaign in held or written > (now - SETTLED).timestamp():
        return None
    tick = Tick(now, watched.campaign, NEW_FILES)
    with workspace.database.write() as connection:
        ours = move_mark(connection, watched, mark, now) and take_tick(connection, tick, now)
    return tick if ours else None


def _patterns(stored: StoredCampaign) -> list[str]:
    """The paths of the campaign's CSV sources; a name that is no pattern stands for itself."""
    paths = [s.path for s in stored.campaign.sources if isinstance(s, CsvSource)]
    full = [stored.folder / path for path in paths]
    return [glob.escape(str(path)) if path.is_file() else str(path) for path in full]


def _slot(since: datetime, now: datetime) -> datetime:
    """The latest instant at which to ask: the first, twice as late, four times as late."""
    doublings = math.floor(math.log2((now - since) / FIRST_ASK))
    return since + FIRST_ASK * 2**doublings
