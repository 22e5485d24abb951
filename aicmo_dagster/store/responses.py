"""What leads did that counts, one definition for waits, experiments and ceilings.

Not here: recording events, or telling a human from a machine.
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.store.tables import events

OPENED, CLICKED, REPLIED = "open", "click", "reply"
UNSUBSCRIBED, COMPLAINED, BOUNCED = "unsubscribe", "complaint", "bounce"

_EVENTS = events.c


def responses(campaign: str, kinds: Collection[str]) -> sa.Select[Any]:
    """lead_id, step, kind and happened_at of what the campaign's leads did and counts."""
    return sa.select(_EVENTS.lead_id, _EVENTS.step, _EVENTS.kind, _EVENTS.happened_at).where(
        _EVENTS.campaign == campaign, _EVENTS.kind.in_(kinds)
    )


def newest_response(connection: sa.Connection, campaign: str) -> int:
    """The number of the latest event of the campaign; 0 if there is none."""
    query = sa.select(sa.func.max(_EVENTS.id)).where(_EVENTS.campaign == campaign)
    return connection.scalar(query) or 0


def who_responded(campaign: str, after: int, kinds: Collection[str]) -> sa.Select[tuple[str]]:
    """The leads of events that are newer than number `after`."""
    return sa.select(_EVENTS.lead_id).where(
        _EVENTS.campaign == campaign, _EVENTS.id > after, _EVENTS.kind.in_(kinds)
    )
