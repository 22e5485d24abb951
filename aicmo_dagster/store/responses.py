"""What leads did that counts, one definition for waits, experiments and ceilings.

What a machine may have done as well counts once it is judged to be a person's doing, not before.
Not here: recording events, or telling a human from a machine (`domain.nurture.engagement`).
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.domain.nurture.engagement import HUMAN, PENDING
from aicmo_dagster.store.events import JUDGED
from aicmo_dagster.store.tables import engagement, events

OPENED, CLICKED, REPLIED = "open", "click", "reply"
UNSUBSCRIBED, COMPLAINED, BOUNCED = "unsubscribe", "complaint", "bounce"

_EVENTS = events.c


def responses(campaign: str | sa.BindParameter[str], kinds: Collection[str]) -> sa.Select[Any]:
    """lead_id, step, kind and happened_at of what the campaign's leads did and counts."""
    verdict = engagement.c.verdict
    return (
        sa.select(_EVENTS.lead_id, _EVENTS.step, _EVENTS.kind, _EVENTS.happened_at)
        .outerjoin_from(events, engagement, engagement.c.event_id == _EVENTS.id)
        .where(
            _EVENTS.campaign == campaign,
            _EVENTS.kind.in_(kinds),
            _EVENTS.kind.not_in(JUDGED) | (verdict == HUMAN),
        )
    )


def unsettled(
    campaign: str | sa.BindParameter[str], kinds: Collection[str]
) -> sa.Select[tuple[str]]:
    """The leads of events that may yet turn out to count."""
    return (
        sa.select(_EVENTS.lead_id)
        .outerjoin_from(events, engagement, engagement.c.event_id == _EVENTS.id)
        .where(
            _EVENTS.campaign == campaign,
            _EVENTS.kind.in_(kinds),
            sa.func.coalesce(engagement.c.verdict, PENDING) == PENDING,
        )
    )


def newest_response(connection: sa.Connection, campaign: str) -> int:
    """The number of the latest event of the campaign; 0 if there is none."""
    return connection.scalar(_NEWEST, {"campaign": campaign}) or 0


_NEWEST = sa.select(sa.func.max(_EVENTS.id)).where(_EVENTS.campaign == sa.bindparam("campaign"))


def who_responded(campaign: str, after: int, kinds: Collection[str]) -> sa.Select[tuple[str]]:
    """The leads of events that are newer than number `after`."""
    return sa.select(_EVENTS.lead_id).where(
        _EVENTS.campaign == campaign, _EVENTS.id > after, _EVENTS.kind.in_(kinds)
    )
