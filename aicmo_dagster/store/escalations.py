"""Reminders of handoffs that nobody took up: one a level and channel, planned with the handoff.

due → attempting → sent, or unknown after a crash in between, or dead when every attempt failed; one
that is not wanted any more is dropped. A webhook is due until it was taken: it may be delivered
again under its key. Not here: what a reminder says (`engaging.reminders`), sending (`mail`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.store.tables import escalations, handoffs
from aicmo_dagster.store.upserts import insert_once

DUE, ATTEMPTING, SENT = "due", "attempting", "sent"
UNKNOWN, DEAD, DROPPED = "unknown", "dead", "dropped"
MAIL, WEBHOOK = "mail", "webhook"
LEASE = timedelta(minutes=10)
"""For this long an attempt at a webhook is its worker's; after it, another may try."""

_ROWS = escalations.c
_HANDOFFS = handoffs.c


@dataclass(frozen=True)
class Level:
    """A reminder that the campaign asks for: its number, by which channel, and how late."""

    level: int
    channel: str
    after: timedelta


@dataclass(frozen=True)
class Escalation:
    """One reminder.

    Args:
        campaign: The campaign's key.
        lead_id: Whose handoff nobody took up.
        level: Its number, from 1.
        channel: `MAIL` or `WEBHOOK`.
        key: The Message-ID, or the webhook's id: the same at every attempt.
        created_at: When it was planned.
        attempts: How often it was tried.
    """

    campaign: str
    lead_id: str
    level: int
    channel: str
    key: str
    created_at: datetime
    attempts: int


_FIELDS = [_ROWS[name] for name in Escalation.__dataclass_fields__]


def plan_escalations(
    connection: sa.Connection,
    campaign: str,
    levels: Sequence[Level],
    name: Callable[[str, Level], str],
    now: datetime,
) -> int:
    """Every handoff that nobody took up has the reminders of `levels`; tells how many are new.

    Those that were not tried yet follow the levels as they are now; the others stay as they are.
    """
    untried = (_ROWS.campaign == campaign, _ROWS.state == DUE, _ROWS.attempts == 0)
    wanted = [(each.level, each.channel) for each in levels]
    gone = sa.tuple_(_ROWS.level, _ROWS.channel).not_in(wanted) if wanted else sa.true()
    connection.execute(sa.delete(escalations).where(*untried, gone))
    if not levels:
        return 0
    known = _planned(connection, campaign)
    waiting = sa.select(_HANDOFFS.lead_id, _HANDOFFS.created_at).where(
        _HANDOFFS.campaign == campaign, _HANDOFFS.acknowledged_at.is_(None)
    )
    new = 0
    for lead_id, since in connection.execute(waiting).all():
        for each in levels:
            due_at, place = since + each.after, (lead_id, each.level, each.channel)
            if place not in known:
                row = {"lead_id": lead_id, "level": each.level, "channel": each.channel}
                row |= {"state": DUE, "key": name(lead_id, each)}
                told = {"campaign": campaign, "created_at": now, "next_attempt_at": due_at}
                new += insert_once(connection, escalations, **row, **told)
            elif known[place] is not None and known[place] != due_at:
                mine = sa.tuple_(_ROWS.lead_id, _ROWS.level, _ROWS.channel) == place
                moved = sa.update(escalations).where(*untried, mine)
                connection.execute(moved.values(next_attempt_at=due_at))
    return new


def _planned(
    connection: sa.Connection, campaign: str
) -> dict[tuple[str, int, str], datetime | None]:
    """(lead, level, channel) of each reminder to when it is due; None once it was tried."""
    query = sa.select(escalations).where(_ROWS.campaign == campaign)
    return {
        (row.lead_id, row.level, row.channel): (
            row.next_attempt_at if row.state == DUE and not row.attempts else None
        )
        for row in connection.execute(query)
    }


def due_escalations(connection: sa.Connection, now: datetime, limit: int) -> list[Escalation]:
    """Up to `limit` reminders whose time has come, the oldest first."""
    query = sa.select(*_FIELDS).where(*_is_due(now)).order_by(_ROWS.next_attempt_at)
    return [Escalation(*row) for row in connection.execute(query.limit(limit))]


def any_escalation_due(connection: sa.Connection, now: datetime) -> bool:
    """Whether there is a reminder whose time has come."""
    query = sa.select(_ROWS.key).where(*_is_due(now)).limit(1)
    return connection.execute(query).first() is not None


def begin_mail(
    connection: sa.Connection,
    mails: Iterable[Escalation],
    *,
    worker: str,
    transport: str,
    now: datetime,
) -> set[str]:
    """Marks reminders as attempting; commit before they leave. Returns the keys of those due."""
    begun: dict[str, Any] = {"state": ATTEMPTING, "worker": worker, "next_attempt_at": now}
    begun["transport"] = transport
    tried = {"attempts": _ROWS.attempts + 1}
    return {each.key for each in mails if _change(connection, each, DUE, **begun, **tried)}


def begin_webhook(connection: sa.Connection, hook: Escalation, now: datetime) -> bool:
    """Whether the webhook is the caller's for the time of a lease."""
    statement = sa.update(escalations).where(*_mine(hook), *_is_due(now))
    values = {"attempts": _ROWS.attempts + 1, "next_attempt_at": now + LEASE}
    return connection.execute(statement.values(values)).rowcount == 1


def finish(
    connection: sa.Connection,
    escalation: Escalation,
    state: str,
    now: datetime,
    error: str | None = None,
) -> None:
    """What came of an attempt stands in its row; nothing follows."""
    last = {"state": state, "finished_at": now, "next_attempt_at": None, "error": error}
    _change(connection, escalation, None, **last)


def try_again(
    connection: sa.Connection, escalation: Escalation, at: datetime, error: str | None
) -> None:
    """The reminder is due again `at` a later instant."""
    _change(connection, escalation, None, state=DUE, worker=None, next_attempt_at=at, error=error)


def left_behind(
    connection: sa.Connection, has_ended: Callable[[str], bool], *, to_settle: bool = True
) -> list[tuple[Escalation, str]]:
    """Mails of which it is not known whether they left, since their worker has ended, and by what.

    Those that are to be settled are the caller's until the end of the transaction.
    """
    query = sa.select(*_FIELDS, _ROWS.transport, _ROWS.worker).where(_ROWS.state == ATTEMPTING)
    rows = connection.execute(query.with_for_update() if to_settle else query).all()
    return [(Escalation(*row[:-2]), row.transport) for row in rows if has_ended(row.worker)]


def drop(connection: sa.Connection, campaign: str, lead_id: str, now: datetime) -> int:
    """No reminder of this handoff that is still to come is sent; tells how many those were."""
    statement = sa.update(escalations).where(
        _ROWS.campaign == campaign, _ROWS.lead_id == lead_id, _ROWS.state == DUE
    )
    dropped = {"state": DROPPED, "finished_at": now, "next_attempt_at": None}
    return connection.execute(statement.values(dropped)).rowcount


def escalations_of(
    connection: sa.Connection, campaign: str, lead_id: str | None = None
) -> list[dict[str, Any]]:
    """The campaign's reminders, or those of one lead, by lead, level and channel."""
    query = sa.select(escalations).where(_ROWS.campaign == campaign)
    if lead_id is not None:
        query = query.where(_ROWS.lead_id == lead_id)
    rows = connection.execute(query.order_by(_ROWS.lead_id, _ROWS.level, _ROWS.channel))
    return [dict(row) for row in rows.mappings()]


def _is_due(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (_ROWS.state == DUE, _ROWS.next_attempt_at <= now)


def _mine(escalation: Escalation) -> list[sa.ColumnElement[bool]]:
    key = ("campaign", "lead_id", "level", "channel")
    return [_ROWS[name] == getattr(escalation, name) for name in key]


def _change(
    connection: sa.Connection, escalation: Escalation, only: str | None, **values: Any
) -> bool:
    statement = sa.update(escalations).where(*_mine(escalation))
    if only is not None:
        statement = statement.where(_ROWS.state == only)
    return connection.execute(statement.values(values)).rowcount == 1


def doubt(connection: sa.Connection, until: datetime) -> int:
    """Mails that may have left by `until` are unknown, after a backup was restored; how many."""
    may_have_left = (
        _ROWS.channel == MAIL,
        _ROWS.state.in_((DUE, ATTEMPTING)),
        _ROWS.next_attempt_at <= until,
    )
    values = {"state": UNKNOWN, "finished_at": until, "next_attempt_at": None}
    return connection.execute(sa.update(escalations).where(*may_have_left).values(values)).rowcount
