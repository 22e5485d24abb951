"""Sends that are not under way yet and must not be as they were: cancelled, or put off.

Not here: claiming, which tests again whatever forbids a send (`ledger`).
"""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.domain.nurture.planning import DEADLINE
from aicmo_dagster.store.ledger import WAITING
from aicmo_dagster.store.tables import nurture_sends

_SENDS = nurture_sends.c


def cancel_waiting(
    connection: sa.Connection, campaign: str, lead_ids: Collection[str], reason: str
) -> int:
    """What waits to be sent to these leads never will be; tells how many sends that were."""
    return connection.execute(
        sa.update(nurture_sends)
        .where(
            _SENDS.campaign == campaign,
            _SENDS.lead_id.in_(list(lead_ids)),
            _SENDS.state.in_(WAITING),
        )
        .values(state="cancelled", reason=reason)
    ).rowcount


def put_off(
    connection: sa.Connection, campaign: str, lead_id: str, until: datetime, reason: str
) -> int:
    """What waits to be sent to the lead is due at `until` or later; tells how many sends moved."""
    return connection.execute(
        sa.update(nurture_sends)
        .where(
            _SENDS.campaign == campaign,
            _SENDS.lead_id == lead_id,
            _SENDS.state.in_(WAITING),
            _SENDS.due_at < until,
        )
        .values(due_at=until, deadline_at=until + DEADLINE, reason=reason)
    ).rowcount
