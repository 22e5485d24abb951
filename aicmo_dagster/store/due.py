"""Which campaigns have something for nurture to do now: one cheap look for all of them.

Not here: what exactly is planned (`agenda`) or sent (`ledger`).
"""

from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.campaigns import ACTIVE
from aicmo_dagster.store.index_conditions import written_out
from aicmo_dagster.store.responses import CLICKED, OPENED
from aicmo_dagster.store.tables import (
    FRAME_TABLES,
    agenda,
    campaigns,
    events,
    nurture_sends,
    pauses,
    planning_cursors,
    stage_states,
)

_AGENDA = agenda.c
_CAMPAIGN = campaigns.c.campaign
_EVENTS = events.c
_ROUTED = FRAME_TABLES["routed_leads"].c
_SENDS = nurture_sends.c


def campaigns_with_mail(connection: sa.Connection, now: datetime) -> set[str]:
    """Active campaigns with a send that is due or a lead whose next step is to be planned.

    The latter are leads routed since the last nurture run, those whose wait may be over or whose
    sequence was changed, and those who responded since.
    """
    return set(connection.scalars(_WITH_MAIL, {"now": now}))


def _has_due_send() -> sa.ColumnElement[bool]:
    """A send is due, and the campaign is not paused."""
    due = sa.exists().where(
        _SENDS.campaign == _CAMPAIGN,
        written_out(_SENDS.state, ("planned", "deferred")),
        _SENDS.priority.in_((0, 1)),  # so that the index serves
        _SENDS.due_at <= sa.bindparam("now"),
    )
    paused = sa.exists().where(
        pauses.c.campaign == _CAMPAIGN, pauses.c.sequence.is_(None), pauses.c.resumed_at.is_(None)
    )
    return due & ~paused


def _has_lead_to_look_at() -> sa.ColumnElement[bool]:
    return sa.exists().where(
        _AGENDA.campaign == _CAMPAIGN,
        _AGENDA.look_at.is_not(None),
        _AGENDA.look_at <= sa.bindparam("now"),
        _ROUTED.campaign == _AGENDA.campaign,  # who is routed no more is not looked at either
        _ROUTED.lead_id == _AGENDA.lead_id,
    )


def _has_response() -> sa.ColumnElement[bool]:
    """A lead opened or clicked since planning took note of it the last time."""
    heeded = (
        sa.select(planning_cursors.c.event_id)
        .where(planning_cursors.c.campaign == _EVENTS.campaign)
        .scalar_subquery()
    )
    return sa.exists().where(
        _EVENTS.campaign == _CAMPAIGN,
        _EVENTS.id > sa.func.coalesce(heeded, 0),
        _EVENTS.kind.in_((OPENED, CLICKED)),
    )


def _has_fresh_leads() -> sa.ColumnElement[bool]:
    """Leads were routed since the last nurture run."""
    routed, nurtured = stage_states.alias("routed"), stage_states.alias("nurtured")
    seen = sa.exists().where(
        nurtured.c.campaign == routed.c.campaign,
        nurtured.c.stage == "nurture_sends",
        nurtured.c.succeeded_at >= routed.c.succeeded_at,
    )
    return sa.exists().where(
        routed.c.campaign == _CAMPAIGN, routed.c.stage == "routed_leads", ~seen
    )


_WITH_MAIL = sa.select(_CAMPAIGN).where(
    campaigns.c.state == ACTIVE,
    _has_due_send() | _has_lead_to_look_at() | _has_response() | _has_fresh_leads(),
)


def next_mail_at(connection: sa.Connection, campaign: str) -> datetime | None:
    """When the campaign's next send is due or its next lead is to be looked at; none if never."""
    instants = [connection.scalar(query, {"campaign": campaign}) for query in _NEXT]
    return min((at for at in instants if at is not None), default=None)


_NEXT = (
    sa.select(sa.func.min(_SENDS.due_at)).where(
        _SENDS.campaign == sa.bindparam("campaign"),
        written_out(_SENDS.state, ("planned", "deferred")),
        _SENDS.priority.in_((0, 1)),  # so that the index serves
    ),
    sa.select(sa.func.min(_AGENDA.look_at)).where(
        _AGENDA.campaign == sa.bindparam("campaign"), _AGENDA.look_at.is_not(None)
    ),
)
