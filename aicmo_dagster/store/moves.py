"""Taking back what is planned for leads that are to change their sequence.

Not here: any other change to a send (`ledger`), or who is moved where (`domain.places`).
"""

import sqlalchemy as sa

from aicmo_dagster.store.tables import agenda, nurture_sends

_AGENDA = agenda.c
_SENDS = nurture_sends.c


def without_begun_sends(connection: sa.Connection, campaign: str, lead_ids: list[str]) -> set[str]:
    """Those of the leads of whose sends none was begun."""
    query = sa.select(_SENDS.lead_id).where(
        _SENDS.campaign == campaign, _SENDS.lead_id.in_(lead_ids), ~_unbegun(nurture_sends)
    )
    return set(lead_ids) - set(connection.scalars(query))


def take_back_plans(connection: sa.Connection, campaign: str, lead_ids: list[str]) -> set[str]:
    """The leads of whose sends none was begun have none any more; tells which leads those are.

    A send that a worker claims at the same moment stays, and with it its lead. The others are
    planned for again, wherever they are routed.
    """
    others = nurture_sends.alias("others")
    begun = sa.exists().where(
        others.c.campaign == _SENDS.campaign, others.c.lead_id == _SENDS.lead_id, ~_unbegun(others)
    )
    mine = (_SENDS.campaign == campaign, _SENDS.lead_id.in_(lead_ids))
    connection.execute(sa.delete(nurture_sends).where(*mine, _unbegun(nurture_sends), ~begun))
    free = set(lead_ids) - set(connection.scalars(sa.select(_SENDS.lead_id).where(*mine)))
    connection.execute(
        sa.update(agenda)
        .where(_AGENDA.campaign == campaign, _AGENDA.lead_id.in_(free))
        # Their positions are given anew: none that is kept here may hide who gets it.
        .values(look_at=_AGENDA.changed_at, position=0)
    )
    return free


def _unbegun(sends: sa.FromClause) -> sa.ColumnElement[bool]:
    return (sends.c.state == "planned") & (sends.c.attempts == 0)
