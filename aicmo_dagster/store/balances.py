"""Balances of the providers' accounts: what proves that a call of unknown outcome cost nothing.

A mark is a balance read while nothing was under way. If the balance later differs from its mark by
what our calls with a known outcome cost in between, and by no more, then the others cost nothing.
Whatever else uses the account makes it fall further, and so never proves anything wrongly.

Not here: reading a balance (`sources`), or the calls themselves (`provider_calls`).
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.provider_calls import LEASE, OPEN
from aicmo_dagster.store.tables import balance_marks, provider_calls

SETTLED = timedelta(minutes=10)
"""How long nothing must have been under way. No provider says how soon its balance tells of a
charge; a balance that is late would prove what is not so."""

_TOLERANCE = 1e-6
_CALLS = provider_calls.c
_MARKS = balance_marks.c


def heed_balance(
    connection: sa.Connection,
    provider: str,
    key_hash: str,
    *,
    balance: float,
    now: datetime,
    has_ended: Callable[[str], bool],
) -> int:
    """Calls that provably cost nothing are refused and may be made again; tells how many.

    Nothing happens while any campaign has a call under way. A call that was begun before the last
    mark, or under another key, stays in doubt.

    Args:
        connection: From `Database.write`.
        provider: Whose balance it is.
        key_hash: The keyed hash of the provider's key, never the key.
        balance: What the provider tells.
        now: The instant before it was asked.
        has_ended: `workers.has_ended`.
    """
    take_turn(connection, f"calls to {provider}")
    doubtful = _doubtful(connection, provider, now, has_ended)
    if doubtful is None:
        return 0
    mark = connection.execute(
        sa.select(balance_marks).where(_MARKS.provider == provider, _MARKS.key_hash == key_hash)
    ).one_or_none()
    _put_mark(connection, provider, key_hash, balance, now)
    if mark is None or not _explained(connection, provider, mark.balance - balance, mark.read_at):
        return 0
    released = [call.id for call in doubtful if call.started_at >= mark.read_at]
    values = {"state": "refused", "credits": 0.0, "finished_at": now}
    connection.execute(
        sa.update(provider_calls)
        .where(_CALLS.id.in_(released))
        .values(**values, detail="the balance shows that it cost nothing")
    )
    return len(released)


def _doubtful(
    connection: sa.Connection, provider: str, now: datetime, has_ended: Callable[[str], bool]
) -> Sequence[sa.Row] | None:
    """Open calls that can change the balance no more; None if some call still may."""
    lately = now - SETTLED
    moving = sa.select(sa.func.count()).where(
        _CALLS.provider == provider,
        sa.or_(_CALLS.started_at > lately, _CALLS.finished_at > lately, _CALLS.state == "pending"),
    )
    if connection.scalar(moving):
        return None
    query = sa.select(_CALLS.id, _CALLS.state, _CALLS.worker, _CALLS.started_at).where(
        _CALLS.provider == provider, _CALLS.state.in_(OPEN)
    )
    calls = connection.execute(query).all()
    running = [
        call
        for call in calls
        if call.state == "begun"
        and call.started_at >= now - LEASE
        and not (call.worker is None or has_ended(call.worker))
    ]
    return None if running else calls


def _explained(connection: sa.Connection, provider: str, fell: float, since: datetime) -> bool:
    """Whether calls of known cost since then account for all by which the balance fell."""
    query = sa.select(
        sa.func.coalesce(sa.func.sum(_CALLS.credits), 0.0),
        sa.func.count().filter(_CALLS.credits.is_(None)),
    ).where(
        _CALLS.provider == provider,
        _CALLS.started_at >= since,
        _CALLS.state.in_(("done", "refused")),
    )
    known, untold = connection.execute(query).one()
    return untold == 0 and abs(fell - known) < _TOLERANCE


def _put_mark(
    connection: sa.Connection, provider: str, key_hash: str, balance: float, now: datetime
) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = {"key_hash": key_hash, "balance": balance, "read_at": now}
    statement = dialect.insert(balance_marks).values(provider=provider, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[_MARKS.provider], set_=values)
    )
