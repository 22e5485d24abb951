"""Leads handed to sales: one a campaign and lead, delivered at least once under its own key.

due → delivered, or dead when every attempt failed; a dead one may be made due again. Not here:
whom to hand over (`domain.nurture.graduation`), or delivering (`handoff`).
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.domain.addresses import FREE_MAIL
from aicmo_dagster.errors import NotFound
from aicmo_dagster.store.tables import FRAME_TABLES, handoffs
from aicmo_dagster.store.upserts import insert_once

DUE, DELIVERED, DEAD = "due", "delivered", "dead"
LEASE = timedelta(minutes=10)
"""For this long an attempt is its worker's; after it, another may try."""

_HANDOFFS = handoffs.c
_RAW = FRAME_TABLES["raw_leads"].c
_ROUTED = FRAME_TABLES["routed_leads"].c


@dataclass(frozen=True)
class Handoff:
    """A handoff that a worker is to deliver now."""

    campaign: str
    lead_id: str
    destination: str
    key: str
    document: dict[str, Any]
    attempts: int


def add_handoff(
    connection: sa.Connection,
    campaign: str,
    lead_id: str,
    destination: str,
    key: str,
    reason: str,
    document: dict[str, Any],
    now: datetime,
) -> bool:
    """The lead is handed over, to be delivered from now on; tells whether that is new."""
    return insert_once(
        connection,
        handoffs,
        campaign=campaign,
        lead_id=lead_id,
        destination=destination,
        state=DUE,
        reason=reason,
        created_at=now,
        key=key,
        document=json.dumps(document, sort_keys=True),
        next_attempt_at=now,
    )


def handed_leads(connection: sa.Connection, campaign: str) -> set[str]:
    """Leads of the campaign that were handed over already."""
    query = sa.select(_HANDOFFS.lead_id).where(_HANDOFFS.campaign == campaign)
    return set(connection.scalars(query))


def claim_due(connection: sa.Connection, now: datetime, limit: int) -> list[Handoff]:
    """Up to `limit` handoffs whose attempt is due are the caller's for the time of a lease."""
    due = (_HANDOFFS.state == DUE, _HANDOFFS.next_attempt_at <= now)
    query = sa.select(handoffs).where(*due).order_by(_HANDOFFS.next_attempt_at).limit(limit)
    rows = connection.execute(query.with_for_update(skip_locked=True)).all()
    claimed = []
    for row in rows:
        values = {"attempts": row.attempts + 1, "next_attempt_at": now + LEASE}
        _change(connection, row.campaign, row.lead_id, **values)
        document = json.loads(row.document)
        claimed.append(
            Handoff(row.campaign, row.lead_id, row.destination, row.key, document, row.attempts + 1)
        )
    return claimed


def any_due(connection: sa.Connection, now: datetime) -> bool:
    """Whether `claim_due` would find any."""
    due = (_HANDOFFS.state == DUE, _HANDOFFS.next_attempt_at <= now)
    return connection.execute(sa.select(_HANDOFFS.key).where(*due).limit(1)).first() is not None


def record_delivery(connection: sa.Connection, handoff: Handoff, now: datetime) -> None:
    """The other side has it."""
    _change(
        connection,
        handoff.campaign,
        handoff.lead_id,
        state=DELIVERED,
        delivered_at=now,
        next_attempt_at=None,
        error=None,
    )


def record_failure(
    connection: sa.Connection, handoff: Handoff, error: str, again_at: datetime | None
) -> None:
    """The attempt failed; the next one is at `again_at`, or there is none and it is dead."""
    _change(
        connection,
        handoff.campaign,
        handoff.lead_id,
        state=DUE if again_at else DEAD,
        next_attempt_at=again_at,
        error=error,
    )


def resend(connection: sa.Connection, campaign: str, lead_id: str, now: datetime) -> None:
    """The handoff is due again, under the same key and with all its attempts.

    Raises:
        NotFound: If the lead was not handed over.
    """
    changed = _change(
        connection, campaign, lead_id, state=DUE, next_attempt_at=now, attempts=0, error=None
    )
    _require(changed > 0, campaign)


def acknowledge(
    connection: sa.Connection, campaign: str, lead_id: str, by: str, now: datetime
) -> bool:
    """Its owner has taken it up; tells whether nobody had. The first acknowledgement is kept.

    Raises:
        NotFound: If the lead was not handed over.
    """
    found = handoff_of_lead(connection, campaign, lead_id)
    _require(found is not None, campaign)
    if not found or found["acknowledged_at"] is not None:
        return False
    return _change(connection, campaign, lead_id, acknowledged_at=now, acknowledged_by=by) > 0


def find_handoff(connection: sa.Connection, key: str) -> tuple[str, str]:
    """Campaign and lead of the handoff whose webhook has the id `key`.

    Raises:
        NotFound: If there is none.
    """
    query = sa.select(_HANDOFFS.campaign, _HANDOFFS.lead_id).where(_HANDOFFS.key == key)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"there is no handoff {key}; 'aicmo handoff list' tells which there are")
    return row.campaign, row.lead_id


def list_handoffs(
    connection: sa.Connection, campaign: str, state: str | None = None
) -> list[dict[str, Any]]:
    """The campaign's handoffs, the oldest first, without what is known of the lead."""
    query = sa.select(*(column for column in _HANDOFFS if column.name != "document")).where(
        _HANDOFFS.campaign == campaign
    )
    if state:
        query = query.where(_HANDOFFS.state == state)
    rows = connection.execute(query.order_by(_HANDOFFS.created_at, _HANDOFFS.lead_id))
    return [dict(row) for row in rows.mappings()]


def page_of_handoffs(
    connection: sa.Connection,
    campaign: str,
    limit: int,
    state: str | None = None,
    after: str | None = None,
) -> list[dict[str, Any]]:
    """Up to `limit` of the campaign's handoffs by lead, from the lead after `after` on."""
    columns = [column for column in _HANDOFFS if column.name != "document"]
    query = sa.select(*columns).where(_HANDOFFS.campaign == campaign)
    if state is not None:
        query = query.where(_HANDOFFS.state == state)
    if after is not None:
        query = query.where(_HANDOFFS.lead_id > after)
    rows = connection.execute(query.order_by(_HANDOFFS.lead_id).limit(limit))
    return [dict(row) for row in rows.mappings()]


def handoff_of_lead(
    connection: sa.Connection, campaign: str, lead_id: str
) -> dict[str, Any] | None:
    """The lead's handoff, if there is one."""
    query = sa.select(handoffs).where(_HANDOFFS.campaign == campaign, _HANDOFFS.lead_id == lead_id)
    row = connection.execute(query).mappings().one_or_none()
    return dict(row) if row else None


def colleagues(connection: sa.Connection, campaign: str, lead_id: str) -> list[str]:
    """Other leads of the campaign that are in a sequence and of the same company's domain."""
    return colleagues_everywhere(connection, campaign, lead_id).get(campaign, [])


def colleagues_everywhere(
    connection: sa.Connection, campaign: str, lead_id: str
) -> dict[str, list[str]]:
    """Campaign to the leads in its sequences that are of the company of this one, and not it.

    A mailbox provider's domain is no company.
    """
    own = sa.select(_RAW.domain, _RAW.email).where(
        _RAW.campaign == campaign, _RAW.lead_id == lead_id
    )
    lead = connection.execute(own).one_or_none()
    if lead is None or lead.domain is None or lead.domain in FREE_MAIL:
        return {}
    query = (
        sa.select(_RAW.campaign, _RAW.lead_id)
        .join(
            FRAME_TABLES["routed_leads"],
            (_ROUTED.campaign == _RAW.campaign) & (_ROUTED.lead_id == _RAW.lead_id),
        )
        .where(_RAW.domain == lead.domain, _RAW.email != lead.email)
        .order_by(_RAW.campaign, _RAW.lead_id)
    )
    found: dict[str, list[str]] = {}
    for row in connection.execute(query):
        found.setdefault(row.campaign, []).append(row.lead_id)
    return found


def _change(connection: sa.Connection, campaign: str, lead_id: str, **values: Any) -> int:
    statement = sa.update(handoffs).where(
        _HANDOFFS.campaign == campaign, _HANDOFFS.lead_id == lead_id
    )
    return connection.execute(statement.values(**values)).rowcount


def _require(known: bool, campaign: str) -> None:
    if not known:
        raise NotFound(
            f"campaign '{campaign}' handed over no such lead; 'aicmo handoff list' tells whom"
        )
