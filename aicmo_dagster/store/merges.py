"""Two leads that turned out to be one person: what was kept under the other id follows.

Not here: finding that out (`domain.identity`), or the leads themselves (`frames`).
"""

from collections.abc import Iterator

import sqlalchemy as sa

from aicmo_dagster.store.tables import (
    FRAME_TABLES,
    agenda,
    decisions,
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
"""Tables of one row a lead (and step): the lead's own stays, the other's goes or is cancelled."""

MANY_A_LEAD = (decisions, events, overrides)


def follow_aliases(connection: sa.Connection, campaign: str) -> int:
    """Every row of a merged lead stands under the id that its alias leads to; tells how many moved.

    A step that the merged lead was sent already counts as sent to the lead, so that the person does
    not get it again. Where both have a send of one step, the one still to come is cancelled.
    """
    moved = 0
    for other, lead_id in list(_merged(connection, campaign)):
        for table, key in ONE_A_LEAD.items():
            moved += _move_unless_taken(connection, table, key, campaign, other, lead_id)
        for table in MANY_A_LEAD:
            moved += _move(connection, table, campaign, other, lead_id)
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
    """Moves the rows whose place is free; of those left, sends are settled and the rest dropped."""
    if table is nurture_sends:
        _settle_sends(connection, campaign, other, lead_id)
    own = table.alias("own")
    taken = sa.exists().where(
        own.c.campaign == campaign,
        own.c.lead_id == lead_id,
        *(own.c[name] == table.c[name] for name in key),
    )
    mine = (table.c.campaign == campaign, table.c.lead_id == other)
    moved = connection.execute(sa.update(table).where(*mine, ~taken).values(lead_id=lead_id))
    if table is not nurture_sends:
        connection.execute(sa.delete(table).where(*mine))
    return moved.rowcount


def _settle_sends(connection: sa.Connection, campaign: str, other: str, lead_id: str) -> None:
    """Of two sends of one step, the one that is still to come is cancelled."""
    sends, twin = nurture_sends, nurture_sends.alias("twin")
    for cancelled, kept in ((other, lead_id), (lead_id, other)):
        reason = f"the same person as lead {kept}, who has this step"
        connection.execute(
            sa.update(sends)
            .where(
                sends.c.campaign == campaign,
                sends.c.lead_id == cancelled,
                sends.c.state.in_(("planned", "claimed", "deferred")),
                sa.exists().where(
                    twin.c.campaign == campaign,
                    twin.c.lead_id == kept,
                    twin.c.step == sends.c.step,
                    twin.c.state != "cancelled",
                ),
            )
            .values(state="cancelled", reason=reason, worker=None)
        )
