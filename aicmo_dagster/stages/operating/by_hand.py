"""What people change by hand, through the API or the command line: each change is on record.

Every function here makes its change and the audit's row of it in the caller's one transaction; `by`
is whom the change itself names, `who` is ``token:ID`` or ``cli:USER``. Not here: deciding about a
lead (`overriding`), pauses and versions (`lifecycle`), sends in doubt (`doubtful`), erasure.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.tokens import Suppressed
from aicmo_dagster.errors import NotFound
from aicmo_dagster.stages.operating.arrivals import watch_files
from aicmo_dagster.store import escalations, handoffs, models, suppressions
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.campaigns import (
    StoredCampaign,
    apply_campaign,
    archive_campaign,
    load_campaign,
    lock_facts,
)
from aicmo_dagster.store.database import take_turn


def apply(
    connection: sa.Connection,
    campaign: Campaign,
    templates: dict[str, str],
    folder: Path,
    *,
    who: str,
    now: datetime,
) -> tuple[StoredCampaign, bool]:
    """The campaign is in force in just this form; tells whether that changed its document."""
    before = lock_facts(connection, campaign.campaign)
    stored, changed = apply_campaign(connection, campaign, templates, folder, now)
    watch_files(connection, stored, now)
    if before != _facts(stored):
        _tell_of_campaign(connection, "campaign.apply", before, stored, who, now)
    return stored, changed


def archive(connection: sa.Connection, key: str, *, who: str, now: datetime) -> StoredCampaign:
    """The campaign runs no more and keeps its history.

    Raises:
        NotFound: If there is no such campaign.
    """
    before = lock_facts(connection, key)
    changed = archive_campaign(connection, key, now)
    stored = load_campaign(connection, key)
    if changed:
        _tell_of_campaign(connection, "campaign.archive", before, stored, who, now)
    return stored


def suppress(
    connection: sa.Connection,
    kind: Suppressed,
    key: str,
    *,
    reason: str,
    by: str,
    who: str,
    now: datetime,
) -> bool:
    """Whoever the keyed hash stands for is written to no more; tells whether that is new."""
    new = suppressions.suppress(connection, kind, key, reason, by, now)
    if new:
        record_change(connection, who, "suppression.add", now, subject=key, after={"kind": kind})
    return new


def promote(
    connection: sa.Connection,
    key: str,
    version: str,
    *,
    reason: str,
    by: str,
    who: str,
    now: datetime,
) -> str:
    """The model is in charge of the campaign, whatever its gate said; tells its whole version.

    Raises:
        AicmoError: If there is no such model, or it cannot be.
    """
    take_turn(connection, f"models of {key}")
    named = models.find_model(connection, key, version).version
    before = models.promoted_model(connection, key)
    models.promote(connection, key, named, reason=reason, decided_by=by, now=now)
    versions = before.version if before else None, named
    _tell_of_model(connection, "model.promote", key, versions, who, now)
    return named


def roll_back(
    connection: sa.Connection, key: str, *, reason: str, by: str, who: str, now: datetime
) -> tuple[str, str | None]:
    """The latest promotion is undone: the model that is retired, and the one in charge, if any.

    Raises:
        AicmoError: If there is no promotion to undo.
    """
    take_turn(connection, f"models of {key}")
    versions = models.roll_back(connection, key, reason=reason, decided_by=by, now=now)
    _tell_of_model(connection, "model.rollback", key, versions, who, now)
    return versions


def resend(connection: sa.Connection, key: str, lead_id: str, *, who: str, now: datetime) -> None:
    """The lead's handoff is delivered again, under the same key.

    Raises:
        NotFound: If the lead was not handed over.
    """

    def act() -> None:
        handoffs.resend(connection, key, lead_id, now)

    _change_handoff(connection, "handoff.resend", key, lead_id, act, who, now)


def acknowledge(
    connection: sa.Connection, key: str, lead_id: str, *, by: str, who: str, now: datetime
) -> bool:
    """`by` has taken the lead up: no reminder follows. Tells whether nobody had before.

    Raises:
        NotFound: If the lead was not handed over.
    """

    def act() -> None:
        handoffs.acknowledge(connection, key, lead_id, by, now)
        escalations.drop(connection, key, lead_id, now)

    return _change_handoff(connection, "handoff.acknowledge", key, lead_id, act, who, now)


def _change_handoff(
    connection: sa.Connection,
    action: str,
    key: str,
    lead_id: str,
    act: Callable[[], None],
    who: str,
    now: datetime,
) -> bool:
    """`act` is done, and on record if it changed anything, which it tells."""
    before = _handoff(connection, key, lead_id)
    act()
    after = _handoff(connection, key, lead_id)
    changed = before != after
    if changed:
        told = {"before": before, "after": after}
        record_change(connection, who, action, now, campaign=key, subject=lead_id, **told)
    return changed


def _handoff(connection: sa.Connection, key: str, lead_id: str) -> dict[str, Any]:
    row = handoffs.handoff_of_lead(connection, key, lead_id)
    if row is None:
        raise NotFound(f"campaign {key!r} handed over no such lead")
    due_at = row["next_attempt_at"] and row["next_attempt_at"].isoformat()
    # Not by whom it was taken up: that may be any name, or an address.
    taken_up = row["acknowledged_at"] is not None
    told = {"state": row["state"], "attempts": row["attempts"], "acknowledged": taken_up}
    return told | {"next_attempt_at": due_at}


def _tell_of_campaign(
    connection: sa.Connection,
    action: str,
    before: dict[str, Any] | None,
    after: StoredCampaign,
    who: str,
    now: datetime,
) -> None:
    """The audit tells versions; their documents, which hold addresses, stay where they are."""
    record_change(
        connection,
        who,
        action,
        now,
        campaign=after.campaign.campaign,
        before=before,
        after=_facts(after),
    )


def _facts(stored: StoredCampaign) -> dict[str, Any]:
    return {"version": stored.version, "state": stored.state, "digest": stored.digest}


def _tell_of_model(
    connection: sa.Connection,
    action: str,
    key: str,
    versions: tuple[str | None, str | None],
    who: str,
    now: datetime,
) -> None:
    before, after = ({"version": version} for version in versions)
    record_change(connection, who, action, now, campaign=key, before=before, after=after)
