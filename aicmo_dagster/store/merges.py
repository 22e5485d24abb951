"""Two leads that turned out to be one person: what was kept under the other id follows.

Not here: finding that out (`domain.identity`), or the leads themselves (`frames`).
"""

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.interruptions import hold_back
from aicmo_dagster.store.tables import (
    FRAME_TABLES,
    agenda,
    decisions,
    engagement,
    enrolments,
    escalations,
    events,
    handoffs,
    lead_aliases,
    nurture_sends,
    overrides,
    provider_answers,
)

ONE_A_LEAD = {
    FRAME_TABLES["routed_leads"]: (),
    agenda: (),
    enrolments: (),
    handoffs: (),
    escalations: ("level", "channel"),
    nurture_sends: ("step",),
    provider_answers: ("provider", "person_key"),
}
"""Tables of one row a lead (and step): the lead's own stays and the other's goes, but for sends."""

MANY_A_LEAD = (decisions, engagement, events, overrides)


_HELD = ("claimed", "deferred", "planned")
"""States of a send that is still to come."""

_BEGUN = ("accepted", "attempting", "claimed", "rejected", "unknown")
"""States of a send that left, or may have."""

_TWIN = "the same person as lead "
"""How the reason begins for which a send is cancelled whose lead turned out to be another."""

_ROUTED = FRAME_TABLES["routed_leads"]
_SENDS = nurture_sends.c


def follow_aliases(connection: sa.Connection, campaign: str) -> int:
    """Every row of a merged lead stands under the id that its alias leads to; tells how many moved.

    The person goes on in one sequence: in the one that was begun, in the lead's own if both were.
    A step that the merged lead was sent counts as sent to the lead, so that the person does not get
    it again, and whoever was to be left alone for a while is so for the longer one.
    """
    moved = 0
    for other, lead_id in list(_merged(connection, campaign)):
        _hold_sends(connection, campaign, other, lead_id)
        until = _left_alone_until(connection, campaign, other, lead_id)
        _keep_one_sequence(connection, campaign, other, lead_id)
        for table, key in ONE_A_LEAD.items():
            moved += _move_unless_taken(connection, table, key, campaign, other, lead_id)
        for table in MANY_A_LEAD:
            moved += _move(connection, table, campaign, other, lead_id)
        if until is not None:
            hold_back(connection, campaign, [lead_id], until, "waits as the lead that it was, too")
    return moved


def _merged(connection: sa.Connection, campaign: str) -> Iterator[tuple[str, str]]:
    """(other id, id) of every lead that was merged into another and still has rows of its own."""
    tables = (*ONE_A_LEAD, *MANY_A_LEAD)
    known = sa.union(*(sa.select(t.c.lead_id).where(t.c.campaign == campaign) for t in tables))
    aliases = lead_aliases.c
    query = sa.select(aliases.alias, aliases.lead_id).where(
        aliases.campaign == campaign,
        aliases.alias != aliases.lead_id,
        aliases.alias.in_(sa.select(known.subquery().c.lead_id)),
    )
    for row in connection.execute(query.order_by(aliases.alias)):
        yield row.alias, row.lead_id


def _move(
    connection: sa.Connection, table: sa.Table, campaign: str, other: str, lead_id: str
) -> int:
    statement = sa.update(table).where(table.c.campaign == campaign, table.c.lead_id == other)
    return connection.execute(statement.values(lead_id=lead_id)).rowcount


def _move_unless_taken(
    connection: sa.Connection,
    table: sa.Table,
    key: tuple[str, ...],
    campaign: str,
    other: str,
    lead_id: str,
) -> int:
    """Moves the rows whose place is free; of those left, sends stay as they are, others go."""
    own = table.alias("own")
    taken = sa.exists().where(
        own.c.campaign == campaign,
        own.c.lead_id == lead_id,
        *(own.c[name] == table.c[name] for name in key),
    )
    free: list[sa.ColumnElement[bool]] = [~taken]
    if table is nurture_sends:
        ours = sa.func.coalesce(_SENDS.reason, "").startswith(_TWIN)
        free += [~ours, ~_of_another_sequence(campaign, lead_id)]
    mine = (table.c.campaign == campaign, table.c.lead_id == other)
    moved = connection.execute(sa.update(table).where(*mine, *free).values(lead_id=lead_id))
    if table is not nurture_sends:
        connection.execute(sa.delete(table).where(*mine))
    return moved.rowcount


def _of_another_sequence(campaign: str, lead_id: str) -> sa.ColumnElement[bool]:
    """Whether a send is of a sequence that the lead is not in, while it is in one."""
    routed = _ROUTED.c
    return sa.exists().where(
        routed.campaign == campaign,
        routed.lead_id == lead_id,
        routed.sequence != _SENDS.sequence,
    )


def _left_alone_until(
    connection: sa.Connection, campaign: str, other: str, lead_id: str
) -> datetime | None:
    """Until when either of the two is not to be written to; nothing once they are merged."""
    theirs = sa.select(agenda.c.lead_id, agenda.c.not_before).where(
        agenda.c.campaign == campaign, agenda.c.lead_id.in_((other, lead_id))
    )
    waits = dict(connection.execute(theirs).all())
    known = [until for until in waits.values() if until is not None]
    return max(known, default=None) if other in waits else None


def _hold_sends(connection: sa.Connection, campaign: str, *lead_ids: str) -> None:
    """No send of theirs is claimed or begun by others until this transaction ends."""
    theirs = (_SENDS.campaign == campaign, _SENDS.lead_id.in_(lead_ids))
    connection.execute(sa.select(_SENDS.step).where(*theirs).with_for_update())


def _keep_one_sequence(connection: sa.Connection, campaign: str, other: str, lead_id: str) -> None:
    """What is still to come of one of the two is not, and nothing of it is in the other's way."""
    if _has(connection, nurture_sends, campaign, other, _SENDS.state.in_(_BEGUN)) and not _has(
        connection, nurture_sends, campaign, lead_id, _SENDS.state.in_(_BEGUN)
    ):
        for table in (_ROUTED, agenda, enrolments, nurture_sends):
            mine = (table.c.campaign == campaign, table.c.lead_id == lead_id)
            connection.execute(sa.delete(table).where(*mine))
    elif any(_has(connection, table, campaign, lead_id) for table in (_ROUTED, nurture_sends)):
        _settle_sends(connection, campaign, other, lead_id)


def _has(
    connection: sa.Connection,
    table: sa.Table,
    campaign: str,
    lead_id: str,
    *which: sa.ColumnElement[bool],
) -> bool:
    mine = sa.exists().where(table.c.campaign == campaign, table.c.lead_id == lead_id, *which)
    return bool(connection.scalar(sa.select(mine)))


def _settle_sends(connection: sa.Connection, campaign: str, other: str, lead_id: str) -> None:
    """The lead goes on: nothing more comes of the other, and none of its steps comes again."""
    waiting = (_SENDS.campaign == campaign, _SENDS.state.in_(_HELD))
    reason = f"{_TWIN}{lead_id}, who goes on"
    connection.execute(
        sa.update(nurture_sends)
        .where(*waiting, _SENDS.lead_id == other)
        .values(state="cancelled", reason=reason, worker=None)
    )
    twin = nurture_sends.alias("twin").c
    had = sa.exists().where(
        twin.campaign == campaign,
        twin.lead_id == other,
        twin.step == _SENDS.step,
        twin.sequence == _SENDS.sequence,
        twin.state.in_(_BEGUN),
    )
    again = sa.delete(nurture_sends).where(*waiting, _SENDS.lead_id == lead_id, had)
    if connection.execute(again).rowcount:
        mine = (agenda.c.campaign == campaign, agenda.c.lead_id == lead_id)
        connection.execute(sa.update(agenda).where(*mine).values(look_at=agenda.c.changed_at))
