"""Who is in a sequence: one row a routed lead, open until its sequence ends, each person once.

That nobody is in two sequences at once is a unique index on the person over the open rows: of two
runs at the same moment, one gets the person. Not here: which sequence a lead goes through
(`domain.routing`), or who is kept out for other reasons (`overlaps`).
"""

from collections.abc import Collection, Iterator
from datetime import datetime

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from aicmo_dagster.store.campaigns import ACTIVE
from aicmo_dagster.store.claiming import STOPPING_EVENTS
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.loading import insert_unless_taken, staged
from aicmo_dagster.store.tables import (
    FRAME_TABLES,
    campaigns,
    enrolments,
    events,
    handoffs,
    nurture_sends,
)

_COLUMNS = enrolments.c
_SENDS = nurture_sends.c
_OPEN = _COLUMNS.ended_at.is_(None)


def enrol(connection: sa.Connection, campaign: str, leads: pd.DataFrame, now: datetime) -> set[str]:
    """The leads are in a sequence; tells those that are not, since their person is in another.

    Args:
        connection: From `Database.write`.
        campaign: The campaign.
        leads: lead_id, person (a keyed hash; missing for whoever may be in several sequences) and
            last_step, the step that ends the sequence.
        now: The instant of enrolling.
    """
    constants = {"campaign": campaign, "since": now}
    if connection.dialect.name == "sqlite":  # which has one writer, and need not put them in order
        added = insert_unless_taken(connection, enrolments, leads, **constants)
        return set() if added == len(leads) else _not_enrolled(connection, campaign, leads)
    with staged(connection, enrolments, leads, **constants) as incoming:
        names = [column.name for column in incoming.columns]
        # In one order, so that two who enrol the same people never wait for each other in a circle.
        rows = sa.select(incoming).order_by(incoming.c.person, incoming.c.lead_id)
        statement = postgresql.insert(enrolments).from_select(names, rows)
        added = connection.execute(statement.on_conflict_do_nothing()).rowcount
    return set() if added == len(leads) else _not_enrolled(connection, campaign, leads)


def enrolled(connection: sa.Connection, campaign: str) -> pd.DataFrame:
    """lead_id and active (else ended) of everyone who is or was in a sequence of the campaign."""
    statement = sa.select(_COLUMNS.lead_id, is_active().label("active"))
    return fetch_frame(connection, statement.where(_COLUMNS.campaign == campaign))


def ended_among(connection: sa.Connection, campaign: str, lead_ids: Collection[str]) -> set[str]:
    """Those of the leads whose sequence has ended."""
    statement = sa.select(_COLUMNS.lead_id).where(
        _COLUMNS.campaign == campaign, _COLUMNS.lead_id.in_(lead_ids), ~is_active()
    )
    return set(connection.scalars(statement))


def unenrolled(connection: sa.Connection, campaign: str, rows: int) -> Iterator[pd.DataFrame]:
    """The routed leads of the campaign that are not enrolled, at most `rows` at a time.

    They may be enrolled meanwhile: lead_id, sequence and campaign_version of each, by lead.
    """
    routed = FRAME_TABLES["routed_leads"]
    query = (
        sa.select(routed.c.lead_id, routed.c.sequence, routed.c.campaign_version)
        .where(routed.c.campaign == campaign, ~sa.exists().where(_of_lead(routed)))
        .order_by(routed.c.lead_id)
        .limit(rows)
    )
    frame = fetch_frame(connection, query)
    while len(frame):
        yield frame
        if len(frame) < rows:
            return
        frame = fetch_frame(connection, query.where(routed.c.lead_id > frame["lead_id"].iloc[-1]))


def withdraw_unrouted(connection: sa.Connection, campaign: str) -> None:
    """Whoever is not routed in the campaign any more is in no sequence of it."""
    routed = FRAME_TABLES["routed_leads"]
    gone = ~sa.exists().where(_of_lead(routed))
    connection.execute(sa.delete(enrolments).where(_COLUMNS.campaign == campaign, gone))


def active_by_sequence(connection: sa.Connection, campaign: str) -> dict[str, int]:
    """Sequence to how many routed leads of the campaign it has whose way through it has not ended.

    One that is not enrolled yet counts: it is about to be.
    """
    routed = FRAME_TABLES["routed_leads"]
    ended = sa.exists().where(_of_lead(routed), ~is_active())
    query = (
        sa.select(routed.c.sequence, sa.func.count())
        .where(routed.c.campaign == campaign, ~ended)
        .group_by(routed.c.sequence)
    )
    return dict(connection.execute(query).all())


def entered_between(
    connection: sa.Connection, campaign: str, start: datetime, end: datetime
) -> dict[str, int]:
    """Sequence to how many leads of the campaign were routed to it from `start` to before `end`."""
    routed = FRAME_TABLES["routed_leads"].c
    query = (
        sa.select(routed.sequence, sa.func.count())
        .where(routed.campaign == campaign, routed.routed_at >= start, routed.routed_at < end)
        .group_by(routed.sequence)
    )
    return dict(connection.execute(query).all())


def last_position(connection: sa.Connection, campaign: str) -> int:
    """The position of the lead of the campaign that was routed last; 0 before the first."""
    routed = FRAME_TABLES["routed_leads"].c
    query = sa.select(sa.func.max(routed.position)).where(routed.campaign == campaign)
    return connection.scalar(query) or 0


def with_other_mail(connection: sa.Connection, campaign: str) -> int:
    """How many routed leads of the campaign have a send of a sequence that is not theirs."""
    routed = FRAME_TABLES["routed_leads"].c
    theirs = (routed.campaign == _SENDS.campaign) & (routed.lead_id == _SENDS.lead_id)
    query = (
        sa.select(sa.func.count(sa.distinct(_SENDS.lead_id)))
        .select_from(nurture_sends)
        .join(FRAME_TABLES["routed_leads"], theirs)
        .where(_SENDS.campaign == campaign, _SENDS.sequence != routed.sequence)
    )
    return connection.execute(query).scalar_one()


def is_active() -> sa.ColumnElement[bool]:
    """Whether the sequence of a row of `enrolments` has not ended, noted there or not yet.

    It has ended when its last step went out, a message was refused or cancelled, or the lead did
    what stops all mail or was handed to sales.
    """
    done = (_SENDS.step == _COLUMNS.last_step) & _SENDS.state.in_(("accepted", "unknown"))
    given_up = _SENDS.state.in_(("rejected", "cancelled"))
    endings = (
        sa.exists().where(_of_lead(nurture_sends), done | given_up),
        sa.exists().where(_of_lead(events), events.c.kind.in_(STOPPING_EVENTS)),
        sa.exists().where(_of_lead(handoffs)),
    )
    return sa.and_(_OPEN, *(~ending for ending in endings))


def withdraw_enrolments(connection: sa.Connection, campaign: str, lead_ids: list[str]) -> None:
    """These leads are in no sequence, as if they never had been."""
    mine = (_COLUMNS.campaign == campaign, _COLUMNS.lead_id == sa.bindparam("lead"))
    if lead_ids:
        connection.execute(sa.delete(enrolments).where(*mine), [{"lead": i} for i in lead_ids])


def end_enrolments(connection: sa.Connection, now: datetime) -> int:
    """Whoever's sequence has ended, in any campaign, may enter another; tells how many those are.

    An archived campaign lets everyone go, and enrols those who are still free when it comes back.
    """
    active = sa.select(campaigns.c.campaign).where(campaigns.c.state == ACTIVE)
    connection.execute(sa.delete(enrolments).where(_OPEN, _COLUMNS.campaign.not_in(active)))
    statement = sa.update(enrolments).where(_OPEN, ~is_active()).values(ended_at=now)
    return connection.execute(statement).rowcount


def _not_enrolled(connection: sa.Connection, campaign: str, leads: pd.DataFrame) -> set[str]:
    """Those of `leads` that are not in a sequence, nor ever were."""
    known = fetch_frame(
        connection, sa.select(_COLUMNS.lead_id).where(_COLUMNS.campaign == campaign)
    )
    return set(leads["lead_id"].tolist()).difference(known["lead_id"].tolist())


def _of_lead(table: sa.Table) -> sa.ColumnElement[bool]:
    return (table.c.campaign == _COLUMNS.campaign) & (table.c.lead_id == _COLUMNS.lead_id)
