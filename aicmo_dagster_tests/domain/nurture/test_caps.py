from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.campaigns import Caps
from aicmo_dagster.domain.documents import validate
from aicmo_dagster.domain.nurture.caps import Allowance, allowance
from aicmo_dagster_tests.samples import NOON


def allowed(
    document: dict[str, Any],
    *,
    sent: int = 0,
    first: datetime | None = None,
    by_domain: dict[str, int] | None = None,
) -> Allowance:
    return allowance(
        validate(Caps, document, "x"),
        sent_last_day=sent,
        first_sent_at=first,
        sent_by_domain=by_domain or {},
        now=NOON,
    )


def test_a_limit_that_is_not_given_does_not_apply() -> None:
    free = allowed({}, sent=10**6, by_domain={"a.example": 10**6})

    assert not free.spent()
    assert all(free.take("a.example") for _ in range(1000))


def test_a_sender_sends_no_more_than_its_cap_in_a_day() -> None:
    left = allowed({"per_sender_per_day": 5}, sent=3)

    assert [left.take(domain) for domain in ("a", "b", "c")] == [True, True, False]
    assert left.spent()


@pytest.mark.parametrize("sent", [5, 6, 1000])
def test_a_sender_at_or_over_its_cap_sends_nothing(sent: int) -> None:
    left = allowed({"per_sender_per_day": 5}, sent=sent)

    assert left.spent()
    assert not left.take("a.example")


def test_a_domain_gets_no_more_than_its_cap_in_an_hour() -> None:
    left = allowed({"per_domain_per_hour": 2}, by_domain={"a.example": 1, "full.example": 2})

    assert [left.take("a.example"), left.take("a.example")] == [True, False]
    assert not left.take("full.example")
    assert [left.take("b.example") for _ in range(3)] == [True, True, False]


def test_a_mail_that_a_domain_may_not_get_costs_the_sender_nothing() -> None:
    left = allowed({"per_domain_per_hour": 1, "per_sender_per_day": 2})

    assert [left.take("a"), left.take("a"), left.take("b")] == [True, False, True]


RAMP = {"ramp": {"start": 10, "step": 5}}

DAYS = {
    "never sent": (None, 10),
    "first sent an hour ago": (timedelta(hours=1), 10),
    "first sent just under a day ago": (timedelta(hours=23, minutes=59), 10),
    "first sent a day ago": (timedelta(days=1), 15),
    "first sent a week ago": (timedelta(days=7), 45),
    "first sent by a clock that is ahead": (timedelta(days=-3), 10),
}


@pytest.mark.parametrize(("ago", "mails"), DAYS.values(), ids=DAYS)
def test_a_sender_warms_up_day_by_day(ago: timedelta | None, mails: int) -> None:
    first = None if ago is None else NOON - ago

    assert allowed(RAMP, first=first).sender == mails
    assert allowed(RAMP, first=first, sent=4).sender == mails - 4


def test_the_stricter_of_ramp_and_cap_holds() -> None:
    both = {**RAMP, "per_sender_per_day": 12}

    assert allowed(both).sender == 10
    assert allowed(both, first=NOON - timedelta(days=9)).sender == 12


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.integers(1, 10),
    st.integers(1, 4),
    st.integers(0, 12),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 5)),
    st.lists(st.sampled_from("abcd"), max_size=30),
)
def test_no_cap_is_ever_exceeded_and_none_is_left_unused(
    per_day: int, per_domain: int, sent: int, by_domain: dict[str, int], wanted: list[str]
) -> None:
    left = allowed(
        {"per_sender_per_day": per_day, "per_domain_per_hour": per_domain},
        sent=sent,
        by_domain=by_domain,
    )
    counted, total = dict(by_domain), sent
    for domain in wanted:
        room = total < per_day and counted.get(domain, 0) < per_domain
        assert left.take(domain) is room
        total += room
        counted[domain] = counted.get(domain, 0) + room


def test_counting_changes_nothing_of_what_was_given() -> None:
    by_domain = {"a": 1}
    allowed({}, by_domain=by_domain).take("a")

    assert by_domain == {"a": 1}
