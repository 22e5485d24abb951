"""A book for transports that are tested without a ledger. Not here: the ledger's own (`stages`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aicmo_dagster.mail.parcels import Parcel
from aicmo_dagster.mail.replies import Delivery


@dataclass
class Notebook:
    """Allows every message but the forbidden ones, and keeps what it was told, in order."""

    forbidden: set[str] = field(default_factory=set)
    attempts: list[str] = field(default_factory=list)
    outcomes: list[tuple[str, Delivery]] = field(default_factory=list)
    transactions: int = 0

    def write(
        self, outcomes: Sequence[tuple[Parcel, Delivery]], attempts: Sequence[Parcel]
    ) -> set[str]:
        """Everything is noted; tells what is allowed."""
        self.transactions += 1
        self.outcomes += [(parcel.message_id, delivery) for parcel, delivery in outcomes]
        allowed = [p.message_id for p in attempts if p.message_id not in self.forbidden]
        self.attempts += allowed
        return set(allowed)

    def states(self) -> dict[str, str]:
        """What came of each message."""
        return {message_id: delivery.state for message_id, delivery in self.outcomes}
