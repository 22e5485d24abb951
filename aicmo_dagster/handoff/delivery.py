"""What came of handing a lead over, and when to try again. Not here: the destinations."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol

_SCHEDULE = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""Waits after each failed attempt, over four days, as Standard Webhooks recommends."""

LONGEST_WAIT = timedelta(days=1)


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt.

    Args:
        state: `delivered`; `failed`, to be tried again; `refused`: trying again is of no use.
        reason: What went wrong, without a word of the lead.
        wait: What the other side asks to wait at least.
    """

    state: Literal["delivered", "failed", "refused"]
    reason: str = ""
    wait: timedelta | None = None


class Destination(Protocol):
    """Takes leads, one at a time."""

    def deliver(self, key: str, document: dict[str, Any]) -> Outcome:
        """What came of handing `document` over; the other side may know it by `key` already."""


def next_wait(key: str, attempts: int, asked: timedelta | None) -> timedelta | None:
    """How long to wait after the attempt of this number, up to a tenth more; none after the last.

    The same handoff always waits the same, and many that failed together do not return together.
    """
    if attempts > len(_SCHEDULE):
        return None
    drawn = hashlib.sha256(f"{key}/{attempts}".encode()).digest()[0] / 255
    wait = _SCHEDULE[attempts - 1] * (1 + drawn / 10)
    return min(max(wait, asked or timedelta(0)), LONGEST_WAIT * 1.1)


def wait_asked(header: str | None) -> timedelta | None:
    """What a ``Retry-After`` in seconds asks for; one that is a date, or absurd, is left alone."""
    if header is None or not header.strip().isdecimal() or len(header.strip()) > 9:
        return None
    return timedelta(seconds=int(header))
