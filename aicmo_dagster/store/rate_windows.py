"""How often a provider may be asked: its windows, shared by all workers that use one key.

A window is counted as sliding, whatever the provider does: no span of its length sees more requests
than its limit, so that none of the provider's own windows can, wherever they begin.

Not here: reading the provider's headers (`sources`), or waiting.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.tables import rate_windows
from aicmo_dagster.store.upserts import insert_once

_PARTS = 60
"""Requests are counted in this many parts of a window, each as if it were as late as its end."""

_UNDERWAY = timedelta(seconds=2)
"""By how much one request may take longer to arrive than another; 1/30 of a shorter window."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = rate_windows.c
_KEY = ("provider", "key_hash", "window")

# Built once: there is a take for every request, and building costs more than executing.
_OF_KEY = sa.select(rate_windows).where(
    _COLUMNS.provider == sa.bindparam("of_provider"),
    _COLUMNS.key_hash == sa.bindparam("of_key"),
)


@dataclass(frozen=True, kw_only=True)
class Window:
    """What a provider says of one of its windows.

    Args:
        limit: Requests that it allows; None if it does not limit them.
        length: How long it lasts.
        left: Requests that it has left, over all users of the key; None if it does not say.
        resets_at: When all are allowed again; None if it does not say.
    """

    limit: int | None
    length: timedelta
    left: int | None = None
    resets_at: datetime | None = None


def await_turn(connection: sa.Connection, provider: str, key_hash: str) -> None:
    """Nobody else's transaction changes these windows before the end of this one.

    Two workers must not both see the last request that is left. A transaction that writes other
    rows as well calls this first, or it could wait for one that waits for it.
    """
    take_turn(connection, f"windows of {provider} {key_hash}")


def assume(
    connection: sa.Connection, provider: str, key_hash: str, windows: Mapping[str, Window]
) -> None:
    """Windows that nobody has heard of have the limits of `windows`, until the provider says more.

    A window that is neither assumed nor learned holds nobody back. Arguments are as for `learn`.
    """
    for name in sorted(windows):
        _add(connection, provider, key_hash, name, windows[name])


def learn(
    connection: sa.Connection,
    provider: str,
    key_hash: str,
    windows: Mapping[str, Window],
    now: datetime,
) -> None:
    """What the provider said just now is heeded by all workers.

    Requests that others made with the key count too, as far as `left` tells of them.

    Args:
        connection: From `Database.write`.
        provider: With its endpoint, where each endpoint has windows of its own.
        key_hash: The keyed hash of the provider's key, never the key.
        windows: By name; of others, what is known stays.
        now: When.
    """
    await_turn(connection, provider, key_hash)
    rows = {row.window: row for row in _rows(connection, provider, key_hash)}
    if not rows.keys() >= windows.keys():
        assume(connection, provider, key_hash, windows)
        rows = {row.window: row for row in _rows(connection, provider, key_hash)}
    told = {name: _told(rows[name], windows[name], now) for name in windows}
    for name, values in told.items():
        if any(rows[name]._mapping[column] != value for column, value in values.items()):
            _store(connection, [(rows[name], values)])


def park(
    connection: sa.Connection, provider: str, key_hash: str, window: str, until: datetime
) -> None:
    """Nobody asks before `until`, as the provider demanded, whatever its windows are."""
    await_turn(connection, provider, key_hash)
    _add(connection, provider, key_hash, window, Window(limit=None, length=timedelta(0)))
    for row in _rows(connection, provider, key_hash):
        if row.window == window:
            _store(connection, [(row, {"closed_until": max(row.closed_until or until, until)})])


def take(
    connection: sa.Connection, provider: str, key_hash: str, *, cost: int = 1, now: datetime
) -> datetime | None:
    """None if the request may leave, and it is counted; else when to try again, and it is not.

    Use a transaction of its own, committed before the request leaves.

    Args:
        connection: From `Database.write`.
        provider: With its endpoint, as for `learn`.
        key_hash: As for `learn`.
        cost: How many requests the provider counts it as.
        now: When.
    """
    await_turn(connection, provider, key_hash)
    rows = _rows(connection, provider, key_hash)
    opens = max((_opens(row, cost, now) for row in rows), default=now)
    if opens > now:
        return opens
    limited = [row for row in rows if row.limit is not None]
    _store(connection, [(row, {"taken": _with_take(row, cost, now)}) for row in limited])
    return None


def give_back(
    connection: sa.Connection, provider: str, key_hash: str, *, count: int, now: datetime
) -> None:
    """So many requests that were counted have never left; other arguments are as for `take`.

    Those that would stop counting first are taken to be they, so that never too few count.
    """
    await_turn(connection, provider, key_hash)
    rows = [row for row in _rows(connection, provider, key_hash) if row.limit is not None]
    _store(connection, [(row, {"taken": _without(row, count, now)}) for row in rows])


def _add(
    connection: sa.Connection, provider: str, key_hash: str, name: str, window: Window
) -> None:
    insert_once(
        connection,
        rate_windows,
        provider=provider,
        key_hash=key_hash,
        window=name,
        limit=window.limit,
        seconds=window.length.total_seconds(),
        taken="[]",
        elsewhere=0,
    )


def _rows(connection: sa.Connection, provider: str, key_hash: str) -> Sequence[sa.Row]:
    return connection.execute(_OF_KEY, {"of_provider": provider, "of_key": key_hash}).all()


def _store(connection: sa.Connection, changes: Sequence[tuple[sa.Row, dict[str, Any]]]) -> None:
    """Applies to each row its change; all set the same columns."""
    if not changes:
        return
    places = [{f"at_{name}": row._mapping[name] for name in _KEY} | new for row, new in changes]
    connection.execute(_storing(tuple(changes[0][1])), places)


@cache
def _storing(columns: tuple[str, ...]) -> sa.Update:
    values: dict[str, Any] = {name: sa.bindparam(name) for name in columns}
    places = (_COLUMNS[name] == sa.bindparam(f"at_{name}") for name in _KEY)
    return sa.update(rate_windows).where(*places).values(values)


def _told(row: sa.Row, window: Window, now: datetime) -> dict[str, Any]:
    """The change to a window that the provider said this of."""
    values: dict[str, Any] = {"limit": window.limit, "seconds": window.length.total_seconds()}
    if window.limit is None or window.left is None:
        return values
    own = sum(count for _, count in _own(row, now))
    elsewhere = max(0, window.limit - window.left - own)
    until = window.resets_at or now + window.length
    values |= {"elsewhere": elsewhere, "elsewhere_until": until if elsewhere else None}
    if window.left <= 0 and window.resets_at is not None:
        values["closed_until"] = max(row.closed_until or window.resets_at, window.resets_at)
    return values


def _opens(row: sa.Row, cost: int, now: datetime) -> datetime:
    """The first instant, from `now` on, at which the window has room for `cost` more."""
    opens = max(now, row.closed_until or now)
    if row.limit is None:
        return opens
    elsewhere = [(row.elsewhere_until, row.elsewhere)] if row.elsewhere else []
    counted = sorted([*_own(row, now), *elsewhere])
    excess = sum(count for _, count in counted) + cost - row.limit
    for until, count in counted:
        if excess <= 0:
            break
        excess -= count
        opens = max(opens, until)
    # A limit below the cost may yet be raised.
    return opens if excess <= 0 else max(opens, now + timedelta(seconds=row.seconds))


def _own(row: sa.Row, now: datetime) -> Iterator[tuple[datetime, int]]:
    """(until when they count, how many) of the requests that we made."""
    for microseconds, count in json.loads(row.taken):
        until = _EPOCH + timedelta(microseconds=microseconds)
        if until > now:
            yield until, count


def _with_take(row: sa.Row, cost: int, now: datetime) -> str:
    length = timedelta(seconds=row.seconds)
    part = length / _PARTS
    end_of_part = _EPOCH + ((now - _EPOCH) // part + 1) * part
    counted = dict(_own(row, now))
    until = end_of_part + length + min(_UNDERWAY, length / 30)
    counted[until] = counted.get(until, 0) + cost
    return _written(counted)


def _without(row: sa.Row, count: int, now: datetime) -> str:
    counted = {}
    for until, taken in sorted(_own(row, now)):
        counted[until] = max(0, taken - count)
        count = max(0, count - taken)
    return _written({until: taken for until, taken in counted.items() if taken})


def _written(counted: Mapping[datetime, int]) -> str:
    microsecond = timedelta(microseconds=1)  # as a number, which is faster than text
    return json.dumps([[(until - _EPOCH) // microsecond, n] for until, n in counted.items()])
