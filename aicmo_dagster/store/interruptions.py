"""Sends that are not under way yet and must not be as they were: cancelled, or put off.

Not here: claiming, which tests again whatever forbids a send (`ledger`).
"""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.domain.nurture.planning import DEADLINE
from aicmo_dagster.store.ledger import WAITING
from aicmo_dagster.store.tables import agenda, nurture_sends

_AGENDA = agenda.c
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


def hold_back(
    connection: sa.Connection,
    campaign: str,
    lead_ids: Collection[str],
    until: datetime,
    reason: str,
) -> int:
    """Nothing goes to these leads before `until`, be it planned by now or not; sends moved."""
    connection.execute(
        sa.update(agenda)
        .where(
            _AGENDA.campaign == campaign,
            _AGENDA.lead_id.in_(list(lead_ids)),
            _AGENDA.not_before.is_(None) | (_AGENDA.not_before < until),
        )
        .values(not_before=until)
    )
    return sum(put_off(connection, campaign, lead_id, until, reason) for lead_id in lead_ids)


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
