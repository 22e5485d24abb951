from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.documents import validate
from aicmo_dagster.domain.nurture import caps
from aicmo_dagster.domain.nurture.caps import Allowance, Spent, allowance, day_limit, fair_share
from aicmo_dagster.domain.sections.nurture import Caps


def allowed(
    document: dict[str, Any],
    *,
    sent: int = 0,
    hour: int = 0,
    by_domain: dict[str, int] | None = None,
    **more: Any,
) -> Allowance:
    return allowance(
        validate(Caps, document, "x"),
        Spent({"mine": sent}, hour, by_domain or {}),
        campaign="mine",
        **more,
    )


def test_a_limit_that_is_not_given_does_not_apply() -> None:
    free = allowed({}, sent=10**6, by_domain={"a.example": 10**6})

    assert free.reached() is None
    assert all(free.take("a.example") for _ in range(1000))


def test_a_sender_sends_no_more_than_its_cap_in_a_day() -> None:
    left = allowed({"per_sender_per_day": 5}, sent=3)

    assert [left.take(domain) for domain in ("a", "b", "c")] == [True, True, False]
    assert left.reached() == caps.SENDER


@pytest.mark.parametrize("sent", [5, 6, 1000])
def test_a_sender_at_or_over_its_cap_sends_nothing(sent: int) -> None:
    left = allowed({"per_sender_per_day": 5}, sent=sent)

    assert left.reached() == caps.SENDER
    assert not left.take("a.example")


def test_a_domain_gets_no_more_than_its_cap_in_an_hour() -> None:
    left = allowed({"per_domain_per_hour": 2}, by_domain={"a.example": 1, "full.example": 2})

    assert [left.take("a.example"), left.take("a.example")] == [True, False]
    assert left.refusal("full.example") == caps.DOMAIN
    assert [left.take("b.example") for _ in range(3)] == [True, True, False]


def test_a_mail_that_a_domain_may_not_get_costs_the_sender_nothing() -> None:
    left = allowed({"per_domain_per_hour": 1, "per_sender_per_day": 2})

    assert [left.take("a"), left.take("a"), left.take("b")] == [True, False, True]


def test_a_provider_is_counted_over_all_domains_that_it_hosts() -> None:
    hosted = {"a": "google", "b": "google"}
    left = allowed({"per_provider_per_hour": 3}, by_domain={"a": 1, "c": 2}, provider_of=hosted)

    assert [left.take("b"), left.take("a"), left.take("b")] == [True, True, False]
    assert left.refusal("a") == caps.PROVIDER
    assert [left.take("c"), left.take("c")] == [True, False]


def test_the_campaign_and_the_hour_have_caps_of_their_own() -> None:
    assert allowed({"per_campaign_per_day": 2}, sent=2).reached() == caps.CAMPAIGN
    assert allowed({"per_sender_per_hour": 2}, sent=9, hour=2).reached() == caps.SENDER_HOUR
    left = allowed({"per_campaign_per_day": 9, "per_sender_per_hour": 3}, sent=4, hour=1)
    assert [left.take("a") for _ in range(3)] == [True, True, False]


def test_a_halted_sender_sends_nothing_whatever_its_caps() -> None:
    assert allowed({}, halted=True).reached() == caps.HALTED


RAMP = {"ramp": {"start": 10, "step": 5}}


@pytest.mark.parametrize(("level", "mails"), [(-1, 10), (0, 10), (1, 15), (7, 45)])
def test_a_sender_warms_up_level_by_level(level: int, mails: int) -> None:
    assert day_limit(validate(Caps, RAMP, "x"), level) == mails
    left = allowed(RAMP, sent=mails - 1, level=level)
    assert [left.take("a"), left.take("a")] == [True, False]


def test_the_stricter_of_ramp_and_cap_holds() -> None:
    both = validate(Caps, {**RAMP, "per_sender_per_day": 12}, "x")

    assert (day_limit(both, 0), day_limit(both, 9)) == (10, 12)


def test_campaigns_of_one_sender_share_what_is_left_of_its_day() -> None:
    document = {"per_sender_per_day": 10}
    shared = allowed(document, sent=3, waiting={"mine": 50, "theirs": 50})
    alone = allowed(document, sent=3, waiting={"mine": 50})

    assert sum(shared.take("a") for _ in range(10)) == 2
    assert shared.reached() == caps.OTHERS
    assert sum(alone.take("a") for _ in range(10)) == 7


SHARES = {
    "alone": (10, {}, {"a": 99}, 10),
    "half each": (10, {}, {"a": 99, "b": 99}, 5),
    "what the other does not want": (10, {}, {"a": 99, "b": 2}, 8),
    "no more than wanted": (10, {}, {"a": 3, "b": 99}, 3),
    "less what was sent": (10, {"a": 4}, {"a": 99, "b": 99}, 1),
    "sent more than its share": (10, {"a": 7}, {"a": 99, "b": 99}, -2),
    "rounded up": (10, {}, {"a": 99, "b": 99, "c": 99}, 4),
    "nobody waits": (10, {}, {"a": 0, "b": 0}, 0),
}


@pytest.mark.parametrize(("limit", "spent", "waiting", "share"), SHARES.values(), ids=SHARES)
def test_a_share_is_fair(
    limit: int, spent: dict[str, int], waiting: dict[str, int], share: int
) -> None:
    assert fair_share(limit, spent, waiting, "a") == share


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.integers(1, 40), st.dictionaries(st.sampled_from("abcd"), st.integers(0, 30), min_size=1))
def test_shares_use_up_the_limit_and_leave_nobody_behind(
    limit: int, waiting: dict[str, int]
) -> None:
    shares = {name: fair_share(limit, {}, waiting, name) for name in waiting}

    assert all(0 <= share <= waiting[name] for name, share in shares.items())
    assert sum(shares.values()) >= min(limit, sum(waiting.values()))
    assert sum(shares.values()) < limit + len(waiting)
    unmet = [shares[name] for name in waiting if shares[name] < waiting[name]]
    assert not unmet or min(unmet) >= max(shares.values()) - 1


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    st.integers(1, 10),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(0, 12),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 5)),
    st.lists(st.sampled_from("abcd"), max_size=30),
)
def test_no_cap_is_ever_exceeded_and_none_is_left_unused(
    per_day: int,
    per_domain: int,
    per_provider: int,
    sent: int,
    by_domain: dict[str, int],
    wanted: list[str],
) -> None:
    document = {
        "per_sender_per_day": per_day,
        "per_domain_per_hour": per_domain,
        "per_provider_per_hour": per_provider,
    }
    hosts = {"a": "big", "b": "big"}
    left = allowed(document, sent=sent, by_domain=by_domain, provider_of=hosts)
    counted, total = dict(by_domain), sent
    for domain in wanted:
        host = hosts.get(domain, domain)
        hosted = sum(n for name, n in counted.items() if hosts.get(name, name) == host)
        room = total < per_day and counted.get(domain, 0) < per_domain and hosted < per_provider
        assert left.take(domain) is room
        total += room
        counted[domain] = counted.get(domain, 0) + room


def test_counting_changes_nothing_of_what_was_given() -> None:
    by_domain = {"a": 1}
    allowed({}, by_domain=by_domain).take("a")

    assert by_domain == {"a": 1}
