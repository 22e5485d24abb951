"""Addresses and domains that get no mail, and people who are to stay away, by keyed hash alone.

Not here: making the hashes (`domain.tokens`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from aicmo_dagster.store.database import insert_once
from aicmo_dagster.store.tables import suppressions

_CHUNK = 10_000  # SQLite may take no more than 32,766 values in a statement


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


def any_suppressed(connection: sa.Connection) -> bool:
    """Whether there is any suppression, so that hashing many addresses is worth it."""
    return connection.execute(sa.select(suppressions.c.key).limit(1)).first() is not None


def suppressed(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    """Those of `keys` that get no mail."""
    return set(suppressed_since(connection, keys))


def suppressed_since(connection: sa.Connection, keys: Sequence[str]) -> dict[str, datetime]:
    """Those of `keys` that get no mail, and since when."""
    found: dict[str, datetime] = {}
    for start in range(0, len(keys), _CHUNK):
        statement = sa.select(suppressions.c.key, suppressions.c.since).where(
            suppressions.c.key.in_(keys[start : start + _CHUNK])
        )
        found |= {row.key: row.since for row in connection.execute(statement)}
    return found
