"""A clock that stands still until somebody sleeps, so that waiting takes no time."""

import threading
from datetime import UTC, datetime

from aicmo_dagster.stages.providers import Time


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


def on_clock(clock: VirtualClock) -> Time:
    """What a harvest under `clock` takes for the time."""

    def now() -> datetime:
        return datetime.fromtimestamp(clock.now(), UTC)

    return Time(now=now, sleep=clock.sleep, monotonic=clock.now, jitter=lambda: 0.5)
