"""Attempts and what came of them: what a worker may do with the sends it claimed.

`attempting` is committed before the message leaves: a crash can leave a send doubtful but never
send it twice. Doubtful sends are settled by proof, never by their age; without proof they are
presumed sent and stay `unknown`, for people to see.

Claims are durable, the marks here are not: on SQLite a power cut may undo the last of them. What
was claimed before the machine went down is therefore doubtful as a whole. Not here: claiming
(`claiming`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from aicmo_dagster.domain.nurture.caps import DAY
from aicmo_dagster.store.claiming import NO_OBJECTION
from aicmo_dagster.store.index_conditions import constant
from aicmo_dagster.store.ledger import OPEN, WAITING, Send, advance, in_states
from aicmo_dagster.store.prepared import Prepared
from aicmo_dagster.store.tables import events, nurture_sends

LEASE = timedelta(minutes=30)
"""After this a claim is judged anew, and that of a worker nobody can ask about is abandoned."""

MOST_SOFT_FAILURES, SOFT_FAILURE_SPAN = 3, timedelta(days=7)
"""A mailbox that takes nothing as often, over as long, is taken to be dead."""

_SENDS = nurture_sends.c


class Outcome(NamedTuple):
    """What came of one attempt: state and fault as `mail.replies.Delivery` has them."""

    send: Send
    state: str
    reply: str
    fault: str | None = None


def begin_attempts(
    connection: sa.Connection,
    campaign: str,
    sends: Sequence[Send],
    *,
    worker: str,
    transport: str,
    dated: datetime,
    now: datetime,
) -> set[str]:
    """Marks `sends` as attempting; commit before their messages leave.

    What was claimed longer than `LEASE` ago is not: windows and caps were looked at then, and the
    machine may have slept since. Nor is what somebody objected to since the claim; given back, it
    is cancelled by the next one.

    Args:
        connection: From `Database.write`.
        campaign: The campaign's key.
        sends: Sends that `worker` claimed.
        worker: Who is about to send.
        transport: Where to.
        dated: The date of messages that are tried for the first time.
        now: The instant.

    Returns:
        The Message-IDs of those that `worker` still holds.
    """
    fixed = {"at_campaign": campaign, "by": worker, "to": transport, "now": now, "dated": dated}
    fixed["oldest"] = now - LEASE
    begun = _BEGIN.changed(connection, fixed, [(send.lead_id, send.step) for send in sends])
    return {send.message_id for send, changed in zip(sends, begun, strict=True) if changed}


_MINE = (
    _SENDS.campaign == sa.bindparam("at_campaign"),
    _SENDS.lead_id == sa.bindparam("at_lead"),
    _SENDS.step == sa.bindparam("at_step"),
    _SENDS.worker == sa.bindparam("by"),
)
_INSTANT = nurture_sends.c.dated_at.type
_BEGIN = Prepared(
    sa.update(nurture_sends)
    .where(
        *_MINE,
        _SENDS.state == constant("claimed"),
        _SENDS.claimed_at >= sa.bindparam("oldest", type_=_INSTANT),
        *NO_OBJECTION,
    )
    .values(
        state="attempting",
        transport=sa.bindparam("to"),
        attempted_at=sa.bindparam("now", type_=_INSTANT),
        attempts=_SENDS.attempts + 1,
        dated_at=sa.func.coalesce(_SENDS.dated_at, sa.bindparam("dated", type_=_INSTANT)),
    ),
    "at_lead",
    "at_step",
)


def record_outcomes(
    connection: sa.Connection,
    campaign: str,
    outcomes: Iterable[Outcome],
    *,
    worker: str,
    now: datetime,
) -> list[Outcome]:
    """Writes what became of attempts, and returns it as written.

    A mailbox that has taken nothing for long enough counts as one that there is not.
    """
    written = [_judged(outcome, now) for outcome in outcomes]
    finished: dict[bool, list[tuple[Any, ...]]] = {}
    waiting: dict[int, list[tuple[Any, ...]]] = {}
    for outcome in written:
        if outcome.state in WAITING:
            waiting.setdefault(outcome.send.attempts, []).append(_values(outcome))
        else:
            finished.setdefault(outcome.state == "accepted", []).append(_values(outcome))
    fixed: dict[str, Any] = {"at_campaign": campaign, "by": worker}
    for accepted, rows in finished.items():
        _record(connection, _FINISHED, fixed | {"sent_now": now if accepted else None}, rows)
    for attempts, rows in waiting.items():
        _record(connection, _SET_ASIDE, fixed | {"due_now": now + _back_off(attempts)}, rows)
    return written


def _record(
    connection: sa.Connection,
    updates: tuple[Prepared, Prepared],
    fixed: dict[str, Any],
    rows: list[tuple[Any, ...]],
) -> None:
    """Each of `rows` is written: by its key, or else by its Message-ID, which no merger changes."""
    by_key, by_message = updates
    if by_key.execute(connection, fixed, rows) == len(rows):
        return
    asked = {"at_campaign": fixed["at_campaign"], "by": fixed["by"]}
    asked |= {"messages": [row[_MESSAGE] for row in rows]}
    left = set(connection.scalars(_LEFT_OPEN, asked))
    by_message.execute(connection, fixed, [row for row in rows if row[_MESSAGE] in left])


_TELLING = ("state_now", "reply_now", "reason_now", "fault_now", "attempts_now")
_TOLD: dict[str, Any] = {name.removesuffix("_now"): sa.bindparam(name) for name in _TELLING}
_ROW = ("at_lead", "at_step", "at_message", *_TELLING)
_MESSAGE = _ROW.index("at_message")
_IS_OPEN = sa.or_(*(_SENDS.state == constant(state) for state in OPEN))
_LEFT_OPEN = sa.select(_SENDS.message_id).where(
    *in_states(sa.bindparam("at_campaign"), OPEN),
    _SENDS.worker == sa.bindparam("by"),
    _SENDS.message_id.in_(sa.bindparam("messages", expanding=True)),
)
_MERGED = (
    _SENDS.campaign == sa.bindparam("at_campaign"),
    _SENDS.message_id == sa.bindparam("at_message"),
    _SENDS.worker == sa.bindparam("by"),
)
"""Where a send stands whose lead turned out to be another while it was under way."""


def _told(**more: Any) -> tuple[Prepared, Prepared]:
    told = sa.update(nurture_sends).where(_IS_OPEN).values(_TOLD | more)
    return Prepared(told.where(*_MINE), *_ROW), Prepared(told.where(*_MERGED), *_ROW)


_FINISHED = _told(sent_at=sa.bindparam("sent_now", type_=_INSTANT))
_SET_ASIDE = _told(due_at=sa.bindparam("due_now", type_=_INSTANT), worker=None)


def _judged(outcome: Outcome, now: datetime) -> Outcome:
    if outcome.fault != "lead" or outcome.state != "deferred":
        return outcome
    send = outcome.send
    since = send.dated_at or now
    if send.attempts + 1 >= MOST_SOFT_FAILURES and now - since >= SOFT_FAILURE_SPAN:
        return Outcome(send, "rejected", outcome.reply, "address")
    return outcome


def _values(outcome: Outcome) -> tuple[Any, ...]:
    """Which send, and what is told of it, as `_ROW` names it."""
    send, state, reply, fault = outcome
    reason = None if state == "accepted" else reply
    told = (state, reply, reason, fault, send.attempts + 1)
    return (send.lead_id, send.step, send.message_id, *told)


def hold(
    connection: sa.Connection,
    campaign: str,
    held: Iterable[tuple[Send, str]],
    *,
    worker: str,
    now: datetime,
) -> None:
    """Puts claimed sends that cannot be made into a message off by a day, each with its reason."""
    fixed = {"at_campaign": campaign, "by": worker, "due_now": now + DAY}
    rows = [(send.lead_id, send.step, reason) for send, reason in held]
    if rows:
        _HOLD.execute(connection, fixed, rows)


_HOLD = Prepared(
    sa.update(nurture_sends)
    .where(*_MINE, _SENDS.state == constant("claimed"))
    .values(
        state="deferred",
        reason=sa.bindparam("reason_now"),
        due_at=sa.bindparam("due_now", type_=_INSTANT),
        worker=None,
    ),
    *("at_lead", "at_step", "reason_now"),
)


def release(connection: sa.Connection, campaign: str, *, worker: str) -> int:
    """Gives back what `worker` claimed and did not attempt."""
    return connection.execute(_RELEASE, {"at_campaign": campaign, "by": worker}).rowcount


_OF_CAMPAIGN = in_states(sa.bindparam("at_campaign"), OPEN)
_RELEASE = (
    sa.update(nurture_sends)
    .where(*_OF_CAMPAIGN, _SENDS.state == "claimed", _SENDS.worker == sa.bindparam("by"))
    .values(state="planned", worker=None)
)


def recover(
    connection: sa.Connection,
    campaign: str,
    *,
    has_ended: Callable[[str], bool],
    boot: str,
    now: datetime,
) -> Counter[str]:
    """Settles what ended workers have left: claims are planned again, attempts become unknown.

    Args:
        connection: From `Database.write`.
        campaign: The campaign's key.
        has_ended: Whether a worker is known to run no more.
        boot: Names the time since this machine was started, as `workers.this_boot` does.
        now: The instant.
    """
    held = connection.execute(_HELD, {"at_campaign": campaign}).all()
    workers = {row.worker for row in held}
    ended = {worker for worker in workers if worker is None or has_ended(worker)}
    marks_last = connection.dialect.name != "sqlite"
    changes, counts = [], Counter[str]()
    for row in held:
        if row.worker not in ended and row.claimed_at >= now - LEASE:
            continue
        state, reason = "unknown", "its worker ended before the outcome was known"
        if row.state == "claimed" and (marks_last or row.boot in (None, boot)):
            state, reason = "planned", ""
        elif row.state == "claimed":
            reason = "the machine went down while it was claimed"
        changes.append(_change(row, state=state, reason=reason or None))
        counts[state] += 1
    advance(connection, campaign, changes)
    return counts


_HELD = (
    sa.select(*(_SENDS[n] for n in ("lead_id", "step", "state", "worker", "claimed_at", "boot")))
    .where(*_OF_CAMPAIGN, _SENDS.state != "unknown")
    .with_for_update()
)


def reconcile(
    connection: sa.Connection,
    campaign: str,
    was_delivered: Callable[[str], bool | None],
    *,
    transport: str,
) -> Counter[str]:
    """Settles doubtful sends by proof: accepted if they arrived, planned if surely not.

    An event that only the message can have caused proves that it arrived. Otherwise the transport
    that took it is asked, if it is `transport`; what it cannot tell stays unknown.
    """
    rows = _doubtful(connection, campaign)
    proven = _caused_events(connection, campaign, rows)
    changes, counts = [], Counter[str]()
    for row in rows:
        arrived: bool | None = True if (row.lead_id, row.step) in proven else None
        if arrived is None and row.transport == transport:
            arrived = was_delivered(row.message_id)
        if arrived is True:
            changes.append(_change(row, state="accepted", sent_at=row.attempted_at))
        elif arrived is False:
            changes.append(_change(row, state="planned", worker=None))
        counts[{True: "accepted", False: "planned", None: "unknown"}[arrived]] += 1
    advance(connection, campaign, changes)
    return counts


def doubt(connection: sa.Connection, until: datetime, *, transport: str) -> int:
    """Whatever may have been sent by `until` is unknown, in every campaign; tells how many.

    For a restored backup, in which a send that is planned or claimed may have been made since.

    Args:
        connection: From `Database.write`.
        until: When the last message can have left.
        transport: Whom `reconcile` may ask about those that had not been attempted.
    """
    waiting = sa.and_(_SENDS.state.in_(WAITING), _SENDS.due_at <= until)
    held = _SENDS.state.in_(("claimed", "attempting"))
    return connection.execute(
        sa.update(nurture_sends)
        .where(sa.or_(waiting, held))
        .values(
            state="unknown",
            reason="a backup was restored, and it may have been sent since",
            transport=sa.func.coalesce(_SENDS.transport, transport),
            claimed_at=sa.func.coalesce(_SENDS.claimed_at, until, type_=_INSTANT),
            attempted_at=sa.func.coalesce(_SENDS.attempted_at, until, type_=_INSTANT),
            worker=None,
        )
    ).rowcount


def _doubtful(connection: sa.Connection, campaign: str) -> Sequence[sa.Row]:
    return connection.execute(_DOUBTFUL, {"at_campaign": campaign}).all()


_ATTEMPTED = sa.func.coalesce(_SENDS.attempted_at, _SENDS.claimed_at, type_=_INSTANT)
_DOUBTFUL = (
    sa.select(
        *(_SENDS[name] for name in ("lead_id", "step", "message_id", "transport")),
        _ATTEMPTED.label("attempted_at"),
    )
    .where(*_OF_CAMPAIGN, _SENDS.state == "unknown")
    .with_for_update()
)


def _caused_events(
    connection: sa.Connection, campaign: str, rows: Sequence[sa.Row]
) -> set[tuple[str, str]]:
    """(lead, step) of those `rows` whose message opened, bounced or was answered."""
    found: set[tuple[str, str]] = set()
    for start in range(0, len(rows), 1000):
        leads = [row.lead_id for row in rows[start : start + 1000]]
        query = sa.select(events.c.lead_id, events.c.step).where(
            events.c.campaign == campaign, events.c.lead_id.in_(leads), events.c.step.is_not(None)
        )
        found.update((row.lead_id, row.step) for row in connection.execute(query))
    return found


def _change(row: sa.Row, **values: Any) -> dict[str, Any]:
    return {"at_lead": row.lead_id, "at_step": row.step, **values}


def _back_off(attempts: int) -> timedelta:
    """15 minutes, doubled with each attempt, half a day at most (RFC 5321, section 4.5.4.1)."""
    return min(timedelta(minutes=15) * 2 ** min(attempts, 10), DAY / 2)
