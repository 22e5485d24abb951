"""What the stand-in was asked, and what it charged for it: the proof that nothing is paid twice."""

import threading
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One call as the provider has it in its books.

    Args:
        provider: ``apollo`` or ``dropcontact``.
        key: Whose account.
        method: Of the request.
        path: Of the request, without the query.
        status: What was answered, even if the answer never arrived.
        charged: Credits taken.
        refunded: Credits given back.
        people: The ids of those who were charged for.
        at: The stand-in's clock.
    """

    provider: str
    key: str
    method: str
    path: str
    status: int
    charged: float = 0
    refunded: float = 0
    people: tuple[str, ...] = ()
    at: float = 0


@dataclass
class Ledger:
    """The books, for all accounts; threads may write to it."""

    entries: list[Entry] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, entry: Entry) -> None:
        with self._lock:
            self.entries.append(entry)

    def calls(self, path: str = "") -> list[Entry]:
        """The calls whose path holds `path`."""
        return [entry for entry in self.entries if path in entry.path]

    def spent(self, provider: str = "") -> float:
        """Credits taken and not given back."""
        booked = [entry for entry in self.entries if provider in ("", entry.provider)]
        return sum(entry.charged - entry.refunded for entry in booked)

    def paid_twice(self, provider: str) -> set[str]:
        """The ids of people who were charged for more than once."""
        paid = Counter(
            person
            for entry in self.entries
            if entry.provider == provider
            for person in entry.people
        )
        return {person for person, times in paid.items() if times > 1}

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(entry) for entry in self.entries]
