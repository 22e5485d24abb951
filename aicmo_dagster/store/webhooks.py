"""Who is told of which events, and what they are told: an outbox filled in the event's transaction.

due → delivered, or dead when every attempt failed; a dead one may be made due again. Events carry
ids and nothing personal. Not here: delivering (`operating.webhooks`, `handoff`).
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.store.tables import webhook_deliveries, webhooks

Event = Literal[
    "run.finished", "run.failed", "lead.qualified", "lead.handed_off", "lead.unsubscribed"
]
EVENTS: tuple[str, ...] = get_args(Event)

ACTIVE, DISABLED = "active", "disabled"
DUE, DELIVERED, DEAD = "due", "delivered", "dead"
LEASE = timedelta(minutes=10)
"""For this long an attempt is its worker's; after it, another may try."""

_HOOKS = webhooks.c
_DELIVERIES = webhook_deliveries.c
_CHUNK = 2_000


@dataclass(frozen=True)
class Webhook:
    """Who is told.

    Args:
        id: Its id.
        url: Where events are posted to.
        events: Which events.
        campaigns: Of which campaigns; None for all of them.
        state: `active`, or `disabled`: nothing is added or delivered.
        reason: Why it is disabled, if AICMO did it.
        created_by: Who added it.
    """

    id: str
    url: str
    events: tuple[str, ...]
    campaigns: tuple[str, ...] | None
    state: str
    reason: str
    created_by: str
    created_at: datetime
    updated_at: datetime

    def wants(self, event: str, campaigns: Collection[str]) -> bool:
        """Whether it is told of `event` in any of `campaigns`."""
        if event not in self.events:
            return False
        return self.campaigns is None or not set(self.campaigns).isdisjoint(campaigns)


@dataclass(frozen=True)
class Occurrence:
    """One thing that happened.

    Args:
        name: What makes it this one and no other, so that it is told once.
        data: Ids and states, nothing personal.
        campaigns: Where it happened.
        lead_id: To whom, if to one lead; then there is one campaign.
    """

    name: str
    data: dict[str, Any]
    campaigns: tuple[str, ...]
    lead_id: str | None = None


@dataclass(frozen=True)
class Delivery:
    """What a worker is to deliver now; `since` is from when it was due first."""

    key: str
    webhook: str
    document: dict[str, Any]
    attempts: int
    since: datetime


def any_wants(connection: sa.Connection, event: Event, campaign: str | None = None) -> bool:
    """Whether anybody is told of `event`, in `campaign` if one is named."""
    return any(
        event in hook.events if campaign is None else hook.wants(event, [campaign])
        for hook in list_webhooks(connection, ACTIVE)
    )


def announce(
    connection: sa.Connection, event: Event, occurrences: Iterable[Occurrence], now: datetime
) -> int:
    """Whoever wants to know is told, in the caller's transaction; tells how many are new."""
    hooks = [hook for hook in list_webhooks(connection, ACTIVE) if event in hook.events]
    if not hooks:
        return 0
    rows = [
        _row(hook, event, each, now)
        for each in occurrences
        for hook in hooks
        if hook.wants(event, each.campaigns)
    ]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    added = 0
    for start in range(0, len(rows), _CHUNK):
        statement = dialect.insert(webhook_deliveries).on_conflict_do_nothing(
            index_elements=[_DELIVERIES.key]
        )
        added += connection.execute(statement, rows[start : start + _CHUNK]).rowcount
    return added


def list_webhooks(connection: sa.Connection, state: str | None = None) -> list[Webhook]:
    """All webhooks, or those in `state`, the oldest first."""
    query = sa.select(webhooks).order_by(_HOOKS.created_at, _HOOKS.id)
    rows = connection.execute(query if state is None else query.where(_HOOKS.state == state))
    return [_webhook(row) for row in rows]


def find_webhook(connection: sa.Connection, webhook_id: str) -> Webhook | None:
    """The webhook, if there is one of that id."""
    query = sa.select(webhooks).where(_HOOKS.id == webhook_id)
    row = connection.execute(query).one_or_none()
    return _webhook(row) if row else None


def add_webhook(connection: sa.Connection, webhook: Webhook) -> None:
    """`webhook` is told of its events from now on."""
    connection.execute(sa.insert(webhooks).values(_stored(webhook)))


def change_webhook(connection: sa.Connection, webhook: Webhook) -> None:
    """The webhook of that id is as `webhook` says."""
    connection.execute(sa.update(webhooks).where(_HOOKS.id == webhook.id).values(_stored(webhook)))


def remove_webhook(connection: sa.Connection, webhook_id: str) -> None:
    """Nobody is told there any more, and what was is forgotten."""
    connection.execute(sa.delete(webhook_deliveries).where(_DELIVERIES.webhook == webhook_id))
    connection.execute(sa.delete(webhooks).where(_HOOKS.id == webhook_id))


def disable(connection: sa.Connection, webhook_id: str, reason: str, now: datetime) -> None:
    """Nothing is delivered there until somebody makes it active again."""
    values = {"state": DISABLED, "reason": reason, "updated_at": now}
    connection.execute(sa.update(webhooks).where(_HOOKS.id == webhook_id).values(values))


def any_due(connection: sa.Connection, now: datetime) -> bool:
    """Whether `claim_due` would find any."""
    return connection.execute(_due(now, ()).limit(1)).first() is not None


def claim_due(
    connection: sa.Connection, now: datetime, limit: int, failing: Collection[str]
) -> list[Delivery]:
    """Up to `limit` deliveries that are due are the caller's for a lease.

    Args:
        connection: A transaction.
        now: The instant.
        limit: How many.
        failing: Webhooks to leave alone this time.
    """
    query = _due(now, failing).order_by(_DELIVERIES.next_attempt_at).limit(limit)
    rows = connection.execute(query.with_for_update(skip_locked=True, of=webhook_deliveries)).all()
    keys = [row.key for row in rows]
    _change(connection, keys, attempts=_DELIVERIES.attempts + 1, next_attempt_at=now + LEASE)
    return [
        Delivery(row.key, row.webhook, json.loads(row.document), row.attempts + 1, row.created_at)
        for row in rows
    ]


def record_delivery(connection: sa.Connection, key: str, now: datetime) -> None:
    """The other side has it."""
    _change(connection, [key], state=DELIVERED, delivered_at=now, next_attempt_at=None, error=None)


def record_failure(
    connection: sa.Connection, key: str, error: str, again_at: datetime | None
) -> None:
    """The attempt failed; the next one is at `again_at`, or there is none and it is dead."""
    state = DUE if again_at else DEAD
    _change(connection, [key], state=state, next_attempt_at=again_at, error=error)


def put_off(connection: sa.Connection, keys: Sequence[str], until: datetime) -> None:
    """What was claimed and not tried is due at `until`, and no attempt is counted."""
    _change(connection, keys, attempts=_DELIVERIES.attempts - 1, next_attempt_at=until)


def resend(connection: sa.Connection, webhook_id: str, key: str, now: datetime) -> bool:
    """The delivery is due anew, under the same key, with all attempts; whether there is one."""
    theirs = (_DELIVERIES.webhook == webhook_id, _DELIVERIES.key == key)
    values = {"state": DUE, "created_at": now, "next_attempt_at": now, "attempts": 0, "error": None}
    statement = sa.update(webhook_deliveries).where(*theirs).values(values)
    return connection.execute(statement).rowcount > 0


def list_deliveries(
    connection: sa.Connection, webhook_id: str, state: str | None, after: str, limit: int
) -> list[dict[str, Any]]:
    """Up to `limit` deliveries to the webhook, by key, those after `after`; without documents."""
    query = (
        sa.select(*(column for column in _DELIVERIES if column.name != "document"))
        .where(_DELIVERIES.webhook == webhook_id, _DELIVERIES.key > after)
        .order_by(_DELIVERIES.key)
        .limit(limit)
    )
    if state is not None:
        query = query.where(_DELIVERIES.state == state)
    return [dict(row) for row in connection.execute(query).mappings()]


def forget_delivered(connection: sa.Connection, before: datetime) -> int:
    """What was delivered before an instant is gone; tells how many."""
    old = (_DELIVERIES.state == DELIVERED, _DELIVERIES.delivered_at < before)
    return connection.execute(sa.delete(webhook_deliveries).where(*old)).rowcount


def _due(now: datetime, failing: Collection[str]) -> sa.Select:
    return (
        sa.select(webhook_deliveries)
        .join(webhooks, _HOOKS.id == _DELIVERIES.webhook)
        .where(
            _DELIVERIES.state == DUE,
            _DELIVERIES.next_attempt_at <= now,
            _HOOKS.state == ACTIVE,
            _DELIVERIES.webhook.not_in(failing),
        )
    )


def _row(hook: Webhook, event: str, each: Occurrence, now: datetime) -> dict[str, Any]:
    named = "\x1f".join((hook.id, event, each.name)).encode()
    data = each.data
    if hook.campaigns is not None and "campaigns" in data:  # the others are none of its business
        data = data | {"campaigns": [c for c in data["campaigns"] if c in hook.campaigns]}
    document = {"type": event, "timestamp": now.isoformat(), "data": data}
    return {
        "key": f"msg_{hashlib.sha256(named).hexdigest()[:32]}",
        "webhook": hook.id,
        "event": event,
        "campaign": each.campaigns[0] if len(each.campaigns) == 1 else None,
        "lead_id": each.lead_id,
        "document": json.dumps(document),
        "state": DUE,
        "attempts": 0,
        "created_at": now,
        "next_attempt_at": now,
    }


def _change(connection: sa.Connection, keys: Sequence[str], **values: Any) -> None:
    statement = sa.update(webhook_deliveries).where(_DELIVERIES.key.in_(keys))
    connection.execute(statement.values(**values))


def _webhook(row: sa.Row) -> Webhook:
    values = dict(row._mapping)
    values["events"] = tuple(json.loads(row.events))
    values["campaigns"] = None if row.campaigns is None else tuple(json.loads(row.campaigns))
    return Webhook(**values)


def _stored(webhook: Webhook) -> dict[str, Any]:
    listed = None if webhook.campaigns is None else json.dumps(webhook.campaigns)
    return vars(webhook) | {"events": json.dumps(webhook.events), "campaigns": listed}
