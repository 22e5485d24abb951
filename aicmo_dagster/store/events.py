"""What recipients did, as it was told: appended, each known by its key, never judged here.

Not here: human or machine (`domain.nurture.engagement`), or waiting on disk (`spool`).
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.tables import events

CLICK, OPEN, LOOK = "click", "open", "unsubscribe_view"
JUDGED = (CLICK, OPEN, LOOK)
"""Kinds that a machine may have done as well."""

_NAMES = ("campaign", "lead_id", "kind", "step", "happened_at", "key", "detail")
_CLIENT = ("link", "method", "agent", "client")
_EVENTS = events.c


def event_of(record: dict[str, Any]) -> dict[str, Any]:
    """A spooled record as a row of the table."""
    row = {name: record.get(name) for name in (*_NAMES, *_CLIENT)}
    happened_at = datetime.fromisoformat(record["happened_at"])
    return row | {"happened_at": happened_at, "detail": json.dumps(record.get("detail") or {})}


def add_events(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Each of `rows` is an event; one whose key is known already stays as it is."""
    if rows:
        complete = [dict.fromkeys((*_NAMES, *_CLIENT)) | row for row in rows]
        connection.execute(_unless_known(connection), complete)


def add_event(
    connection: sa.Connection,
    campaign: str,
    lead_id: str,
    kind: str,
    key: str,
    happened_at: datetime,
    *,
    step: str | None = None,
    detail: dict[str, Any] | None = None,
) -> bool:
    """One event that no client is known of; tells whether it is new."""
    row = {
        "campaign": campaign,
        "lead_id": lead_id,
        "kind": kind,
        "step": step,
        "happened_at": happened_at,
        "key": key,
        "detail": json.dumps(detail or {}, sort_keys=True),
    }
    return connection.execute(_unless_known(connection).values(**row)).rowcount == 1


def events_of_kind(connection: sa.Connection, campaign: str, kinds: Iterable[str]) -> pd.DataFrame:
    """Events of these kinds: id, lead_id, kind, step, happened_at, detail."""
    names = ("id", "lead_id", "kind", "step", "happened_at", "detail")
    statement = (
        sa.select(*(_EVENTS[name] for name in names))
        .where(_EVENTS.campaign == campaign, _EVENTS.kind.in_(list(kinds)))
        .order_by(_EVENTS.id)
    )
    return fetch_frame(connection, statement)


def events_of_lead(connection: sa.Connection, campaign: str, lead_id: str) -> list[dict[str, Any]]:
    """Everything the lead did, oldest first, `detail` as a mapping."""
    query = (
        sa.select(events)
        .where(_EVENTS.campaign == campaign, _EVENTS.lead_id == lead_id)
        .order_by(_EVENTS.happened_at, _EVENTS.id)
    )
    rows = connection.execute(query).mappings()
    return [{**row, "detail": json.loads(row["detail"])} for row in rows]


def instants_of(
    connection: sa.Connection, campaign: str, lead_id: str, kind: str
) -> list[datetime]:
    """When the lead's events of this kind happened, the first first."""
    query = sa.select(_EVENTS.happened_at).where(
        _EVENTS.campaign == campaign, _EVENTS.lead_id == lead_id, _EVENTS.kind == kind
    )
    return list(connection.scalars(query.order_by(_EVENTS.happened_at)))


def newest_event(connection: sa.Connection) -> int:
    """The number of the latest event, which grows with each; 0 before the first."""
    return connection.scalar(sa.select(sa.func.max(_EVENTS.id))) or 0


def whole_clients(
    connection: sa.Connection, before: datetime, limit: int
) -> list[tuple[int, str, str]]:
    """Up to `limit` events older than `before` with a whole address: (id, lead_id, client)."""
    query = (
        sa.select(_EVENTS.id, _EVENTS.lead_id, _EVENTS.client)
        .where(_EVENTS.client.is_not(None), _EVENTS.happened_at < before)
        .limit(limit)
    )
    return [tuple(row) for row in connection.execute(query)]


def cut_clients(connection: sa.Connection, networks: dict[int, str | None]) -> None:
    """Each event keeps of its client what `networks` says, by id, and not the address."""
    if not networks:
        return
    statement = (
        sa.update(events)
        .where(_EVENTS.id == sa.bindparam("at_id"))
        .values(client=None, client_network=sa.bindparam("network"))
    )
    connection.execute(statement, [{"at_id": i, "network": n} for i, n in networks.items()])


def _unless_known(connection: sa.Connection) -> postgresql.Insert | sqlite.Insert:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(events).on_conflict_do_nothing(index_elements=[_EVENTS.key])
