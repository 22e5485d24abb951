"""Events delivered to whoever asked for them: what is due is tried, the rest waits for its time.

Not here: who is told of what (`store.webhooks`), or the request (`handoff.webhooks`).
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from aicmo_dagster.domain.tokens import subscription_secret
from aicmo_dagster.handoff.delivery import Outcome, next_wait
from aicmo_dagster.handoff.webhooks import Webhook as Receiver
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import webhooks
from aicmo_dagster.store.webhooks import Delivery

BATCH = 20
MOST = 2_000
"""Attempts in one go; what is left is due the next time."""

LONGEST = timedelta(days=5)
"""How long is tried at all: what waits behind others is tried less often than it may be."""

LATER = timedelta(hours=1)
"""When others of the webhook are tried after one of them was given up."""

KEPT = timedelta(days=30)
"""How long a delivery is remembered once it has arrived."""

Clock = Callable[[], datetime]


def deliver_webhooks(workspace: Workspace, clock: Clock) -> dict[str, int]:
    """Every event that is due was tried once: delivered, due later, or dead; tells how many.

    At least once: after a crash between the other side's answer and our record of it, the same is
    delivered again under the same id. A webhook that fails has its other events wait with it.
    """
    go = _Go(workspace, clock)
    while go.states.total() < MOST and go.deliver_batch():
        pass
    with workspace.database.write() as connection:
        webhooks.forget_delivered(connection, clock() - KEPT)
    return dict(go.states)


class _Go:
    """One go over what is due."""

    def __init__(self, workspace: Workspace, clock: Clock) -> None:
        self._workspace = workspace
        self._clock = clock
        self._receivers: dict[str, Receiver] = {}
        self._failing: dict[str, datetime] = {}
        self.states: Counter[str] = Counter()

    def deliver_batch(self) -> bool:
        """Some of what is due was tried; tells whether there was any."""
        with self._workspace.database.write(durable=True) as connection:
            claimed = webhooks.claim_due(connection, self._clock(), BATCH, self._failing.keys())
            self._open(claimed, {hook.id: hook.url for hook in webhooks.list_webhooks(connection)})
        for delivery in claimed:
            if delivery.webhook in self._failing:
                self._put_off(delivery)
            else:
                self._deliver(delivery)
        return bool(claimed)

    def _open(self, claimed: list[Delivery], urls: dict[str, str]) -> None:
        settings = self._workspace.settings
        for name in {delivery.webhook for delivery in claimed} - self._receivers.keys():
            secret = subscription_secret(settings.secret_key(), name)
            private = settings.allow_private_urls
            receiver = Receiver(urls[name], secret, allow_private=private, clock=self._clock)
            self._receivers[name] = receiver

    def _put_off(self, delivery: Delivery) -> None:
        """It waits with the one that failed just now, unless that has been so for long."""
        gives_up = self._clock() - delivery.since > LONGEST
        with self._workspace.database.write() as connection:
            if gives_up:
                webhooks.record_failure(connection, delivery.key, "the receiver fails", None)
            else:
                webhooks.put_off(connection, [delivery.key], self._failing[delivery.webhook])
        self.states["dead" if gives_up else "due_later"] += 1

    def _deliver(self, delivery: Delivery) -> None:
        outcome = self._receivers[delivery.webhook].deliver(delivery.key, delivery.document)
        now = self._clock()
        with self._workspace.database.write(durable=True) as connection:
            if outcome.state == "delivered":
                webhooks.record_delivery(connection, delivery.key, now)
                self.states["delivered"] += 1
                return
            again_at = self._again_at(delivery, outcome, now)
            webhooks.record_failure(connection, delivery.key, outcome.reason, again_at)
            if outcome.state == "refused":
                webhooks.disable(connection, delivery.webhook, outcome.reason, now)
        self._failing[delivery.webhook] = again_at or now + LATER
        self.states["due_later" if again_at else "dead"] += 1

    def _again_at(self, delivery: Delivery, outcome: Outcome, now: datetime) -> datetime | None:
        wait = next_wait(delivery.key, delivery.attempts, outcome.wait)
        in_time = now - delivery.since <= LONGEST
        return now + wait if wait and in_time and outcome.state == "failed" else None
