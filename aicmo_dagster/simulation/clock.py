"""The virtual clock: it stands still while work is done, and jumps over quiet time.

Not here: what is due (`world`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aicmo_dagster.stages.harvesting.providers import Time

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class VirtualClock:
    """The time of a rehearsal, which goes on only where it is told to."""

    instant: datetime

    def now(self) -> datetime:
        """The time."""
        return self.instant

    def jump(self, instant: datetime) -> None:
        """It is `instant`, unless that is past already.

        In UTC, whatever zone a tick was found in: time passes in seconds and not by a wall clock.
        """
        self.instant = max(self.instant, instant).astimezone(UTC)

    def as_time(self) -> Time:
        """This clock as a harvest wants it: waiting costs nothing."""
        return Time(now=self.now, sleep=self._sleep, monotonic=self._seconds, jitter=lambda: 0.5)

    def _sleep(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)

    def _seconds(self) -> float:
        return (self.instant - _EPOCH).total_seconds()
