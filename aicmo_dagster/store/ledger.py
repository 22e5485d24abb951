"""The ledger of sends: one row a campaign, lead and step, advanced by claims and outcomes.

planned → claimed → attempting → accepted | deferred | rejected | unknown; deferred comes back when
due, and what must not be sent any more is cancelled. A row is claimed in one transaction with every
test that forbids sending, and `attempting` is committed before the message leaves: a crash can
leave a send doubtful but never send it twice.

Not here: rendering and delivery (`mail`), what is due (`domain.nurture.planning`).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.nurture.caps import DAY, HOUR, Allowance
from aicmo_dagster.domain.nurture.places import place_of
from aicmo_dagster.domain.nurture.planning import DEADLINE
from aicmo_dagster.domain.nurture.timing import next_opening
from aicmo_dagster.domain.tokens import address_key, domain_key
from aicmo_dagster.store.database import insert_new, take_turn, written_out
from aicmo_dagster.store.overrides import active_overrides
from aicmo_dagster.store.pacing import read_allowance
from aicmo_dagster.store.pauses import active_pauses
from aicmo_dagster.store.suppressions import suppressed
from aicmo_dagster.store.tables import FRAME_TABLES, events, handoffs, nurture_sends

LEASE = timedelta(minutes=30)
"""After this a claim of a worker nobody can ask about is taken to be abandoned."""

WAITING = ("planned", "deferred")
DOUBTFUL = ("attempting", "unknown")
SPENT = ("claimed", "attempting", "accepted", "unknown")
"""States that count against the caps: sent, or possibly sent."""

STOPPING_EVENTS = {
    "reply": "the lead replied",
    "unsubscribe": "the lead unsubscribed",
    "complaint": "the lead complained",
    "bounce": "the address bounced",
}

_SENDS = nurture_sends.c
_LEADS = FRAME_TABLES["raw_leads"].c


@dataclass(frozen=True)
class Send:
    """One row of the ledger that a worker holds."""

    lead_id: str
    sequence: str
    step: str
    variant: str | None
    campaign_version: int
    message_id: str
    email: str
    attempts: int


@dataclass
class Claim:
    """What one claiming transaction did.

    Args:
        sends: The sends that now belong to the worker.
        passed_over: Sends that were due and not claimed, counted by reason.
        looked_at: How many due sends were looked at; 0 means that nothing is left to do now.
    """

    sends: list[Send] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    looked_at: int = 0


def plan_sends(
    connection: sa.Connection, campaign: str, sends: pd.DataFrame, *, sender: str
) -> int:
    """Adds the sends of a `NurtureSends` frame that are not in the ledger yet; tells how many."""
    frame = sends.assign(
        sender=sender, deadline_at=sends["due_at"] + pd.Timedelta(DEADLINE), attempts=0
    )
    return insert_new(connection, nurture_sends, frame, campaign=campaign)


def claim(
    connection: sa.Connection,
    campaign: Campaign,
    *,
    worker: str,
    secret_key: bytes,
    now: datetime,
    limit: int,
) -> Claim:
    """Takes up to `limit` due sends for `worker`; moves or cancels the others, with a reason.

    Suppression, replies, handoffs, pauses, window and caps are tested in this transaction.
    """
    key, sender = campaign.campaign, campaign.nurture.sender.address
    # Two workers must not both see the sender's last free place.
    take_turn(connection, f"mail of {sender}")
    overridden = active_overrides(connection, key, now)
    paused = overridden.loc[overridden["action"] == "pause", "lead_id"]
    held = {pause.sequence for pause in active_pauses(connection, key)}
    if None in held:
        paused_sends = _due_count(connection, key, now)
        return Claim(
            passed_over=Counter({"the campaign is paused": paused_sends} if paused_sends else {})
        )
    candidates = _due(connection, key, now, limit, except_leads=[*paused], except_sequences=[*held])
    if not candidates:
        return Claim()
    domains = {row.recipient_domain for row in candidates}
    allowed = read_allowance(connection, campaign, domains, now)
    if reached := allowed.reached():
        return Claim(passed_over=Counter({reached: _due_count(connection, key, now)}))
    stopped = _stopped(connection, key, candidates, secret_key)
    refused = overridden.loc[overridden["action"] == "reject", "lead_id"]
    stopped |= dict.fromkeys(refused, "rejected by an override")
    claimed = Claim()
    changes = []
    for row in candidates:
        if allowed.reached():
            break
        claimed.looked_at += 1
        changes.append(
            _judge(row, campaign, stopped.get(row.lead_id), allowed, worker, now, claimed)
        )
    _advance(connection, key, changes)
    return claimed


def begin_attempt(
    connection: sa.Connection,
    campaign: str,
    send: Send,
    *,
    worker: str,
    transport: str,
    now: datetime,
) -> bool:
    """Marks `send` as attempting, if `worker` still holds it; commit before the message leaves."""
    changed = connection.execute(
        _one(campaign, send)
        .where(_SENDS.state == "claimed", _SENDS.worker == worker)
        .values(
            state="attempting",
            transport=transport,
            attempted_at=now,
            attempts=_SENDS.attempts + 1,
        )
    )
    return changed.rowcount == 1


def record_outcome(
    connection: sa.Connection,
    campaign: str,
    send: Send,
    *,
    worker: str,
    state: str,
    reply: str,
    now: datetime,
) -> None:
    """Writes what became of an attempt: accepted, deferred, rejected, unknown, or planned again."""
    values: dict[str, Any] = {"state": state, "reply": reply, "reason": None}
    if state == "accepted":
        values["sent_at"] = now
    else:
        values["reason"] = reply
    if state in WAITING:
        values |= {"due_at": now + _back_off(send.attempts), "worker": None}
    connection.execute(
        _one(campaign, send)
        .where(_SENDS.state.in_(DOUBTFUL), _SENDS.worker == worker)
        .values(values)
    )


def hold(
    connection: sa.Connection, campaign: str, send: Send, *, worker: str, reason: str, now: datetime
) -> None:
    """Puts a claimed send that cannot be made into a message off by a day, saying why."""
    connection.execute(
        _one(campaign, send)
        .where(_SENDS.state == "claimed", _SENDS.worker == worker)
        .values(state="deferred", reason=reason, due_at=now + DAY, worker=None)
    )


def release(connection: sa.Connection, campaign: str, *, worker: str) -> int:
    """Gives back what `worker` claimed and did not attempt."""
    return connection.execute(
        sa.update(nurture_sends)
        .where(_SENDS.campaign == campaign, _SENDS.state == "claimed", _SENDS.worker == worker)
        .values(state="planned", worker=None)
    ).rowcount


def recover(
    connection: sa.Connection, campaign: str, *, has_ended: Callable[[str], bool], now: datetime
) -> Counter[str]:
    """Settles what ended workers have left: claims are planned again, attempts become unknown."""
    held = connection.execute(
        sa.select(_SENDS.lead_id, _SENDS.step, _SENDS.state, _SENDS.worker, _SENDS.claimed_at)
        .where(_SENDS.campaign == campaign, _SENDS.state.in_(("claimed", "attempting")))
        .with_for_update()
    ).all()
    ended = {
        worker for worker in {row.worker for row in held} if worker is None or has_ended(worker)
    }
    changes, counts = [], Counter[str]()
    for row in held:
        if row.worker in ended or row.claimed_at < now - LEASE:
            state = "planned" if row.state == "claimed" else "unknown"
            reason = None if state == "planned" else "its worker ended before the outcome was known"
            changes.append(_change(row, state=state, reason=reason))
            counts[state] += 1
    _advance(connection, campaign, changes)
    return counts


def reconcile(
    connection: sa.Connection,
    campaign: str,
    was_delivered: Callable[[str], bool | None],
    *,
    transport: str,
) -> Counter[str]:
    """Asks about unknown sends of `transport`: accepted if they arrived, planned if surely not."""
    rows = connection.execute(
        sa.select(_SENDS.lead_id, _SENDS.step, _SENDS.message_id, _SENDS.attempted_at)
        .where(
            _SENDS.campaign == campaign,
            _SENDS.state == "unknown",
            _SENDS.transport == transport,
        )
        .with_for_update()
    ).all()
    changes, counts = [], Counter[str]()
    for row in rows:
        arrived = was_delivered(row.message_id)
        if arrived is True:
            changes.append(_change(row, state="accepted", sent_at=row.attempted_at))
        elif arrived is False:
            changes.append(_change(row, state="planned"))
        counts[{True: "accepted", False: "planned", None: "unknown"}[arrived]] += 1
    _advance(connection, campaign, changes)
    return counts


def threads(
    connection: sa.Connection, campaign: str, lead_ids: Collection[str]
) -> dict[str, list[tuple[str, str]]]:
    """Each lead's accepted sends as (step, Message-ID), oldest first, for follow-ups."""
    query = (
        sa.select(_SENDS.lead_id, _SENDS.step, _SENDS.message_id)
        .where(
            _SENDS.campaign == campaign,
            _SENDS.lead_id.in_(lead_ids),
            _SENDS.state.in_(("accepted", "unknown")),
        )
        .order_by(_SENDS.sent_at, _SENDS.due_at)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for lead_id, step, message_id in connection.execute(query):
        found.setdefault(lead_id, []).append((step, message_id))
    return found


def state_counts(connection: sa.Connection, campaign: str) -> dict[str, int]:
    """Sends by state."""
    query = (
        sa.select(_SENDS.state, sa.func.count())
        .where(_SENDS.campaign == campaign)
        .group_by(_SENDS.state)
    )
    return dict(connection.execute(query).all())


def sends_of_lead(connection: sa.Connection, campaign: str, lead_id: str) -> list[dict[str, Any]]:
    """Every send of one lead, in the order they are due."""
    query = (
        sa.select(nurture_sends)
        .where(_SENDS.campaign == campaign, _SENDS.lead_id == lead_id)
        .order_by(_SENDS.due_at)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _due(
    connection: sa.Connection,
    campaign: str,
    now: datetime,
    limit: int,
    *,
    except_leads: list[str],
    except_sequences: list[str | None],
) -> list[sa.Row]:
    """Up to `limit` sends that are due, follow-ups first: who was written to is kept waiting last.

    One query a priority, since each is then served by the index.
    """
    found: list[sa.Row] = []
    for priority in (0, 1):
        if limit > len(found):
            query = _due_query(campaign, now).where(
                _SENDS.priority == priority,
                _SENDS.lead_id.not_in(except_leads),
                _SENDS.sequence.not_in(except_sequences),
            )
            found += connection.execute(query.limit(limit - len(found))).all()
    return found


def _due_query(campaign: str, now: datetime) -> sa.Select:
    names = ("lead_id", "sequence", "step", "variant", "campaign_version")
    return (
        sa.select(
            *(_SENDS[name] for name in names),
            *(
                _SENDS[name]
                for name in ("message_id", "attempts", "recipient_domain", "deadline_at")
            ),
            *(_LEADS[name] for name in ("email", "timezone", "country", "city")),
        )
        .join_from(
            nurture_sends,
            FRAME_TABLES["raw_leads"],
            (_SENDS.campaign == _LEADS.campaign) & (_SENDS.lead_id == _LEADS.lead_id),
        )
        .where(*_is_due(campaign, now))
        .order_by(_SENDS.due_at, _SENDS.lead_id)
        .with_for_update(skip_locked=True, of=nurture_sends)
    )


def _due_count(connection: sa.Connection, campaign: str, now: datetime) -> int:
    return connection.scalar(sa.select(sa.func.count()).where(*_is_due(campaign, now))) or 0


def _is_due(campaign: str, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _SENDS.campaign == campaign,
        written_out(_SENDS.state, WAITING),
        _SENDS.priority.in_((0, 1)),  # so that the index serves
        _SENDS.due_at <= now,
    )


def _stopped(
    connection: sa.Connection, campaign: str, candidates: Sequence[sa.Row], secret_key: bytes
) -> dict[str, str]:
    """Leads that must not be written to any more, each with its reason."""
    leads = [row.lead_id for row in candidates]
    reasons: dict[str, str] = {}
    keys = {
        row.lead_id: (
            address_key(secret_key, row.email),
            domain_key(secret_key, row.recipient_domain),
        )
        for row in candidates
    }
    hit = suppressed(connection, [key for pair in keys.values() for key in pair])
    reasons |= {lead: "suppressed" for lead, pair in keys.items() if hit.intersection(pair)}
    handed = sa.select(handoffs.c.lead_id).where(
        handoffs.c.campaign == campaign, handoffs.c.lead_id.in_(leads)
    )
    reasons |= dict.fromkeys(connection.scalars(handed), "handed to sales")
    told = sa.select(events.c.lead_id, events.c.kind).where(
        events.c.campaign == campaign,
        events.c.lead_id.in_(leads),
        events.c.kind.in_(STOPPING_EVENTS),
    )
    return reasons | {lead: STOPPING_EVENTS[kind] for lead, kind in connection.execute(told)}


def _judge(
    row: sa.Row,
    campaign: Campaign,
    stopped: str | None,
    allowed: Allowance,
    worker: str,
    now: datetime,
    claimed: Claim,
) -> dict[str, Any]:
    """The change to one due send: claimed, cancelled, or due later."""
    place = place_of(campaign, row.timezone, row.country, row.city)
    opens = next_opening(campaign.nurture.window, place.zone, now, place.calendar)
    if stopped or row.deadline_at < now:
        reason = stopped or "its deadline has passed"
        claimed.passed_over[reason] += 1
        return _change(row, state="cancelled", reason=reason)
    if opens > now:
        claimed.passed_over["outside its window"] += 1
        return _change(row, state="planned", reason="waits for its window", due_at=opens)
    refusal = allowed.refusal(row.recipient_domain)
    if refusal:
        claimed.passed_over[refusal] += 1
        return _change(row, state="planned", reason=refusal, due_at=now + HOUR)
    allowed.take(row.recipient_domain)
    names = Send.__dataclass_fields__
    claimed.sends.append(Send(**{name: getattr(row, name) for name in names}))
    sender = campaign.nurture.sender.address
    return _change(row, state="claimed", worker=worker, claimed_at=now, sender=sender)


def _change(row: sa.Row, **values: Any) -> dict[str, Any]:
    return {"at_lead": row.lead_id, "at_step": row.step, **values}


def _advance(connection: sa.Connection, campaign: str, changes: Iterable[dict[str, Any]]) -> None:
    """Applies changes, those that set the same columns together."""
    by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for change in changes:
        by_columns.setdefault(tuple(sorted(change)), []).append(change)
    for columns, alike in by_columns.items():
        values: dict[str, Any] = {
            name: sa.bindparam(name) for name in columns if not name.startswith("at_")
        }
        statement = (
            sa.update(nurture_sends)
            .where(
                _SENDS.campaign == campaign,
                _SENDS.lead_id == sa.bindparam("at_lead"),
                _SENDS.step == sa.bindparam("at_step"),
            )
            .values({"reason": None} | values)
        )
        connection.execute(statement, alike)


def _one(campaign: str, send: Send) -> sa.Update:
    return sa.update(nurture_sends).where(
        _SENDS.campaign == campaign, _SENDS.lead_id == send.lead_id, _SENDS.step == send.step
    )


def _back_off(attempts: int) -> timedelta:
    """15 minutes, doubled with each attempt, half a day at most (RFC 5321, section 4.5.4.1)."""
    return min(timedelta(minutes=15) * 2**attempts, DAY / 2)
