"""What mail servers refuse again and again, and is therefore not tried for a while.

Not here: when a breaker opens (`store.breakers`), or what a refusal means (`mail.replies`).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.breakers import (
    Breaker,
    note_attempts,
    provider_scope,
    read_breakers,
    step_scope,
)
from aicmo_dagster.store.ledger import Send
from aicmo_dagster.store.outcomes import Outcome


class Refusals:
    """The breakers of one campaign's mail, as of the last claim and of what came of it since.

    Args:
        campaign: The campaign's key.
        sender: The address it sends from.
    """

    def __init__(self, campaign: str, sender: str) -> None:
        self._campaign, self._sender = campaign, sender
        self._breakers: dict[str, Breaker] = {}

    def read(self, connection: sa.Connection) -> None:
        """They are as the database has them."""
        self._breakers = read_breakers(connection, self._sender)

    def closed(self, now: datetime) -> dict[str, datetime]:
        """What nothing is tried of at `now`, and until when."""
        return {
            scope: breaker.open_until
            for scope, breaker in self._breakers.items()
            if breaker.open_until is not None and breaker.is_open(now)
        }

    def keep_back(self, send: Send, now: datetime) -> bool:
        """Whether `send` is not tried at `now`."""
        if not self._breakers:
            return False
        return any(
            breaker.is_open(now)
            for scope in self._scopes(send)
            if (breaker := self._breakers.get(scope)) is not None
        )

    def note(self, connection: sa.Connection, outcomes: Iterable[Outcome], now: datetime) -> None:
        """They, and the database, know of `outcomes`."""
        attempts = list(self._attempts(outcomes))
        if attempts:
            note_attempts(connection, self._sender, self._breakers, attempts, now)

    def _attempts(self, outcomes: Iterable[Outcome]) -> Iterator[tuple[str, bool]]:
        for outcome in outcomes:
            if outcome.state == "accepted" and not self._breakers:
                continue
            if outcome.state in ("accepted", "deferred", "rejected"):
                provider, step = self._scopes(outcome.send)
                yield provider, outcome.fault == "sender"
                if outcome.fault in (None, "message"):
                    yield step, outcome.fault == "message"

    def _scopes(self, send: Send) -> tuple[str, str]:
        step = step_scope(self._campaign, send.campaign_version, send.sequence, send.step)
        return provider_scope(send.recipient_domain), step
