from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from aicmo_dagster.domain.nurture.ramp import (
    DAY,
    IDLE,
    Health,
    Pace,
    Record,
    first_pace,
    health,
    next_pace,
)
from aicmo_dagster_tests.samples import NOON

JUDGED = {
    "nothing sent": (Record(0), "good"),
    "all well": (Record(5000), "good"),
    "a single complaint is nobody's rate": (Record(50, complained=1), "good"),
    "complaints at the bound to hold": (Record(2000, complained=2), "hold"),
    "complaints under it": (Record(2001, complained=2), "good"),
    "complaints at the bound to halt": (Record(1000, complained=3), "halt"),
    "two bounces are few": (Record(10, bounced=2), "good"),
    "bounces at the bound to hold": (Record(150, bounced=3), "hold"),
    "bounces at the bound to go back": (Record(60, bounced=3), "back"),
    "complaints count before bounces": (Record(60, bounced=30, complained=2), "halt"),
    "bounces count before a few complaints": (Record(2000, bounced=200, complained=3), "back"),
}


@pytest.mark.parametrize(("record", "expected"), JUDGED.values(), ids=JUDGED)
def test_a_sender_is_judged_by_its_last_days(record: Record, expected: Health) -> None:
    assert health(record) == expected


GOOD, HELD = Record(1000), Record(2000, complained=2)
BACK, HALTED = Record(60, bounced=3), Record(1000, complained=3)
AT_FIVE = Pace(5, NOON, "good", NOON)


def later(
    pace: Pace, record: Record, passed: timedelta, last: datetime | None = NOON + DAY / 2
) -> Pace:
    return next_pace(pace, record, last_sent_at=last, now=NOON + passed)


def test_a_day_with_mail_that_was_welcome_earns_a_level() -> None:
    assert later(AT_FIVE, GOOD, 0.99 * DAY).level == 5
    assert later(AT_FIVE, GOOD, DAY) == Pace(6, NOON + DAY, "good", NOON + DAY)
    assert later(AT_FIVE, GOOD, 9 * DAY).level == 6


def test_a_day_without_mail_earns_nothing() -> None:
    assert later(AT_FIVE, GOOD, DAY, last=NOON - DAY).level == 5
    assert later(AT_FIVE, GOOD, DAY, last=None).level == 5


def test_a_sender_is_held_while_complaints_are_too_many() -> None:
    assert later(AT_FIVE, HELD, DAY) == Pace(5, NOON + DAY, "hold", NOON + DAY)


@pytest.mark.parametrize(("record", "said"), [(BACK, "back"), (HALTED, "halt")])
def test_a_sender_goes_back_at_once_and_then_day_by_day(record: Record, said: Health) -> None:
    first = later(AT_FIVE, record, DAY / 24)
    assert (first.level, first.health) == (3, said)
    assert later(first, record, DAY / 12).level == 3
    second = later(first, record, DAY / 24 + DAY)
    assert second.level == 1
    assert later(second, record, 3 * DAY).level == 0


def test_a_sender_rises_again_when_all_is_well() -> None:
    back = replace(later(AT_FIVE, BACK, DAY / 24))
    assert later(back, GOOD, 2 * DAY, last=NOON + DAY).level == 4


def test_after_a_month_without_mail_the_ramp_begins_again() -> None:
    assert later(AT_FIVE, GOOD, IDLE + DAY, last=NOON + DAY).level == 5 + 1
    assert later(AT_FIVE, GOOD, IDLE + 3 * DAY, last=NOON + DAY).level == 0


def test_a_sender_of_before_begins_where_its_days_have_brought_it() -> None:
    assert first_pace(None, NOON).level == 0
    assert first_pace(NOON - 3.5 * DAY, NOON).level == 3
    assert first_pace(NOON + DAY, NOON).level == 0
