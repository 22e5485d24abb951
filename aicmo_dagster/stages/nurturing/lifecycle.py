"""Pausing, resuming and moving leads to another version: each shows its counts before it is done.

A single lead is paused by an override, and its sends wait like others. Not here: what follows for
each send (`domain.nurture.lifecycle`).
"""

from datetime import datetime, timedelta

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.nurture.lifecycle import (
    MODES,
    SPREAD_OVER,
    Mode,
    migration,
    resume_counts,
    resumed,
)
from aicmo_dagster.errors import AicmoError, BadInput, Problem
from aicmo_dagster.stages.deciding.overriding import decide
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import pauses
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.campaigns import load_campaign
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.overrides import active_overrides
from aicmo_dagster.store.pauses import Pause
from aicmo_dagster.store.sequence_versions import leads_in_flight, move_to_version


def pause(
    workspace: Workspace,
    key: str,
    *,
    reason: str,
    by: str,
    who: str,
    now: datetime,
    sequence: str | None = None,
) -> bool:
    """The campaign, or one sequence of it, sends nothing from now on; tells whether that is new.

    Raises:
        BadInput: If the campaign has no such sequence.
    """
    known = workspace.campaign(key).campaign.sequences
    if sequence is not None and sequence not in known:
        raise BadInput(Problem(key, "sequence", repr(sequence), f"one of: {', '.join(known)}"))
    with workspace.database.write() as connection:
        new = pauses.begin_pause(connection, key, sequence, reason, by, now)
        if new:
            after = {"paused": True, "sequence": sequence}
            record_change(connection, who, "campaign.pause", now, campaign=key, after=after)
    return new


def preview_resume(
    workspace: Workspace,
    key: str,
    *,
    now: datetime,
    sequence: str | None = None,
    lead_id: str | None = None,
    over: timedelta = SPREAD_OVER,
) -> pd.DataFrame:
    """What each way to resume would do, in sends: mode, skipped, moved, due_at_once, due_later.

    Of the campaign, of one sequence, or of one lead.
    """
    with workspace.database.read() as connection:
        if lead_id is not None:
            since = _paused_lead(connection, key, lead_id, now)
            waiting = pauses.sends_of_paused(connection, key, lead_id)
        else:
            paused = _active(connection, key, sequence)
            since, waiting = paused.paused_at, pauses.sends_behind(connection, key, paused)
    return resume_counts(waiting, paused_at=since, now=now, over=over)


def resume(
    workspace: Workspace,
    key: str,
    mode: Mode,
    *,
    by: str,
    who: str,
    now: datetime,
    sequence: str | None = None,
    over: timedelta = SPREAD_OVER,
) -> int:
    """The pause has ended, in the way of `mode`; tells how many sends that changed.

    Raises:
        AicmoError: If nothing is paused.
        BadInput: If there is no such mode.
    """
    if mode not in MODES:
        raise BadInput(Problem("resume", "mode", repr(mode), f"one of: {', '.join(MODES)}"))
    with workspace.database.write() as connection:
        take_turn(connection, f"planning of {key}")
        paused = _active(connection, key, sequence)
        waiting = pauses.sends_behind(connection, key, paused)
        changes = resumed(waiting, mode, paused_at=paused.paused_at, now=now, over=over)
        pauses.end_pause(connection, paused, mode, by, now)
        changed = pauses.change_sends(connection, key, changes)
        record_change(
            connection,
            who,
            "campaign.resume",
            now,
            campaign=key,
            before={"paused": True, "sequence": sequence, "since": paused.paused_at.isoformat()},
            after={"paused": False, "sequence": sequence, "mode": mode, "sends": changed},
        )
    return changed


def resume_lead(
    workspace: Workspace,
    key: str,
    lead_id: str,
    mode: Mode,
    *,
    reason: str,
    by: str,
    who: str,
    now: datetime,
    over: timedelta = SPREAD_OVER,
) -> int:
    """The lead's pause has ended, in the way of `mode`; tells how many sends that changed.

    Raises:
        AicmoError: If the lead is not paused.
    """
    with workspace.database.write() as connection:
        take_turn(connection, f"planning of {key}")
        since = _paused_lead(connection, key, lead_id, now)
        waiting = pauses.sends_of_paused(connection, key, lead_id)
        changes = resumed(waiting, mode, paused_at=since, now=now, over=over)
        decide(connection, key, lead_id, "resume", reason, by, now, who=who)
        return pauses.change_sends(connection, key, changes)


def preview_migration(workspace: Workspace, key: str, version: int | None = None) -> pd.DataFrame:
    """Who would get what in `version`, the current one if not given: see `lifecycle.migration`."""
    with workspace.database.read() as connection:
        stored = load_campaign(connection, key, version)
        return migration(leads_in_flight(connection, key), stored.campaign, stored.version)


def migrate(
    workspace: Workspace, key: str, now: datetime, version: int | None = None, *, who: str
) -> int:
    """Leads in flight follow `version` from now on, as its preview says; tells how many."""
    with workspace.database.write() as connection:
        take_turn(connection, f"leads of {key}")
        take_turn(connection, f"planning of {key}")
        stored = load_campaign(connection, key, version)
        leads = migration(leads_in_flight(connection, key), stored.campaign, stored.version)
        moving = leads[leads["stays"].isna()]
        moved = move_to_version(connection, key, moving["lead_id"], stored.version, now)
        counts = moving["from_version"].value_counts().items()
        before = {"leads_by_version": {str(of): int(count) for of, count in counts}}
        after = {"leads": moved, "version": stored.version}
        if moved:
            record_change(
                connection, who, "campaign.migrate", now, campaign=key, before=before, after=after
            )
    return moved


def _paused_lead(connection: sa.Connection, key: str, lead_id: str, now: datetime) -> datetime:
    """Since when the lead is paused."""
    active = active_overrides(connection, key, now)
    mine = active[(active["lead_id"] == lead_id) & (active["action"] == "pause")]
    if mine.empty:
        raise AicmoError(f"lead {lead_id} of campaign {key!r} is not paused")
    since: datetime = mine["decided_at"].iloc[0].to_pydatetime()
    return since


def _active(connection: sa.Connection, key: str, sequence: str | None) -> Pause:
    for active in pauses.active_pauses(connection, key):
        if active.sequence == sequence:
            return active
    what = f"sequence {sequence!r} of campaign {key!r}" if sequence else f"campaign {key!r}"
    raise AicmoError(f"{what} is not paused")
