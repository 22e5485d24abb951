"""Crons of campaigns: ticks are found once, over downtimes, edits and changes of the clock."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from aicmo_dagster.domain.schedules import Tick, due_ticks, next_ticks, previous_tick
from aicmo_dagster.domain.sections.schedule import Schedule
from aicmo_dagster.errors import BadInput
from aicmo_dagster_tests.samples import campaign

MINUTE = timedelta(minutes=1)
HALF_PAST_TWO = "30 2 * * *"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ticks_between(expression: str, zone: str, first: datetime, last: datetime) -> list[datetime]:
    """Every tick that somebody sees who looks each minute after `first` until `last`."""
    seen: list[datetime] = []
    before = previous_tick(expression, zone, first)
    now = first
    while now < last:
        now += MINUTE
        tick = previous_tick(expression, zone, now)
        if tick != before:
            seen.append(tick)
            before = tick
    return seen


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        ("Europe/Oslo", "2026-03-29", "2026-03-29T01:00"),  # 02:30 is skipped: 03:00 instead
        ("Europe/Oslo", "2026-10-25", "2026-10-25T00:30"),  # 02:30 comes twice: the first
        ("America/New_York", "2026-03-08", "2026-03-08T07:00"),
        ("America/New_York", "2026-11-01", "2026-11-01T07:30"),  # after the hour that comes twice
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T15:30"),  # half an hour forward
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T16:00"),
        ("Asia/Kolkata", "2026-03-29", "2026-03-28T21:00"),
    ],
)
def test_half_past_two_comes_once_on_days_that_the_clocks_change(
    zone: str, day: str, expected: str
) -> None:
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)

    seen = ticks_between(HALF_PAST_TWO, zone, midnight, midnight + timedelta(hours=22))

    assert seen == [utc(expected)]


def test_a_cron_of_quarters_goes_on_through_the_hour_that_comes_twice() -> None:
    first = utc("2026-10-24T23:00")

    seen = ticks_between("*/15 * * * *", "Europe/Oslo", first, first + timedelta(hours=4))

    assert seen == [first + timedelta(minutes=15 * n) for n in range(1, 17)]


@pytest.mark.parametrize(
    ("expression", "now", "expected"),
    [
        ("0 6 31 * *", "2026-05-01T00:00", "2026-03-31T06:00"),  # April has no 31st
        ("0 6 L * *", "2026-03-01T00:00", "2026-02-28T06:00"),
        ("0 6 29 2 *", "2026-03-01T00:00", "2024-02-29T06:00"),
        ("0 6 * * 1-5", "2026-11-22T12:00", "2026-11-20T06:00"),  # a Sunday
        ("* * * * *", "2026-11-22T12:00", "2026-11-22T12:00"),
    ],
)
def test_the_previous_tick_at_ends_of_months_and_in_leap_years(
    expression: str, now: str, expected: str
) -> None:
    assert previous_tick(expression, "UTC", utc(now)) == utc(expected)


def test_a_tick_is_due_in_its_minute_and_not_before() -> None:
    schedules = {"spring": Schedule(harvest="0 6 * * *")}
    since = {("spring", "harvest"): utc("2026-11-22T12:00")}
    tick = Tick(utc("2026-11-23T06:00"), "spring", "harvest")

    assert due_ticks(schedules, since, tick.at - timedelta(microseconds=1)) == []
    assert due_ticks(schedules, since, tick.at) == [tick]
    assert due_ticks(schedules, {("spring", "harvest"): tick.at}, tick.at + MINUTE) == []


def test_of_ticks_that_a_downtime_missed_the_latest_is_due_oldest_campaign_first() -> None:
    schedules = {
        "hourly": Schedule(nurture="0 * * * *"),
        "daily": Schedule(harvest="0 6 * * *", full_pipeline="0 5 * * *"),
    }
    since = {
        (campaign, job): utc("2026-11-20T00:00")
        for campaign in schedules
        for job in ("harvest", "nurture", "full_pipeline")
    }

    due = due_ticks(schedules, since, utc("2026-11-23T09:30"))

    assert [tick.key for tick in due] == [
        "daily:full_pipeline:2026-11-23T05:00Z",
        "daily:harvest:2026-11-23T06:00Z",
        "hourly:nurture:2026-11-23T09:00Z",
    ]


def test_nothing_is_due_for_who_is_off_blacked_out_or_not_known() -> None:
    every_hour = {"harvest": "0 * * * *", "timezone": "Asia/Tokyo"}
    schedules = {
        "off": Schedule(**every_hour, enabled=False),
        "away": Schedule(**every_hour, blackout=["2026-12-24/2026-12-26"]),
        "unknown": Schedule(**every_hour),
        "on": Schedule(**every_hour, blackout=["2026-12-25"]),
    }
    since = {(key, "harvest"): utc("2026-12-01T00:00") for key in ("off", "away", "on")}

    # 2026-12-26 in Tokyo, still the 25th in UTC
    due = due_ticks(schedules, since, utc("2026-12-25T16:00"))

    assert [tick.campaign for tick in due] == ["on"]


def test_the_next_ticks_pass_over_blackouts() -> None:
    schedule = Schedule(harvest="0 6 * * *", timezone="Europe/Oslo", blackout=["2026-11-24"])

    ticks = next_ticks(schedule, "harvest", utc("2026-11-23T05:00"), 2)

    assert [at.isoformat() for at in ticks] == [
        "2026-11-25T06:00:00+01:00",
        "2026-11-26T06:00:00+01:00",
    ]
    assert next_ticks(schedule, "nurture", utc("2026-11-23T05:00")) == []


def test_next_ticks_do_not_repeat_the_hour_that_comes_twice() -> None:
    schedule = Schedule(harvest=HALF_PAST_TWO, timezone="Europe/Oslo")

    ticks = next_ticks(schedule, "harvest", utc("2026-10-25T00:45"), 1)

    assert [at.astimezone(UTC) for at in ticks] == [utc("2026-10-26T01:30")]


@pytest.mark.parametrize("days", ["christmas", "2026-12-26/2026-12-24", "2026-02-30"])
def test_a_blackout_that_is_no_day_is_refused(days: str) -> None:
    with pytest.raises(BadInput, match=r"schedule.blackout\[0\].*2026-12-24"):
        campaign(schedule={"harvest": "0 6 * * *", "blackout": [days]})
