"""When the jobs of a campaign are due, by the cron expressions of its document.

Crons follow Debian's rules at daylight-saving changes: a wall time that is skipped runs right after
the gap, one that happens twice runs once. Not here: starting anything, or remembering what ran.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim

from aicmo_dagster.domain.sections.schedule import Schedule

SCHEDULED = ("full_pipeline", "harvest", "nurture", "train", "report")
"""The jobs that a schedule starts. Of two due at once, the earlier here is asked for first."""

_CLEAR = timedelta(hours=3)
"""Cronsim is not consistent where it starts in an hour that a clock goes through twice."""


@dataclass(frozen=True, order=True)
class Tick:
    """A job of a campaign at the instant it is due."""

    at: datetime
    campaign: str
    job: str

    @property
    def key(self) -> str:
        """What makes this tick one and no other."""
        return f"{self.campaign}:{self.job}:{self.at:%Y-%m-%dT%H:%MZ}"


_FAR_YEARS = 50
"""A blackout that ends later than this has no end that matters."""


def previous_tick(expression: str, zone: str, now: datetime) -> datetime:
    """The latest instant up to `now` at which `expression` fires, in UTC."""
    return _previous(expression, zone, now.replace(second=0, microsecond=0))


def next_ticks(schedule: Schedule, job: str, now: datetime, count: int = 5) -> list[datetime]:
    """The next instants after `now` at which the job is due, in the schedule's zone."""
    expression = getattr(schedule, job)
    if expression is None or not schedule.enabled:
        return []
    zone = ZoneInfo(schedule.timezone)
    instants = CronSim(expression, (now - _CLEAR).astimezone(zone))
    blackouts = [days_of(each) for each in schedule.blackout]
    found: list[datetime] = []
    passed = None
    while len(found) < count and (at := next(instants, None)) is not None:
        last = max((end for begin, end in blackouts if begin <= at.date() <= end), default=None)
        if last is None:
            found += [at] if at > now else []
        elif last.year > now.year + _FAR_YEARS:
            break
        elif last != passed:  # not tick by tick: it may last for years
            passed = last
            instants = CronSim(expression, datetime.combine(last, time(20, 59), zone))
    return found


def in_words(expression: str) -> str:
    """The cron expression as one would say it, such as "At 06:00 every day"."""
    return str(CronSim(expression, datetime(2000, 1, 1)).explain())


def is_blacked_out(schedule: Schedule, at: datetime) -> bool:
    """Whether nothing starts on the day that `at` falls on in the schedule's zone."""
    day = at.astimezone(ZoneInfo(schedule.timezone)).date()
    return any(first <= day <= last for first, last in map(days_of, schedule.blackout))


def days_of(text: str) -> tuple[date, date]:
    """First and last day of a day or an ISO 8601 interval, ``2026-12-24/2027-01-01``."""
    first, _, last = text.partition("/")
    return date.fromisoformat(first), date.fromisoformat(last or first)


def due_ticks(
    schedules: Mapping[str, Schedule],
    since: Mapping[tuple[str, str], datetime],
    now: datetime,
) -> list[Tick]:
    """The ticks that are due, oldest first: of those that a downtime missed, the latest alone.

    Args:
        schedules: Campaign to its schedule.
        since: (campaign, job) to the instant up to which its ticks are dealt with; a job without
            one has no ticks yet.
        now: The instant of looking.
    """
    ticks = [
        Tick(at, campaign, job)
        for campaign, schedule in schedules.items()
        if schedule.enabled
        for job in SCHEDULED
        if (expression := getattr(schedule, job)) and (campaign, job) in since
        if (at := previous_tick(expression, schedule.timezone, now)) > since[campaign, job]
        if not is_blacked_out(schedule, at)
    ]
    return sorted(ticks, key=lambda tick: (tick.at, SCHEDULED.index(tick.job), tick.campaign))


# Campaigns share expressions, and looking back over one costs up to a millisecond.
@lru_cache(maxsize=4096)
def _previous(expression: str, zone: str, minute: datetime) -> datetime:
    later = (minute + _CLEAR).astimezone(ZoneInfo(zone))
    instants = CronSim(expression, later, reverse=True)
    return next(at.astimezone(UTC) for at in instants if at <= minute)
