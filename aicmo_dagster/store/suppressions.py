"""Addresses and domains that get no mail, and people who are to stay away, by keyed hash alone.

Not here: making the hashes (`domain.tokens`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError, NotFound
from aicmo_dagster.store.tables import suppressions
from aicmo_dagster.store.upserts import insert_once

ERASED = "erased"
"""The reason of those whose person was erased."""

_CHUNK = 10_000  # SQLite may take no more than 32,766 values in a statement


@dataclass(frozen=True)
class Suppression:
    """An address or a domain that gets no mail, by its keyed hash."""

    kind: str
    key: str
    reason: str
    decided_by: str
    since: datetime


def suppress(
    connection: sa.Connection,
    kind: Literal["address", "domain", "person"],
    key: str,
    reason: str,
    decided_by: str,
    now: datetime,
) -> bool:
    """`key` gets no mail; tells whether that is new. The first record is kept.

    `key` is from `tokens.address_key`, `domain_key` or, of people that were erased, `identity_key`:
    never the address itself.
    """
    return insert_once(
        connection,
        suppressions,
        kind=kind,
        key=key,
        reason=reason,
        decided_by=decided_by,
        since=now,
    )


def list_suppressions(
    connection: sa.Connection, limit: int, after: tuple[str, str] | None = None
) -> list[Suppression]:
    """Up to `limit` suppressions by kind and key, those after the kind and key of `after`."""
    columns = suppressions.c
    query = sa.select(suppressions).order_by(columns.kind, columns.key).limit(limit)
    if after is not None:
        kind, key = after
        later = (columns.kind == kind) & (columns.key > key)
        query = query.where((columns.kind > kind) | later)
    return [Suppression(**row) for row in connection.execute(query).mappings()]


def withdraw_suppression(connection: sa.Connection, kind: str, key: str) -> Suppression:
    """`key` may get mail again; tells what was withdrawn.

    Raises:
        NotFound: If it is not suppressed.
        AicmoError: If its person was erased: they stay away for good.
    """
    named = (suppressions.c.kind == kind, suppressions.c.key == key)
    row = connection.execute(sa.select(suppressions).where(*named)).mappings().one_or_none()
    if row is None:
        raise NotFound("there is no such suppression")
    if row["reason"] == ERASED:
        raise AicmoError("whoever asked to be erased stays suppressed")
    connection.execute(suppressions.delete().where(*named))
    return Suppression(**row)


def any_suppressed(connection: sa.Connection) -> bool:
    """Whether there is any suppression, so that hashing many addresses is worth it."""
    return connection.execute(_ANY).first() is not None


_ANY = sa.select(suppressions.c.key).limit(1)


def suppressed(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    """Those of `keys` that get no mail."""
    return set(suppressed_since(connection, keys))


def suppressed_since(connection: sa.Connection, keys: Sequence[str]) -> dict[str, datetime]:
    """Those of `keys` that get no mail, and since when."""
    found: dict[str, datetime] = {}
    if len(keys) > _CHUNK:
        count = connection.scalar(sa.select(sa.func.count()).select_from(suppressions))
        if (count or 0) < len(keys):  # quicker to read them all than to ask for so many
            wanted = set(keys)
            everyone = connection.execute(sa.select(suppressions.c.key, suppressions.c.since))
            return {row.key: row.since for row in everyone if row.key in wanted}
    for start in range(0, len(keys), _CHUNK):
        statement = sa.select(suppressions.c.key, suppressions.c.since).where(
            suppressions.c.key.in_(keys[start : start + _CHUNK])
        )
        found |= {row.key: row.since for row in connection.execute(statement)}
    return found
