"""Sends of which nobody knows whether they arrived: listed, and resolved by a person who does.

Not here: resolving them by proof (`outcomes.reconcile`).
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.store.index_conditions import written_out
from aicmo_dagster.store.ledger import OPEN
from aicmo_dagster.store.tables import campaigns, nurture_sends

_SENDS = nurture_sends.c
_LISTED = ("campaign", "lead_id", "step", "message_id", "transport", "reason")
_SINCE = sa.func.coalesce(_SENDS.attempted_at, _SENDS.claimed_at, type_=_SENDS.claimed_at.type)


def list_unknown(connection: sa.Connection, campaign: str | None = None) -> list[dict[str, Any]]:
    """Doubtful sends of a campaign, or of all, oldest first, with `since`: when they left."""
    every = sa.select(campaigns.c.campaign)
    query = sa.select(*(_SENDS[name] for name in _LISTED), _SINCE.label("since")).where(
        _SENDS.campaign == campaign if campaign else _SENDS.campaign.in_(every),
        written_out(_SENDS.state, OPEN),
        _SENDS.state == "unknown",
    )
    rows = connection.execute(query.order_by(_SINCE, _SENDS.message_id)).mappings()
    return [dict(row) for row in rows]


def resolve_unknown(
    connection: sa.Connection, message_id: str, *, sent: bool, now: datetime
) -> tuple[str, str, str]:
    """The send counts as accepted, or is due again; tells its campaign, lead and step.

    Raises:
        AicmoError: If no send of that Message-ID is in doubt.
    """
    mine = (_SENDS.message_id == message_id, _SENDS.state == "unknown")
    if sent:
        values: dict[str, Any] = {"state": "accepted", "sent_at": _SINCE, "reason": None}
    else:
        values = {"state": "planned", "worker": None, "due_at": now, "reason": None}
    told = (_SENDS.campaign, _SENDS.lead_id, _SENDS.step)
    statement = sa.update(nurture_sends).where(*mine).values(values).returning(*told)
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise AicmoError(f"no send {message_id} is in doubt; 'aicmo unknown list' tells which are")
    return row.campaign, row.lead_id, row.step
