"""Calls that cost credits: the intent is committed before a request leaves, the outcome after it.

begun → done | refused | unknown | pending; unknown and pending become done or refused once known.
A call costs at most what it said when it began, and counts as that much until its outcome is known:
a crash can leave a payment doubtful but never make it twice, nor pass the campaign's budget.

Not here: the requests (`sources`), what was answered (`provider_answers`), how often one may ask
(`rate_windows`).
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.index_conditions import constant, written_out
from aicmo_dagster.store.tables import provider_answers, provider_calls

LEASE = timedelta(minutes=30)
"""After this a call without outcome, by a worker nobody can ask about, is taken to be abandoned."""

OPEN = ("begun", "unknown", "pending")
"""States in which the provider may have charged, or may still charge."""

_TOLERANCE = 1e-6
"""Credits come in fractions, whose sums are not exact."""

_CALLS = provider_calls.c
COUNTED = sa.case(
    (_CALLS.state == constant("refused"), sa.func.coalesce(_CALLS.credits, constant(0.0))),
    (_CALLS.state == constant("done"), sa.func.coalesce(_CALLS.credits, _CALLS.credits_at_most)),
    else_=_CALLS.credits_at_most,
)
"""What a call counts as: its cost where that is known, else what it may have cost at most."""

# Built once: there is a call for every few leads, and building costs more than executing.
_OF_KEY = sa.select(_CALLS.id, _CALLS.state, _CALLS.credits).where(
    _CALLS.key == sa.bindparam("of_key")
)
_SPENT = sa.select(sa.func.sum(COUNTED)).where(_CALLS.campaign == sa.bindparam("of_campaign"))
_ASKED_ELSEWHERE = sa.select(_CALLS.people).where(
    _CALLS.provider == sa.bindparam("of_provider"),
    _CALLS.campaign != sa.bindparam("own"),
    _CALLS.state.in_(OPEN),
    _CALLS.started_at >= sa.bindparam("from_then"),
)
_FINISH = (
    sa.update(provider_calls)
    .where(_CALLS.id == sa.bindparam("call"), _CALLS.state.in_(OPEN))
    .values(
        state=sa.bindparam("now_state"),
        credits=sa.bindparam("now_credits"),
        request_id=sa.func.coalesce(
            sa.bindparam("now_request", type_=sa.String), _CALLS.request_id
        ),
        detail=sa.bindparam("now_detail"),
        finished_at=sa.func.coalesce(
            sa.bindparam("now_finished", type_=_CALLS.finished_at.type), _CALLS.finished_at
        ),
    )
)


@dataclass(frozen=True)
class NoCredits:
    """The call was not begun: it could cost more than the `left` credits of the campaign."""

    left: float


@dataclass(frozen=True)
class OpenCall:
    """A call that must be asked about before any of its `people` is paid for again."""

    call_id: int
    operation: str
    key: str
    state: str
    people: tuple[str, ...]
    credits_at_most: float
    request_id: str | None
    started_at: datetime
    detail: str


@dataclass(frozen=True)
class Spending:
    """What a campaign spent at one provider, and what it got.

    Args:
        calls: Calls begun, refused ones too.
        credits: Spent, doubtful calls at their ceiling.
        answers: Leads that the provider's answer is kept for.
        usable: Those of them whose answer is usable.
        cache_hits: Those of them whose answer had been paid for before, for another lead.
    """

    calls: int = 0
    credits: float = 0.0
    answers: int = 0
    usable: int = 0
    cache_hits: int = 0


def begin_call(
    connection: sa.Connection,
    *,
    campaign: str,
    provider: str,
    operation: str,
    key: str,
    people: Sequence[str],
    worker: str,
    credits_at_most: float,
    max_credits: float,
    now: datetime,
    left: float | None = None,
) -> int | NoCredits | None:
    """The id of the call, begun now; commit durably before the request leaves.

    None if the key has been used: one key, one payment. Only a call that was refused and cost
    nothing may begin again under its key. A call that cannot cost anything needs no credits.

    Args:
        connection: From ``Database.write(durable=True)``.
        campaign: Who pays.
        provider: Who is asked.
        operation: For what.
        key: What makes the payment this one and no other, in all campaigns.
        people: Whom it asks about, by their `tokens.person_key`.
        worker: Who asks, from `workers.this_worker`.
        credits_at_most: What the call may cost.
        max_credits: What the campaign may spend over all calls.
        now: When.
        left: What `credits_left` gave in this transaction, less what calls begun since may cost.
    """
    if left is None:
        left = credits_left(connection, campaign, max_credits)
    is_too_dear = credits_at_most > 0 and credits_at_most > left + _TOLERANCE
    values = {
        **{"campaign": campaign, "provider": provider, "operation": operation, "key": key},
        **{"people": json.dumps(list(people)), "credits_at_most": credits_at_most},
        **{"state": "begun", "worker": worker, "started_at": now, "detail": ""},
    }
    if not is_too_dear and (begun := _insert_call(connection, values)) is not None:
        return begun  # as nearly always
    earlier = _call_of_key(connection, key)
    if earlier is not None and (earlier.state != "refused" or earlier.credits):
        return None
    if is_too_dear:
        return NoCredits(max(left, 0.0))
    return None if earlier is None else _begin_again(connection, earlier.id, values)


def finish_call(
    connection: sa.Connection,
    call_id: int,
    *,
    state: Literal["done", "refused", "unknown", "pending"],
    credits: float | None,
    request_id: str | None,
    detail: str,
    now: datetime,
) -> bool:
    """Writes what became of a call; tells whether that was still open. Done and refused are final.

    Store what it answered in the same transaction, so that what was paid for is not lost.

    Args:
        connection: From `Database.write`.
        call_id: From `begin_call`.
        state: Refused means that nothing was charged; unknown that nobody can tell; pending that
            the answer is to be fetched by `request_id`.
        credits: What it cost. None where it is not known, which counts as the ceiling.
        request_id: What the provider calls it; one that is known already is kept.
        detail: The outcome in words, free of personal data.
        now: When.

    Raises:
        ValueError: If it is pending and nobody could fetch the answer.
    """
    if state == "pending" and request_id is None:
        raise ValueError("a pending call needs the request id that its answer is fetched by")
    is_final = state in ("done", "refused")
    outcome = {"now_state": state, "now_credits": credits, "now_detail": detail}
    known = {"now_request": request_id, "now_finished": now if is_final else None}
    return connection.execute(_FINISH, {"call": call_id, **outcome, **known}).rowcount == 1


def open_calls(
    connection: sa.Connection,
    campaign: str,
    provider: str,
    *,
    has_ended: Callable[[str], bool],
    now: datetime,
) -> list[OpenCall]:
    """Calls to ask about before paying again, oldest first: pending, unknown, or left by a worker.

    Args:
        connection: Any.
        campaign: Whose calls.
        provider: Who was asked.
        has_ended: `workers.has_ended`; of a worker it cannot judge, a call is left after `LEASE`.
        now: When.
    """
    query = (
        sa.select(provider_calls)
        .where(_CALLS.campaign == campaign, _CALLS.provider == provider, _CALLS.state.in_(OPEN))
        .order_by(_CALLS.started_at, _CALLS.id)
    )
    rows = connection.execute(query).all()
    begun = {row.worker for row in rows if row.state == "begun"}
    ended = {worker for worker in begun if worker is None or has_ended(worker)}
    return [
        _open_call(row)
        for row in rows
        if row.state != "begun" or row.worker in ended or row.started_at < now - LEASE
    ]


def pending_call(
    connection: sa.Connection, provider: str, request_id: str
) -> tuple[str, OpenCall] | None:
    """The campaign and the call whose answer is waited for under `request_id`, if one is."""
    query = sa.select(provider_calls).where(
        _CALLS.provider == provider, _CALLS.state == "pending", _CALLS.request_id == request_id
    )
    row = connection.execute(query).first()
    return None if row is None else (row.campaign, _open_call(row))


def pending_since(connection: sa.Connection) -> dict[str, datetime]:
    """Campaign to since when the oldest answer that it waits for is pending."""
    waiting = sa.and_(written_out(_CALLS.state, OPEN), _CALLS.state == "pending")
    query = sa.select(_CALLS.campaign, sa.func.min(_CALLS.started_at).label("since"))
    rows = connection.execute(query.where(waiting).group_by(_CALLS.campaign))
    return {row.campaign: row.since for row in rows}


def asked_elsewhere(
    connection: sa.Connection,
    people: Collection[str],
    *,
    provider: str,
    campaign: str | None,
    since: datetime,
) -> set[str]:
    """Those of `people` that an open call elsewhere asks about: wait for its answer.

    Exact if the transaction goes on with `begin_call`: other such transactions wait for its end.

    Args:
        connection: From `Database.write`.
        people: Their `tokens.person_key`.
        provider: Who is asked.
        campaign: Whose own calls do not matter; None if all do.
        since: Calls begun before are not waited for.
    """
    take_turn(connection, f"calls to {provider}")
    values = {"of_provider": provider, "from_then": since, "own": campaign or ""}
    texts = connection.scalars(_ASKED_ELSEWHERE, values)
    asked = {person for text in texts for person in json.loads(text)}
    return asked.intersection(people)


def credits_spent(connection: sa.Connection, campaign: str) -> float:
    """What the campaign's calls cost; those whose outcome is not known count as their ceiling."""
    return connection.scalar(_SPENT, {"of_campaign": campaign}) or 0.0


def credits_left(connection: sa.Connection, campaign: str, max_credits: float) -> float:
    """What the campaign may still spend; nobody else spends it before the transaction has ended."""
    take_turn(connection, f"credits of {campaign}")
    return max_credits - credits_spent(connection, campaign)


def spending(connection: sa.Connection, campaign: str) -> dict[str, Spending]:
    """Provider to what the campaign spent there and what it got."""
    paid = (
        sa.select(_CALLS.provider, sa.func.count().label("calls"))
        .add_columns(sa.func.sum(COUNTED).label("credits"))
        .where(_CALLS.campaign == campaign)
        .group_by(_CALLS.provider)
    )
    figures: dict[str, dict[str, Any]] = {}
    for query in (paid, _answer_counts(campaign)):
        for row in connection.execute(query).mappings():
            counts = {name: row[name] for name in row if name != "provider"}
            figures.setdefault(row["provider"], {}).update(counts)
    return {provider: Spending(**figures[provider]) for provider in sorted(figures)}


def _answer_counts(campaign: str) -> sa.Select:
    """Leads by provider: one may be known there by several keys, and counts once."""
    answers = provider_answers.c

    def leads(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        lead = sa.case((sa.and_(*conditions), answers.lead_id))
        return sa.func.count(lead.distinct())

    return (
        sa.select(
            answers.provider,
            leads(sa.true()).label("answers"),
            leads(answers.usable).label("usable"),
            leads(answers.cached).label("cache_hits"),
        )
        .where(answers.campaign == campaign)
        .group_by(answers.provider)
    )


def _call_of_key(connection: sa.Connection, key: str) -> sa.Row | None:
    return connection.execute(_OF_KEY, {"of_key": key}).one_or_none()


def _insert_call(connection: sa.Connection, values: dict[str, Any]) -> int | None:
    return connection.scalar(_unless_there(connection.dialect.name), values)


@cache
def _unless_there(dialect_name: str) -> sa.Insert:
    dialect = postgresql if dialect_name == "postgresql" else sqlite
    statement = dialect.insert(provider_calls).on_conflict_do_nothing(index_elements=[_CALLS.key])
    return statement.returning(_CALLS.id)


def _begin_again(connection: sa.Connection, call_id: int, values: dict[str, Any]) -> int | None:
    statement = (
        sa.update(provider_calls)
        .where(_CALLS.id == call_id, _CALLS.state == "refused")
        .values(values | {"credits": None, "request_id": None, "finished_at": None})
    )
    return connection.scalar(statement.returning(_CALLS.id))


def _open_call(row: sa.Row) -> OpenCall:
    same = ("operation", "key", "state", "credits_at_most", "request_id", "started_at", "detail")
    return OpenCall(
        call_id=row.id,
        people=tuple(json.loads(row.people)),
        **{name: getattr(row, name) for name in same},
    )
