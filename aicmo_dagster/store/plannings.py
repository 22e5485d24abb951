"""Which leads have a step to be planned: found without looking at those that have not.

A lead has one when it was routed and nothing was planned for it yet, or when its last message was
accepted and what follows was not looked at. Leads routed since are looked for only when the routed
leads have changed, and once a day in any case. Not here: which step, and when
(`domain.nurture.planning`).
"""

from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.store.tables import FRAME_TABLES, nurture_sends, plannings

_SENDS = nurture_sends.c
_ROUTED = FRAME_TABLES["routed_leads"].c
_CHUNK = 10_000
_AGAIN = timedelta(days=1)


def leads_to_plan(connection: sa.Connection, campaign: str, now: datetime) -> list[str]:
    """Leads for which a step may have to be planned."""
    found: list[str] = list(connection.scalars(_unfollowed(campaign)))
    if not _is_settled(connection, campaign, now):
        found += connection.scalars(_never_planned(campaign))
    return found


def note_planned(
    connection: sa.Connection, campaign: str, leads: Collection[str], now: datetime
) -> None:
    """What follows the messages of `leads` that were accepted is looked at, as are the routed."""
    listed = list(leads)
    for start in range(0, len(listed), _CHUNK):
        connection.execute(
            sa.update(nurture_sends)
            .where(*_is_unfollowed(campaign), _SENDS.lead_id.in_(listed[start : start + _CHUNK]))
            .values(followed_at=now)
        )
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    routed, position = _signature(connection, campaign)
    values = {"routed": routed, "last_position": position, "looked_at": now}
    statement = dialect.insert(plannings).values(campaign=campaign, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[plannings.c.campaign], set_=values)
    )


def _unfollowed(campaign: str) -> sa.Select:
    return sa.select(_SENDS.lead_id).where(*_is_unfollowed(campaign))


def _is_unfollowed(campaign: str) -> tuple[sa.ColumnElement[bool], ...]:
    # Written out, not bound: SQLite takes a partial index only if it can see the condition.
    accepted = _SENDS.state == sa.literal("accepted", literal_execute=True)
    return (_SENDS.campaign == campaign, accepted, _SENDS.followed_at.is_(None))


def _never_planned(campaign: str) -> sa.Select:
    planned = sa.exists().where(
        _SENDS.campaign == _ROUTED.campaign, _SENDS.lead_id == _ROUTED.lead_id
    )
    return sa.select(_ROUTED.lead_id).where(_ROUTED.campaign == campaign, ~planned)


def _is_settled(connection: sa.Connection, campaign: str, now: datetime) -> bool:
    """Whether the routed leads are those that were looked at last."""
    columns = (plannings.c.routed, plannings.c.last_position, plannings.c.looked_at)
    query = sa.select(*columns).where(plannings.c.campaign == campaign)
    last = connection.execute(query).one_or_none()
    if last is None or not now - _AGAIN < last.looked_at <= now:
        return False
    return _signature(connection, campaign) == (last.routed, last.last_position)


def _signature(connection: sa.Connection, campaign: str) -> tuple[int, int]:
    """How many leads are routed, and the last one's position."""
    count = sa.select(sa.func.count()).where(_ROUTED.campaign == campaign)
    last = sa.select(sa.func.max(_ROUTED.position)).where(_ROUTED.campaign == campaign)
    return connection.scalar(count) or 0, connection.scalar(last) or 0
