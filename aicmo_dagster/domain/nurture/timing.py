"""Windows in wall-clock time, resolved to instants. Not here: which step is due (`planning`)."""

import hashlib
from bisect import bisect_left
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from aicmo_dagster.domain.nurture.places import is_holiday
from aicmo_dagster.domain.sections.nurture import WEEKDAYS, Window

MOST_STEPS = 90
"""More than from any instant to the next opening: closed days, and changes of the clock."""


def next_opening(
    window: Window, zone: ZoneInfo, earliest: datetime, calendar: str | None = None
) -> datetime:
    """The first instant from `earliest` on that lies within `window` in `zone`, in UTC.

    An instant lies within the window when the clock on the wall says so. A window that opens at a
    time which the clock skips therefore opens when the clock has jumped, and one that lies in an
    hour which comes twice opens twice. It never opens on a public holiday of `calendar`, a country.
    """
    moment = earliest.astimezone(UTC)
    for _ in range(MOST_STEPS):
        if is_open(window, zone, moment, calendar):
            return moment
        moment = _next_start(window, zone, moment)
    raise ValueError("the window never opens")


def is_open(window: Window, zone: ZoneInfo, now: datetime, calendar: str | None = None) -> bool:
    """Whether `now` lies within `window` in `zone`."""
    local = now.astimezone(zone)
    opens, closes = window.hours.split("-")
    today = WEEKDAYS[local.weekday()] in window.days and opens <= f"{local:%H:%M}" < closes
    return today and not is_holiday(calendar, local.date())


def spread_opening(
    window: Window,
    zone: ZoneInfo,
    earliest: datetime,
    calendar: str | None = None,
    *,
    seed: str,
) -> datetime:
    """As `next_opening`, but those who wait for the opening do not all go at its first second.

    They are spread over the window's first `jitter_minutes`, each at the place that `seed` draws,
    always the same. Whoever need not wait goes at `earliest`.
    """
    opening = next_opening(window, zone, earliest, calendar)
    if opening == earliest:
        return opening
    late = timedelta(minutes=min(window.jitter_minutes, _minutes(window))) * _fraction(seed)
    while late and not is_open(window, zone, opening + late, calendar):
        late = late // 2  # the clock is changed within the window, which ends it sooner
    return opening + late


def days_later(instant: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The same wall-clock time `days` calendar days on in `zone`, in UTC.

    Where the clock skips that time it is as much later; where it comes twice, the first counts.
    """
    local = instant.astimezone(zone)
    moved = datetime.combine(local.date() + timedelta(days=days), local.time(), zone)
    return moved.replace(fold=0).astimezone(UTC)


def _minutes(window: Window) -> int:
    """How long the window is by the clock on the wall."""
    opens, closes = (int(clock[:2]) * 60 + int(clock[3:]) for clock in window.hours.split("-"))
    return closes - opens


def _fraction(seed: str) -> float:
    """From 0 up to 1, evenly, from any text."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:6], "big") / 2**48


def _next_start(window: Window, zone: ZoneInfo, moment: datetime) -> datetime:
    """When the day's opening time comes next, or the clock is changed before it does."""
    local = moment.astimezone(zone).replace(tzinfo=None)
    start = datetime.combine(local.date(), time.fromisoformat(window.hours.split("-")[0]))
    if start <= local:
        start += timedelta(days=1)
    reached = moment + (start - local)
    return _clock_change(zone, moment, reached) or reached


def _clock_change(zone: ZoneInfo, begin: datetime, end: datetime) -> datetime | None:
    """The instant between `begin` and `end` at which the zone's offset changes, if it does."""
    before = begin.astimezone(zone).utcoffset()
    if end.astimezone(zone).utcoffset() == before:
        return None
    seconds = range(int(begin.timestamp()) + 1, int(end.timestamp()) + 1)
    position = bisect_left(
        seconds,
        True,
        key=lambda second: datetime.fromtimestamp(second, zone).utcoffset() != before,
    )
    return datetime.fromtimestamp(seconds[min(position, len(seconds) - 1)], UTC)
