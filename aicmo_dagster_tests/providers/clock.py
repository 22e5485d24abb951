"""A clock that stands still until somebody sleeps, so that waiting takes no time."""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from aicmo_dagster.stages.harvesting.providers import Time


class VirtualClock:
    """Seconds since some start.

    Args:
        start: What it shows at first; 2026-11-23 00:00 UTC.
    """

    def __init__(self, start: float = 1_795_392_000.0) -> None:
        self._now = start
        self._lock = threading.Lock()
        self.slept: list[float] = []

    def now(self) -> float:
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        """Later by `seconds`, at once."""
        assert seconds >= 0
        with self._lock:
            self._now += seconds
            self.slept.append(seconds)


@dataclass(frozen=True)
class FastClock:
    """A clock that runs `speed` times as fast as the real one: the same in every process.

    Args:
        speed: How many of its seconds pass in a real one.
        ahead: Seconds by which it is ahead of the real one at `since`.
        since: The real instant from which on it is fast.
    """

    speed: float = 1.0
    ahead: float = 0.0
    since: float = 0.0

    def now(self) -> float:
        return self.since + self.ahead + (time.time() - self.since) * self.speed

    def sleep(self, seconds: float) -> None:
        """It is later by `seconds`."""
        time.sleep(seconds / self.speed)


def on_clock(clock: VirtualClock | FastClock) -> Time:
    """What a harvest under `clock` takes for the time."""

    def now() -> datetime:
        return datetime.fromtimestamp(clock.now(), UTC)

    return Time(now=now, sleep=clock.sleep, monotonic=clock.now, jitter=lambda: 0.5)
