"""Circuit breakers: when mail of a sender to a provider, or of a step, is refused again and again.

A refusal that is our fault says nothing of the lead, and the next lead would be refused too: after
a few in a row nothing more is tried for a while, longer each time. Kept in the database, since the
next run is another process. Not here: what a refusal means (`mail.replies`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from aicmo_dagster.domain.mailboxes import mailbox_provider
from aicmo_dagster.store.tables import breakers
from aicmo_dagster.store.upserts import put_row

IN_A_ROW = {"provider": 5, "step": 3}
"""Refusals in a row that open a breaker: of a provider for a sender, and of a step's message."""

FIRST_PAUSE = timedelta(minutes=15)
LONGEST_PAUSE = timedelta(days=1)


@dataclass(frozen=True)
class Breaker:
    """How often in a row something was refused, and until when it is not tried again."""

    failures: int = 0
    open_until: datetime | None = None

    def is_open(self, now: datetime) -> bool:
        """Whether nothing is tried at `now`."""
        return self.open_until is not None and self.open_until > now

    def after(self, refused: bool, most: int, now: datetime) -> "Breaker":
        """The breaker after one attempt more; a success closes it."""
        if not refused:
            return Breaker()
        failures = self.failures + 1
        if failures < most or self.is_open(now):
            return replace(self, failures=failures)
        pause = min(FIRST_PAUSE * 2 ** min(failures - most, 10), LONGEST_PAUSE)
        return Breaker(failures, now + pause)


def provider_scope(domain: str) -> str:
    """What is refused when the provider of `domain` does not welcome the sender."""
    return f"provider {mailbox_provider(domain)}"


def step_scope(campaign: str, version: int, sequence: str, step: str) -> str:
    """What is refused when nobody takes the message of a step."""
    return f"step {campaign}/{version}/{sequence}/{step}"


def read_breakers(connection: sa.Connection, sender: str) -> dict[str, Breaker]:
    """What was refused to `sender` last, by scope."""
    rows = connection.execute(_OF_SENDER, {"sender": sender})
    return {row.scope: Breaker(row.failures, row.open_until) for row in rows}


_OF_SENDER = sa.select(breakers.c.scope, breakers.c.failures, breakers.c.open_until).where(
    breakers.c.sender == sa.bindparam("sender")
)


def tripped(connection: sa.Connection, now: datetime) -> list[tuple[str, str, datetime]]:
    """(sender, scope, until when) of each breaker that opened and that no success has closed.

    One that nobody has tried for a day after its pause is of the past.
    """
    query = sa.select(breakers).order_by(breakers.c.sender, breakers.c.scope)
    rows = connection.execute(query.where(breakers.c.open_until > now - LONGEST_PAUSE))
    return [(row.sender, row.scope, row.open_until) for row in rows]


def note_attempts(
    connection: sa.Connection,
    sender: str,
    known: dict[str, Breaker],
    attempts: Iterable[tuple[str, bool]],
    now: datetime,
) -> None:
    """`known` and the database hold the breakers after `attempts`: (scope, whether refused)."""
    before = dict(known)
    for scope, refused in attempts:
        if refused or scope in known:
            most = IN_A_ROW[scope.partition(" ")[0]]
            known[scope] = known.get(scope, Breaker()).after(refused, most, now)
    for scope, breaker in known.items():
        if before.get(scope) != breaker:
            put_row(connection, breakers, sender=sender, scope=scope, **vars(breaker))
