"""Requests under an idempotency key: claimed before they are done, kept with their answer after.

Not here: HTTP (`api.once`).
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from aicmo_dagster.store.tables import api_requests
from aicmo_dagster.store.upserts import insert_once

LEASE = timedelta(minutes=2)
"""For this long a request that was begun is being done; after it, whoever did it has died."""

KEPT = timedelta(days=1)

_REQUESTS = api_requests.c


@dataclass(frozen=True)
class Asked:
    """A request: whose, what, under which key, and a digest of all else that makes it up."""

    token_id: str
    operation: str
    key: str
    digest: str


@dataclass(frozen=True)
class Answer:
    """What a request was answered."""

    status: int
    headers: dict[str, str]
    body: str


def claim(
    connection: sa.Connection, asked: Asked, now: datetime
) -> Answer | Literal["ours", "other", "under way"]:
    """The answer that the request had, or whether it is ours to do, another, or being done.

    Requests older than `KEPT` are forgotten.
    """
    connection.execute(api_requests.delete().where(_REQUESTS.claimed_at < now - KEPT))
    if insert_once(connection, api_requests, **vars(asked), claimed_at=now):
        return "ours"
    query = sa.select(api_requests).where(*_is(asked)).with_for_update()
    row = connection.execute(query).one()
    if row.digest != asked.digest:
        return "other"
    if row.status is not None:
        return Answer(row.status, json.loads(row.headers), row.body)
    if now - row.claimed_at < LEASE:
        return "under way"
    connection.execute(api_requests.update().where(*_is(asked)).values(claimed_at=now))
    return "ours"


def settle(connection: sa.Connection, asked: Asked, answer: Answer) -> None:
    """The request was answered so."""
    values = {"status": answer.status, "headers": json.dumps(answer.headers), "body": answer.body}
    connection.execute(api_requests.update().where(*_is(asked)).values(**values))


def release(connection: sa.Connection, asked: Asked) -> None:
    """The request failed and may be tried again."""
    connection.execute(api_requests.delete().where(*_is(asked)))


def _is(asked: Asked) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _REQUESTS.token_id == asked.token_id,
        _REQUESTS.operation == asked.operation,
        _REQUESTS.key == asked.key,
    )
