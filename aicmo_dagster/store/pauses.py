"""Pauses of campaigns and sequences: from when to when, why, and how they were ended.

A single lead is paused by an override (`overrides`). Not here: what resuming does to sends
(`domain.nurture.lifecycle`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.nurture.lifecycle import SKIPPED
from aicmo_dagster.domain.nurture.planning import DEADLINE
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.index_conditions import written_out
from aicmo_dagster.store.loading import staged
from aicmo_dagster.store.tables import nurture_sends, pauses

_PAUSES = pauses.c
_SENDS = nurture_sends.c
_WAITING = ("planned", "deferred")


@dataclass(frozen=True)
class Pause:
    """A pause of a sequence, or of the whole campaign where it names none."""

    id: int
    sequence: str | None
    reason: str
    paused_by: str
    paused_at: datetime


@dataclass(frozen=True)
class Shift:
    """A pause after which follow-ups were moved by as long as it was."""

    sequence: str | None
    paused_at: datetime
    length: timedelta


def active_pauses(connection: sa.Connection, campaign: str) -> list[Pause]:
    """The campaign's pauses that have not ended, oldest first."""
    rows = connection.execute(_ACTIVE, {"campaign": campaign}).mappings()
    return [Pause(**row) for row in rows]


_ACTIVE = (
    sa.select(*(_PAUSES[name] for name in Pause.__dataclass_fields__))
    .where(_PAUSES.campaign == sa.bindparam("campaign"), _PAUSES.resumed_at.is_(None))
    .order_by(_PAUSES.id)
)


def paused_sequences(connection: sa.Connection, campaign: str) -> set[str | None]:
    """The campaign's sequences that are paused now; None stands for the whole campaign."""
    return set(connection.scalars(_PAUSED, {"of": campaign}))


_PAUSED = sa.select(_PAUSES.sequence).where(
    _PAUSES.campaign == sa.bindparam("of"), _PAUSES.resumed_at.is_(None)
)


def begin_pause(
    connection: sa.Connection,
    campaign: str,
    sequence: str | None,
    reason: str,
    paused_by: str,
    now: datetime,
) -> bool:
    """The sequence, or without one the campaign, sends nothing; tells whether that is new."""
    if any(pause.sequence == sequence for pause in active_pauses(connection, campaign)):
        return False
    connection.execute(
        pauses.insert().values(
            campaign=campaign,
            sequence=sequence,
            reason=reason,
            paused_by=paused_by,
            paused_at=now,
        )
    )
    return True


def end_pause(
    connection: sa.Connection, pause: Pause, mode: str, resumed_by: str, now: datetime
) -> None:
    """The pause has ended."""
    connection.execute(
        sa.update(pauses)
        .where(_PAUSES.id == pause.id)
        .values(resumed_at=now, resumed_by=resumed_by, mode=mode)
    )


def shifts(connection: sa.Connection, campaign: str) -> list[Shift]:
    """The pauses that follow-ups were moved for."""
    query = sa.select(_PAUSES.sequence, _PAUSES.paused_at, _PAUSES.resumed_at).where(
        _PAUSES.campaign == campaign, _PAUSES.mode == "shift"
    )
    return [
        Shift(row.sequence, row.paused_at, row.resumed_at - row.paused_at)
        for row in connection.execute(query)
    ]


def sends_behind(connection: sa.Connection, campaign: str, pause: Pause) -> pd.DataFrame:
    """lead_id, step, due_at and priority of the sends that wait for this pause alone to end."""
    others = [other for other in active_pauses(connection, campaign) if other.id != pause.id]
    query = sa.select(_SENDS.lead_id, _SENDS.step, _SENDS.due_at, _SENDS.priority).where(
        _SENDS.campaign == campaign,
        written_out(_SENDS.state, _WAITING),
        _SENDS.sequence.not_in([other.sequence for other in others if other.sequence]),
    )
    if pause.sequence is not None:
        query = query.where(_SENDS.sequence == pause.sequence)
    if any(other.sequence is None for other in others):
        query = query.where(sa.false())
    return fetch_frame(connection, query.order_by(_SENDS.lead_id, _SENDS.step))


def sends_of_paused(connection: sa.Connection, campaign: str, lead_id: str) -> pd.DataFrame:
    """lead_id, step, due_at and priority of what waits to be sent to one lead."""
    query = sa.select(_SENDS.lead_id, _SENDS.step, _SENDS.due_at, _SENDS.priority).where(
        _SENDS.campaign == campaign,
        _SENDS.lead_id == lead_id,
        written_out(_SENDS.state, _WAITING),
    )
    return fetch_frame(connection, query.order_by(_SENDS.step))


def change_sends(connection: sa.Connection, campaign: str, changes: pd.DataFrame) -> int:
    """Waiting sends take on state and due_at of `changes`, as `resumed` has it; tells how many."""
    if changes.empty:
        return 0
    late = changes.assign(deadline_at=changes["due_at"] + pd.Timedelta(DEADLINE))
    with staged(connection, nurture_sends, late) as incoming:
        skipped = incoming.c.state == "cancelled"
        return connection.execute(
            sa.update(nurture_sends)
            .where(
                _SENDS.campaign == campaign,
                _SENDS.lead_id == incoming.c.lead_id,
                _SENDS.step == incoming.c.step,
                _SENDS.state.in_(_WAITING),
            )
            .values(
                state=sa.case((skipped, incoming.c.state), else_=_SENDS.state),
                reason=sa.case((skipped, SKIPPED), else_=_SENDS.reason),
                due_at=incoming.c.due_at,
                deadline_at=incoming.c.deadline_at,
            )
        ).rowcount
