"""Which campaigns have mail to send now: one cheap look for all of them.

Not here: what exactly is sent (`ledger`).
"""

from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.tables import nurture_sends, stage_states

_SENDS = nurture_sends.c


def campaigns_with_mail(connection: sa.Connection, now: datetime) -> set[str]:
    """Campaigns with a send that is due, or with leads routed since their last nurture run."""
    due = sa.select(_SENDS.campaign).where(
        _SENDS.state.in_(("planned", "deferred")), _SENDS.due_at <= now
    )
    routed, nurtured = stage_states.alias("routed"), stage_states.alias("nurtured")
    same = sa.and_(routed.c.campaign == nurtured.c.campaign, nurtured.c.stage == "nurture_sends")
    fresh = (
        sa.select(routed.c.campaign)
        .select_from(routed.outerjoin(nurtured, same))
        .where(
            routed.c.stage == "routed_leads",
            sa.or_(
                nurtured.c.succeeded_at.is_(None),
                nurtured.c.succeeded_at < routed.c.succeeded_at,
            ),
        )
    )
    return set(connection.scalars(sa.union(due, fresh)))
