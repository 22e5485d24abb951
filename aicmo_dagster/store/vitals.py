"""How the installation fares, in few small queries. Not here: judging it (`operating.health`)."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.index_conditions import written_out
from aicmo_dagster.store.provider_calls import OPEN
from aicmo_dagster.store.tables import (
    balance_marks,
    breakers,
    handoffs,
    nurture_sends,
    provider_calls,
    rate_windows,
    webhook_deliveries,
)

_CALLS = provider_calls.c


@dataclass(frozen=True)
class ProviderVitals:
    """How a provider stands.

    Args:
        answered_at: When it last answered a call that costs.
        open_calls: Calls whose outcome is not known yet.
        closed_until: It takes no requests until then.
        balance: Credits left, as it last said.
    """

    answered_at: datetime | None
    open_calls: int
    closed_until: datetime | None
    balance: float | None


def provider_vitals(connection: sa.Connection, provider: str, now: datetime) -> ProviderVitals:
    """How `provider` stands at `now`."""
    theirs = _CALLS.provider == provider
    answered_at = connection.scalar(sa.select(sa.func.max(_CALLS.finished_at)).where(theirs))
    open_calls = connection.scalar(
        sa.select(sa.func.count()).where(theirs, written_out(_CALLS.state, OPEN))
    )
    closed = sa.select(sa.func.max(rate_windows.c.closed_until)).where(
        # Windows are of an endpoint where each has its own: "provider endpoint".
        rate_windows.c.provider.startswith(provider, autoescape=True),
        rate_windows.c.closed_until > now,
    )
    balance = sa.select(balance_marks.c.balance).where(balance_marks.c.provider == provider)
    return ProviderVitals(
        answered_at, open_calls or 0, connection.scalar(closed), connection.scalar(balance)
    )


def open_breakers(connection: sa.Connection, now: datetime) -> int:
    """How many breakers hold mail back at `now`."""
    held = sa.select(sa.func.count()).where(breakers.c.open_until > now)
    return connection.scalar(held) or 0


def dead_letters(connection: sa.Connection) -> dict[str, int]:
    """Handoffs and events to webhooks that were given up."""
    counts = {}
    for name, table in (("handoffs", handoffs), ("webhooks", webhook_deliveries)):
        is_dead = written_out(table.c.state, ["dead"])
        dead = sa.select(sa.func.count()).select_from(table).where(is_dead)
        counts[name] = connection.scalar(dead) or 0
    return counts


def unknown_sends(connection: sa.Connection) -> int:
    """Messages whose fate nobody knows."""
    open_states = written_out(nurture_sends.c.state, ("claimed", "attempting", "unknown"))
    unknown = sa.select(sa.func.count()).where(open_states, nurture_sends.c.state == "unknown")
    return connection.scalar(unknown) or 0
