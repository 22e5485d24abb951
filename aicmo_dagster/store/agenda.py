"""The agenda: how far each lead is in its sequence, and which leads a tick must look at: no others.

A lead is looked at when it is new, when its last send was settled, when a wait may be over, and
soon after it responded. Each of these is found by an index, so that a tick costs what is due, and
not what is enrolled. Not here: what follows (`domain.nurture.planning`), or sending (`ledger`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow
import sqlalchemy as sa

from aicmo_dagster.domain.facts import one_array
from aicmo_dagster.domain.nurture.lifecycle import SKIPPED
from aicmo_dagster.domain.nurture.planning import DEADLINE, NEEDED
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.index_conditions import constant, written_out
from aicmo_dagster.store.loading import note_growth, staged
from aicmo_dagster.store.pauses import Shift, shifts
from aicmo_dagster.store.responses import (
    CLICKED,
    OPENED,
    newest_response,
    responses,
    unsettled,
    who_responded,
)
from aicmo_dagster.store.tables import (
    FRAME_TABLES,
    agenda,
    nurture_sends,
    planning_cursors,
)
from aicmo_dagster.store.upserts import put_row

STATES = ("enrolled", "active", "finished", "exited")
SETTLED = ("accepted", "rejected", "cancelled")
FOLD_BACK = timedelta(minutes=6)
"""After this it is known whether a person or a machine responded, so that it is worth a look."""

_INSTANT = pd.ArrowDtype(pyarrow.timestamp("us", tz="UTC"))
_TEXT = pd.ArrowDtype(pyarrow.string())
_CHANGES = {"lead_id": _TEXT, "state": _TEXT, "look_at": _INSTANT, "reason": _TEXT}
_MOVED = {"lead_id": _TEXT, "step": _TEXT, "due_at": _INSTANT, "deadline_at": _INSTANT}

_FEW = 200
"""Entries, or sends, that are changed one by one: for so few, a temporary table costs more."""

_LATE_COMMITS = 1000
"""Events looked at again: a number may be given before another and committed after it."""

_AGENDA = agenda.c
_SENDS = nurture_sends.c
_ROUTED = FRAME_TABLES["routed_leads"].c
_RAW = FRAME_TABLES["raw_leads"].c

_TO_LOOK_AT = (
    _AGENDA.campaign == sa.bindparam("of_campaign"),
    _AGENDA.look_at.is_not(None),
    _AGENDA.look_at <= sa.bindparam("at_now", type_=_AGENDA.look_at.type),
)
_ANY = sa.select(sa.literal(1)).where(*_TO_LOOK_AT).limit(1)


def enter(connection: sa.Connection, campaign: str, now: datetime) -> int:
    """Who was routed since the last time is enrolled and looked at; tells how many."""
    entered = connection.execute(_ENTER, {"of_campaign": campaign, "at_now": now}).rowcount
    note_growth(connection, agenda, entered)
    return entered


def _entering() -> sa.Insert:
    """The statement of `enter`."""
    campaign = sa.bindparam("of_campaign", type_=_AGENDA.campaign.type)
    now = sa.bindparam("at_now", type_=_AGENDA.look_at.type)
    last = (
        sa.select(sa.func.coalesce(sa.func.max(_AGENDA.position), 0))
        .where(_AGENDA.campaign == campaign)
        .scalar_subquery()
    )
    known = agenda.alias("known")
    names = ["campaign", "lead_id", "position", "state", "look_at", "changed_at"]
    told = (_ROUTED.campaign, _ROUTED.lead_id, _ROUTED.position, sa.literal("enrolled"), now, now)
    fresh = sa.select(*told).where(
        _ROUTED.campaign == campaign,
        _ROUTED.position > last,
        ~sa.exists().where(known.c.campaign == campaign, known.c.lead_id == _ROUTED.lead_id),
    )
    return agenda.insert().from_select(names, fresh)


_ENTER = _entering()


def follow(connection: sa.Connection, campaign: str, now: datetime) -> Counter[str]:
    """Leads whose last send was settled are active or have exited; tells how many of each.

    After an accepted send, or one that was skipped, the lead is looked at; after a rejected or
    cancelled one it has left its sequence, for that reason.
    """
    settled = connection.execute(_FOLLOW, {"of_campaign": campaign, "at_now": now}).all()
    if not settled:
        return Counter()
    latest = {row.lead_id: row for row in sorted(settled, key=lambda row: row.due_at)}
    changes = [
        (row.lead_id, "active", now, None)
        if row.state == "accepted" or row.reason == SKIPPED
        else (row.lead_id, "exited", None, row.reason or row.state)
        for row in latest.values()
    ]
    _change(connection, campaign, pd.DataFrame(changes, columns=list(_CHANGES)), now)
    return Counter(state for _, state, _, _ in changes)


_FOLLOW = (
    sa.update(nurture_sends)
    .where(
        _SENDS.campaign == sa.bindparam("of_campaign"),
        _SENDS.followed_at.is_(None),
        written_out(_SENDS.state, SETTLED),
    )
    .values(followed_at=sa.bindparam("at_now", type_=_SENDS.followed_at.type))
    .returning(_SENDS.lead_id, _SENDS.state, _SENDS.reason, _SENDS.due_at)
)


def heed_responses(connection: sa.Connection, campaign: str, now: datetime) -> None:
    """Leads that opened or clicked since the last time are looked at once that is judged."""
    newest = newest_response(connection, campaign)
    known = connection.scalar(_HEEDED, {"campaign": campaign})
    if newest == (known or 0):
        return
    look_at = now + FOLD_BACK
    after = max((known or 0) - _LATE_COMMITS, 0)
    connection.execute(
        sa.update(agenda)
        .where(
            _AGENDA.campaign == campaign,
            _AGENDA.lead_id.in_(who_responded(campaign, after, (OPENED, CLICKED))),
            _AGENDA.state == "active",
            _AGENDA.look_at.is_(None) | (_AGENDA.look_at > look_at),
        )
        .values(look_at=look_at)
    )
    put_row(connection, planning_cursors, campaign=campaign, event_id=newest)


_HEEDED = sa.select(planning_cursors.c.event_id).where(
    planning_cursors.c.campaign == sa.bindparam("campaign")
)


def leads_to_look_at(connection: sa.Connection, campaign: str, now: datetime) -> pd.DataFrame:
    """A frame of `planning.NEEDED`: the leads to plan for now; who has no `email` is null in it.

    Beside it, `not_before`: nothing is due earlier; and `pending`: whether it opened or clicked
    since its last send and nobody knows yet whether that was a person. A pause after which
    follow-ups were moved does not count as waiting: `sent_at` is later by it.
    """
    leads = fetch_frame(connection, _LOOK, {"of_campaign": campaign, "at_now": now})
    if leads.empty:
        return leads.assign(opened=False, clicked=False)
    leads = leads.assign(**_engagement(connection, campaign, leads, now))
    return leads.assign(sent_at=_shifted(leads, shifts(connection, campaign)))


def any_to_look_at(connection: sa.Connection, campaign: str, now: datetime) -> bool:
    """Whether `leads_to_look_at` may find any: on most ticks there are none."""
    values = {"of_campaign": campaign, "at_now": now}
    return connection.execute(_ANY, values).first() is not None


def _looking() -> sa.Select[Any]:
    """The statement of `leads_to_look_at`."""
    last = nurture_sends.alias("last")
    routed, raw = FRAME_TABLES["routed_leads"], FRAME_TABLES["raw_leads"]
    told = (
        agenda.join(
            routed, (_ROUTED.campaign == _AGENDA.campaign) & (_ROUTED.lead_id == _AGENDA.lead_id)
        )
        .outerjoin(raw, (_RAW.campaign == _AGENDA.campaign) & (_RAW.lead_id == _AGENDA.lead_id))
        .outerjoin(
            last,
            (last.c.campaign == _AGENDA.campaign)
            & (last.c.lead_id == _AGENDA.lead_id)
            & (last.c.step == _last_step()),
        )
    )
    return (
        sa.select(
            *(_ROUTED[name] for name in NEEDED[:4]),
            *(_RAW[name] for name in NEEDED[4:8]),
            last.c.step,
            _done_at(last.c).label("sent_at"),
            _AGENDA.not_before,
        )
        .select_from(told)
        .where(*_TO_LOOK_AT)
        .order_by(_AGENDA.position)
    )


def record_plan(
    connection: sa.Connection,
    campaign: str,
    sends: pd.DataFrame,
    leads: pd.DataFrame,
    now: datetime,
) -> int:
    """Leads are where planning put them, and sends planned before are due when it says now.

    Only a send that is not due yet, and was not put off for a reason of its own, is moved; tells
    how many were.
    """
    _change(connection, campaign, leads.assign(reason=None), now)
    if sends.empty:
        return 0
    told = sends[["lead_id", "step", "due_at"]]
    late = told.assign(deadline_at=told["due_at"] + pd.Timedelta(DEADLINE))
    fixed = {"of_campaign": campaign, "at_now": now}
    if len(late) <= _FEW:
        return connection.execute(
            _MOVE, _rows_of(late[list(_MOVED)].astype(_MOVED), fixed)
        ).rowcount
    with staged(connection, nurture_sends, late) as incoming:
        return connection.execute(_moving(dict(incoming.c)), fixed).rowcount


def _moving(told: Mapping[str, sa.ColumnElement[Any]]) -> sa.Update:
    """Sends that wait to be due, and for nothing else, are due when `told` says of each."""
    return (
        sa.update(nurture_sends)
        .where(
            _SENDS.campaign == sa.bindparam("of_campaign"),
            _SENDS.lead_id == told["lead_id"],
            _SENDS.step == told["step"],
            _SENDS.state == constant("planned"),
            _SENDS.reason.is_(None),
            _SENDS.due_at > sa.bindparam("at_now", type_=_SENDS.due_at.type),
            _SENDS.due_at != told["due_at"],
        )
        .values(due_at=told["due_at"], deadline_at=told["deadline_at"])
    )


_MOVE = _moving({name: sa.bindparam(f"to_{name}", type_=_SENDS[name].type) for name in _MOVED})


def look_again(
    connection: sa.Connection, campaign: str, leads: Sequence[str], at: datetime
) -> None:
    """Leads for whom nothing can be planned now are looked at again `at` some later instant."""
    if leads:
        connection.execute(
            sa.update(agenda)
            .where(_AGENDA.campaign == campaign, _AGENDA.lead_id == sa.bindparam("at_lead"))
            .values(look_at=at),
            [{"at_lead": lead} for lead in leads],
        )


def agenda_counts(connection: sa.Connection, campaign: str) -> dict[str, int]:
    """Leads by state of their entry in the agenda."""
    query = (
        sa.select(_AGENDA.state, sa.func.count())
        .where(_AGENDA.campaign == campaign)
        .group_by(_AGENDA.state)
    )
    return dict(connection.execute(query).all())


def _shifted(leads: pd.DataFrame, moved: Sequence[Shift]) -> pd.Series:
    """When each lead's wait began, later by the pauses since that follow-ups were moved for."""
    since = leads["sent_at"]
    for shift in sorted(moved, key=lambda each: each.paused_at):
        hit = since <= pd.Timestamp(shift.paused_at)
        if shift.sequence is not None:
            hit &= leads["sequence"] == shift.sequence
        since = since.mask(hit.fillna(False), since + pd.Timedelta(shift.length))
    return since


def _last_step() -> sa.ScalarSelect[Any]:
    """The step of an agenda entry's last send that was done.

    Asked lead by lead, by the key: PostgreSQL would go through the sends of all leads for each of
    them, where it takes a campaign that was just made for one of few leads.
    """
    done = nurture_sends.alias("done").c
    return (
        sa.select(done.step)
        .where(
            done.campaign == _AGENDA.campaign,
            done.lead_id == _AGENDA.lead_id,
            (done.state == "accepted") | ((done.state == "cancelled") & (done.reason == SKIPPED)),
        )
        .order_by(_done_at(done).desc(), done.due_at.desc())
        .limit(1)
        .correlate(agenda)
        .scalar_subquery()
    )


def _done_at(sends: Any) -> sa.Function[Any]:
    """When a send was sent or, having been skipped, was taken note of."""
    return sa.func.coalesce(sends.sent_at, sends.followed_at, type_=sends.sent_at.type)


def _engagement(
    connection: sa.Connection, campaign: str, leads: pd.DataFrame, now: datetime
) -> dict[str, Any]:
    """Whether each lead has opened or clicked since its last send."""
    values = {"of_campaign": campaign, "at_now": now}
    pending = leads["lead_id"].isin(list(connection.scalars(_PENDING, values)))
    events = fetch_frame(connection, _RESPONSES, values)
    if events.empty:
        return {"opened": False, "clicked": False, "pending": pending}
    told_since = events.merge(leads[["lead_id", "sent_at"]], on="lead_id")
    seen = told_since[told_since["happened_at"] >= told_since["sent_at"]]
    found = {
        name: leads["lead_id"].isin(seen.loc[seen["kind"] == kind, "lead_id"])
        for name, kind in (("opened", OPENED), ("clicked", CLICKED))
    }
    return found | {"pending": pending}


def _of_those_looked_at(told: sa.Select[Any]) -> sa.Select[Any]:
    """`told` of the leads to look at."""
    looked_at = sa.select(_AGENDA.lead_id).where(*_TO_LOOK_AT)
    return told.where(told.selected_columns.lead_id.in_(looked_at))


_CAMPAIGN = sa.bindparam("of_campaign", type_=sa.Text())
_RESPONSES = _of_those_looked_at(responses(_CAMPAIGN, (OPENED, CLICKED)))
_PENDING = _of_those_looked_at(unsettled(_CAMPAIGN, (OPENED, CLICKED)))


_LOOK = _looking()


def _change(connection: sa.Connection, campaign: str, changes: pd.DataFrame, now: datetime) -> None:
    """Agenda entries take on what `changes`, a frame of `_CHANGES`, says of their leads."""
    if changes.empty:
        return
    frame = changes[list(_CHANGES)].astype(_CHANGES)
    if len(frame) <= _FEW:
        fixed = {"of_campaign": campaign, "at_now": now}
        connection.execute(_CHANGE, _rows_of(frame, fixed))
        return
    with staged(connection, agenda, frame, changed_at=now) as incoming:
        names = ("state", "look_at", "reason", "changed_at")
        connection.execute(
            sa.update(agenda)
            .where(_AGENDA.campaign == campaign, _AGENDA.lead_id == incoming.c.lead_id)
            .values({name: incoming.c[name] for name in names})
        )


def _rows_of(frame: pd.DataFrame, fixed: Mapping[str, object]) -> list[dict[str, Any]]:
    """`fixed` and, by column, what each row of `frame` is changed to."""
    columns = (one_array(frame[name]).to_pylist() for name in frame)
    names = [f"to_{name}" for name in frame]
    return [{**fixed, **dict(zip(names, row, strict=True))} for row in zip(*columns, strict=True)]


_CHANGE = (
    sa.update(agenda)
    .where(
        _AGENDA.campaign == sa.bindparam("of_campaign"),
        _AGENDA.lead_id == sa.bindparam("to_lead_id"),
    )
    .values(
        changed_at=sa.bindparam("at_now", type_=_AGENDA.changed_at.type),
        **{n: sa.bindparam(f"to_{n}", type_=_AGENDA[n].type) for n in _CHANGES if n != "lead_id"},
    )
)
