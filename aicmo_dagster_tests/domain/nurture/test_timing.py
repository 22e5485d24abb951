"""Windows around every change of the clock in 2026 and 2027, held against a walk by minutes."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.documents import validate
from aicmo_dagster.domain.nurture.timing import days_later, is_open, next_opening, spread_opening
from aicmo_dagster.domain.sections.nurture import WEEKDAYS, Window

ZONES = {
    "Europe/Oslo": 4,
    "America/New_York": 4,
    "Africa/Cairo": 4,
    "America/Santiago": 4,
    "Asia/Beirut": 4,
    "America/Havana": 4,
    "Atlantic/Azores": 4,
    "Australia/Lord_Howe": 4,
    "Australia/Sydney": 4,
    "Asia/Kathmandu": 0,
    "Africa/Casablanca": 4,
    "UTC": 0,
}
"""Each with the number of its changes in the two years."""

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def window(hours: str, *days: str) -> Window:
    document = {"hours": hours, "days": list(days or WEEKDAYS)}
    return validate(Window, document, "x")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def changes(zone: ZoneInfo) -> Iterator[datetime]:
    """The first whole hour after each change of the clock in 2026 and 2027."""
    moment, offset = utc("2026-01-01"), None
    while moment < utc("2028-01-01"):
        now = moment.astimezone(zone).utcoffset()
        if offset is not None and now != offset:
            yield moment
        moment, offset = moment + HOUR, now


CHANGES = [(name, change) for name in ZONES for change in changes(ZoneInfo(name))]
STARTS = [timedelta(hours=-3), -61 * MINUTE, timedelta(seconds=-1)]
STARTS += [timedelta(), timedelta(minutes=29, seconds=30), timedelta(hours=2)]
WINDOWS = ["00:00-24:00", "00:00-00:05", "00:15-01:45", "01:30-01:31", "02:05-02:50", "23:20-24:00"]


def within(opening: Window, zone: ZoneInfo, instant: datetime) -> bool:
    """Whether the clock on the wall is within the window, by numbers."""
    wall = instant.astimezone(zone)
    opens, closes = (int(clock[:2]) * 60 + int(clock[3:]) for clock in opening.hours.split("-"))
    today = WEEKDAYS[wall.weekday()] in opening.days
    return today and opens <= wall.hour * 60 + wall.minute < closes


def walked(opening: Window, zone: ZoneInfo, earliest: datetime) -> datetime:
    """The next opening, found by walking: from `earliest` to each full minute."""
    moment = earliest
    while not within(opening, zone, moment):
        moment = moment.replace(second=0, microsecond=0) + MINUTE
    return moment


@pytest.mark.parametrize(("name", "count"), ZONES.items())
def test_the_zones_change_their_clocks_as_often_as_they_should(name: str, count: int) -> None:
    assert len(list(changes(ZoneInfo(name)))) == count


@pytest.mark.parametrize("hours", WINDOWS)
@pytest.mark.parametrize(
    ("name", "change"), CHANGES, ids=[f"{name} {change:%Y-%m-%d}" for name, change in CHANGES]
)
def test_the_next_opening_is_the_first_minute_within_the_window(
    name: str, change: datetime, hours: str
) -> None:
    zone, opening = ZoneInfo(name), window(hours)

    for start in STARTS:
        assert next_opening(opening, zone, change + start) == walked(opening, zone, change + start)


@pytest.mark.parametrize(
    ("name", "change"), CHANGES, ids=[f"{name} {change:%Y-%m-%d}" for name, change in CHANGES]
)
def test_nobody_is_spread_out_of_the_window_by_a_change_of_the_clock(
    name: str, change: datetime
) -> None:
    zone = ZoneInfo(name)

    for hours in WINDOWS[1:]:
        for start in STARTS:
            first = next_opening(window(hours), zone, change + start)
            for seed in range(5):
                due = spread_opening(window(hours), zone, change + start, seed=str(seed))
                assert within(window(hours), zone, due)
                assert first <= due <= first + HOUR
                assert due == first or first != change + start


def test_a_window_on_fridays_only_survives_holidays_on_two_of_them() -> None:
    """Christmas Day of 2026 and New Year's Day of 2027 are Fridays."""
    oslo = ZoneInfo("Europe/Oslo")
    found = next_opening(window("09:00-17:00", "fri"), oslo, utc("2026-12-19"), "NO")

    assert found == utc("2027-01-08T08:00")
    assert not is_open(window("09:00-17:00", "fri"), oslo, utc("2026-12-25T10:00"), "NO")


INSTANTS = st.datetimes(
    datetime(2026, 1, 1), datetime(2027, 12, 1), timezones=st.just(UTC)
)  # the year after its last change of the clock
CLOCKS = st.integers(0, 24 * 60 - 1)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    st.sampled_from(sorted(ZONES)),
    INSTANTS,
    CLOCKS,
    st.integers(1, 600),
    st.sets(st.sampled_from(WEEKDAYS), min_size=1),
)
def test_the_next_opening_is_right_in_any_week(
    name: str, earliest: datetime, opens: int, length: int, days: set[str]
) -> None:
    closes = min(opens + length, 24 * 60)
    hours = f"{opens // 60:02}:{opens % 60:02}-{closes // 60:02}:{closes % 60:02}"
    zone, opening = ZoneInfo(name), window(hours, *sorted(days))
    found = next_opening(opening, zone, earliest)

    assert found >= earliest
    assert found.tzinfo is UTC
    assert is_open(opening, zone, found)
    assert within(opening, zone, found)
    assert found == earliest or not within(opening, zone, found - timedelta(seconds=1))
    assert next_opening(opening, zone, found) == found


def test_an_instant_within_the_window_is_its_own_opening_to_the_microsecond() -> None:
    now = utc("2026-03-04T12:34:56.789012")

    assert next_opening(window("09:00-17:00"), ZoneInfo("UTC"), now) == now


TOLD = {
    "before it opens": ("2026-03-04T07:00", "2026-03-04T08:00"),
    "as it opens": ("2026-03-04T08:00", "2026-03-04T08:00"),
    "as it closes": ("2026-03-04T16:00", "2026-03-05T08:00"),
    "a microsecond before it closes": (
        "2026-03-04T15:59:59.999999",
        "2026-03-04T15:59:59.999999",
    ),
    "over a weekend": ("2026-03-06T16:00", "2026-03-09T08:00"),
    "over the weekend of the change": ("2026-03-27T16:00", "2026-03-30T07:00"),
}


@pytest.mark.parametrize(("earliest", "expected"), TOLD.values(), ids=TOLD)
def test_office_hours_in_oslo(earliest: str, expected: str) -> None:
    office = window("09:00-17:00", *WEEKDAYS[:5])

    assert next_opening(office, ZoneInfo("Europe/Oslo"), utc(earliest)) == utc(expected)


def test_a_window_that_opens_in_the_gap_opens_when_the_clock_has_jumped() -> None:
    found = next_opening(window("02:30-05:00"), ZoneInfo("Europe/Oslo"), utc("2026-03-29T00:00"))

    assert found == utc("2026-03-29T01:00")


def test_a_window_that_lies_in_the_gap_opens_the_day_after() -> None:
    found = next_opening(window("02:10-02:50"), ZoneInfo("Europe/Oslo"), utc("2026-03-29T00:30"))

    assert found == utc("2026-03-30T00:10")


def test_a_window_in_the_hour_that_comes_twice_opens_twice() -> None:
    opening, oslo = window("02:10-02:20"), ZoneInfo("Europe/Oslo")

    assert next_opening(opening, oslo, utc("2026-10-25T00:00")) == utc("2026-10-25T00:10")
    assert next_opening(opening, oslo, utc("2026-10-25T00:20")) == utc("2026-10-25T01:10")


def test_the_day_that_samoa_skipped_has_no_opening() -> None:
    found = next_opening(window("09:00-17:00", "fri"), ZoneInfo("Pacific/Apia"), utc("2011-12-29"))

    assert found == utc("2012-01-05T19:00")


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.sampled_from(sorted(ZONES)), INSTANTS, st.integers(0, 30))
def test_days_later_the_clock_on_the_wall_shows_the_same(
    name: str, instant: datetime, days: int
) -> None:
    zone = ZoneInfo(name)
    local = instant.astimezone(zone)
    found = days_later(instant, days, zone).astimezone(zone)
    day = local.date() + timedelta(days=days)

    if exists(datetime.combine(day, local.time()), zone):
        assert (found.date(), found.time()) == (day, local.time().replace(fold=0))
    else:
        assert found.date() >= day


def exists(wall: datetime, zone: ZoneInfo) -> bool:
    """Whether the clock of a zone ever shows `wall`."""
    there = wall.replace(tzinfo=zone, fold=0).astimezone(UTC).astimezone(zone)
    return there.replace(tzinfo=None, fold=0) == wall.replace(fold=0)


def test_a_day_is_not_always_24_hours() -> None:
    oslo, noon = ZoneInfo("Europe/Oslo"), time(12)
    before = {
        "2026-03-28": timedelta(hours=23),
        "2026-10-24": timedelta(hours=25),
        "2026-05-01": timedelta(hours=24),
    }

    for day, length in before.items():
        instant = datetime.combine(datetime.fromisoformat(day), noon, oslo).astimezone(UTC)
        assert days_later(instant, 1, oslo) - instant == length


def test_a_time_that_the_clock_skips_is_as_much_later() -> None:
    oslo = ZoneInfo("Europe/Oslo")

    assert days_later(utc("2026-03-28T01:30"), 1, oslo) == utc("2026-03-29T01:30")


def test_a_wait_that_begins_in_the_second_of_two_hours_ends_after_the_day_it_ends_on() -> None:
    """The second 02:30 of October has no second on an ordinary day."""
    oslo = ZoneInfo("Europe/Oslo")

    assert days_later(utc("2026-10-25T01:30"), 1, oslo) == utc("2026-10-26T01:30")
    assert days_later(utc("2025-10-26T01:30"), 154, oslo) == utc("2026-03-29T01:30")
