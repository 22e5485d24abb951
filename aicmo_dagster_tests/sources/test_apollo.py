"""The client against the stand-in over HTTP; numbers are those of providers.md, section 6."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from aicmo_dagster.domain.schemas import dtypes
from aicmo_dagster.errors import AicmoError, BadInput
from aicmo_dagster.sources.apollo import Apollo, Matched, read_limits
from aicmo_dagster.sources.apollo_filters import FILTERS, filter_problems
from aicmo_dagster.sources.http import (
    BadKey,
    OutcomeUnknown,
    OutOfCredits,
    RateLimited,
    Refused,
    Unavailable,
)
from aicmo_dagster.sources.people import Answered, Asked, Limits, Window, unanswered
from aicmo_dagster_tests.providers import accounts, market, windows
from aicmo_dagster_tests.providers.clients import apollo_client
from aicmo_dagster_tests.providers.clock import VirtualClock
from aicmo_dagster_tests.providers.market import Person, person_id
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.providers.windows import Windows
from aicmo_dagster_tests.providers.wire import Fault

SEARCH, MATCH = "/mixed_people/api_search", "/people/bulk_match"
MISS = unanswered("not_found")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return VirtualClock()


@pytest.fixture
def stand_in(clock: VirtualClock) -> Iterator[StandIn]:
    with StandIn(people=60, clock=clock).running() as running:
        yield running


@pytest.fixture
def apollo(stand_in: StandIn, clock: VirtualClock) -> Apollo:
    return apollo_client(stand_in.url, clock)


def asked(*people: Person) -> list[Asked]:
    """As after a search: an id, and a name without its end."""
    return [Asked(f"lead-{p.id[-2:]}", p.id, first_name=p.first_name) for p in people]


def from_csv(person: Person) -> Asked:
    return Asked(
        "csv",
        first_name=person.first_name,
        last_name=person.last_name,
        company=person.company,
        domain=person.domain,
    )


def person(stand_in: StandIn, status: str, after: int = market.SPECIALS + 1) -> Person:
    return next(p for p in stand_in.people[after:] if p.apollo == status)


def answer(apollo: Apollo, wanted: Asked) -> Answered:
    return apollo.match([wanted]).answers[wanted.key]


# ---- searching


def test_a_search_gives_our_fields_as_text(stand_in: StandIn, apollo: Apollo):
    page = apollo.search({"person_titles": ["Owner"]}, 1, 5)
    assert page.total == sum(p.title == "Owner" for p in stand_in.people)
    assert len(page.people) == 5
    for row in page.people:
        known = next(p for p in stand_in.people if p.id == row["external_id"])
        assert row["first_name"] == known.first_name
        assert row["company"] == known.company
        assert row.keys() - {"external_id"} <= dtypes("raw_leads").keys()


def test_a_search_costs_nothing_and_says_who_has_no_address(stand_in: StandIn, apollo: Apollo):
    page = apollo.search({"q_keywords": "x"}, 1, 60)
    assert page.without_email == {p.id for p in stand_in.people if p.apollo == "unavailable"}
    assert stand_in.ledger.spent() == 0


def test_2_a_masked_name_is_never_a_name(apollo: Apollo):
    page = apollo.search({"q_keywords": "x"}, 1, 60)
    assert all("last_name" not in row and "***" not in str(row) for row in page.people)


def test_2_a_mask_in_the_place_of_a_name_is_none_either(stand_in: StandIn, apollo: Apollo):
    row = {"id": person_id(1), "first_name": "Zoë", "last_name": "Li***t", "organization": "x"}
    stand_in.faults.set(Fault(SEARCH, status=200, body={"total_entries": 1, "people": [row]}))
    page = apollo.search({"q_keywords": "x"}, 1, 10)
    assert page.people == [{"external_id": person_id(1), "first_name": "Zoë"}]
    assert page.without_email == frozenset()


def test_3_what_is_null_or_not_there_is_left_out(stand_in: StandIn, apollo: Apollo):
    rows = {row["external_id"]: row for row in apollo.search({"q_keywords": "x"}, 1, 60).people}
    assert len(rows) == 60
    bare = rows[market.NO_COMPANY]
    assert bare.keys() == {"external_id", "first_name"}
    assert "None" not in str(list(rows.values()))


@pytest.mark.parametrize("people", [None, []], ids=["3-null", "3-empty"])
def test_a_page_without_people_is_empty(stand_in: StandIn, apollo: Apollo, people: Any):
    stand_in.faults.set(Fault(SEARCH, status=200, body={"total_entries": 0, "people": people}))
    page = apollo.search({"q_keywords": "x"}, 1, 10)
    assert (page.total, page.people) == (0, [])


def test_17_a_search_survives_a_gateway_that_fails(
    stand_in: StandIn, apollo: Apollo, clock: VirtualClock
):
    stand_in.faults.set(Fault(SEARCH, nth=(1, 2), status=502, body_kind="html"))
    assert len(apollo.search({"q_keywords": "x"}, 1, 10).people) == 10
    assert clock.slept == [1.0, 2.0]


def test_17_an_answer_of_another_shape_is_no_empty_page(stand_in: StandIn, apollo: Apollo):
    stand_in.faults.set(Fault(SEARCH, status=200, body={"error": "oops"}))
    with pytest.raises(Unavailable):
        apollo.search({"q_keywords": "x"}, 1, 10)


@pytest.mark.parametrize("place", ["top", "pagination", "both"])
def test_the_total_is_found_wherever_it_stands(stand_in: StandIn, apollo: Apollo, place: str):
    stand_in.apollo.modes.search_total = place
    assert apollo.search({"q_keywords": "x"}, 1, 10).total == 60


def test_4_pages_that_drift_repeat_people_under_one_id(stand_in: StandIn, apollo: Apollo):
    stand_in.apollo.modes.search_drift = 3
    pages = [apollo.search({"q_keywords": "x"}, number, 20) for number in (1, 2, 3)]
    ids = [row["external_id"] for page in pages for row in page.people]
    assert [page.total for page in pages] == [60, 57, 57]
    assert (len(ids), len(set(ids))) == (60, 57)


def test_4_a_page_beyond_the_last_is_empty(apollo: Apollo):
    page = apollo.search({"q_keywords": "x"}, 7, 10)
    assert (page.people, page.truncated) == ([], False)


def test_5_a_page_past_the_cap_is_the_end_and_says_so(apollo: Apollo):
    page = apollo.search({"q_keywords": "x"}, 501, 100)
    assert (page.people, page.truncated) == ([], True)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("person_title", ["CEO"], "'person_titles'"),
        ("q_organization_domains", "a.example", "'q_organization_domains_list'"),
        ("page", 2, "one of: "),
        ("person_titles", "CEO", "a list of texts"),
        ("person_titles", [], "a list of texts"),
        ("person_seniorities", ["boss"], "some of: owner, founder"),
        ("contact_email_status", ["good"], "some of: verified"),
        ("organization_num_employees_ranges", ["1-10"], "spans such as"),
        ("revenue_range", "1,10", "an object with min, max or both"),
        ("revenue_range", {"from": 1}, "an object with min, max or both"),
        ("include_similar_titles", "false", "true or false"),
        ("q_keywords", " ", "a text"),
        ("q_organization_domains_list", ["www.a.example"], "domains without www."),
        ("q_organization_domains_list", ["a.example"] * 1001, "1000 domains at most"),
    ],
)
def test_6_a_filter_that_would_be_dropped_or_find_nobody_is_refused_here(
    stand_in: StandIn, apollo: Apollo, name: str, value: Any, expected: str
):
    with pytest.raises(BadInput) as caught:
        apollo.search({name: value}, 1, 10)
    (problem,) = caught.value.problems
    assert problem.path == f"search.{name}"
    assert problem.expected.startswith(expected)
    assert stand_in.requests == []


def test_6_filters_as_they_should_be_pass():
    filters = {
        "person_titles": ["CEO"],
        "person_seniorities": ["vp", "c_suite"],
        "organization_num_employees_ranges": ["1,10", "250,500"],
        "revenue_range": {"min": 1},
        "contact_email_status": ["likely to engage"],
        "include_similar_titles": False,
    }
    assert filter_problems(filters, "x") == []
    assert filters.keys() < set(FILTERS)


def test_10_an_empty_header_means_no_limit(stand_in: StandIn, apollo: Apollo):
    nothing = Window(None, None, None)
    assert apollo.search({"q_keywords": "x"}, 1, 10).limits == Limits(nothing, nothing, nothing)


@pytest.mark.parametrize("names", [windows.NEW_NAMES, windows.OLD_NAMES], ids=["24-hour", "daily"])
def test_the_limits_of_both_families_of_headers_are_read(
    stand_in: StandIn, apollo: Apollo, names: dict[str, tuple[str, str, str]]
):
    stand_in.apollo.windows = Windows({"minute": 20, "day": 600}, names)
    apollo.search({"q_keywords": "x"}, 1, 10)
    limits = apollo.search({"q_keywords": "x"}, 1, 10).limits
    none = Window(None, None, None)
    assert limits == Limits(minute=Window(20, 2, 18), hour=none, day=Window(600, 2, 598))


def test_without_headers_nothing_is_known_of_limits():
    assert read_limits({}) == Limits(None, None, None)


@pytest.mark.parametrize("told", ["int", "date", "none", "body"], ids=["7-i", "7-d", "8-n", "8-b"])
def test_a_used_up_minute_is_waited_out_as_windows_open(
    stand_in: StandIn, apollo: Apollo, clock: VirtualClock, told: str
):
    stand_in.apollo.modes.retry_after = told
    stand_in.apollo.windows = Windows({"minute": 2}, windows.NEW_NAMES)
    for _ in range(3):
        apollo.search({"q_keywords": "x"}, 1, 10)
    assert clock.slept == [61.0]


def test_8_16_a_used_up_hour_parks_the_search_and_nothing_else(
    stand_in: StandIn, apollo: Apollo, clock: VirtualClock
):
    """Its 429 is JSON within JSON, as in the documentation."""
    stand_in.apollo.modes.retry_after = "none"
    stand_in.apollo.windows = Windows({"hour": 1}, windows.NEW_NAMES)
    apollo.search({"q_keywords": "x"}, 1, 10)
    with pytest.raises(RateLimited) as caught:
        apollo.search({"q_keywords": "x"}, 1, 10)
    assert (caught.value.until, caught.value.window, clock.slept) == (3600, "hour", [])
    assert apollo.match(asked(stand_in.people[8])).credits == 1


# ---- matching


def test_a_match_gives_our_fields_for_a_credit(stand_in: StandIn, apollo: Apollo):
    known = person(stand_in, "verified")
    (wanted,) = asked(known)
    matched = apollo.match([wanted])
    assert matched.credits == 1
    assert matched.limits.minute == Window(None, None, None)
    assert matched.answers == {
        wanted.key: Answered(
            {
                "external_id": known.id,
                "first_name": known.first_name,
                "last_name": known.last_name,
                "title": str(known.title),
                "seniority": "vp",
                "department": "master_sales",
                "linkedin_url": known.linkedin,
                "city": "Bergen",
                "region": "Vestland",
                "country": "Norway",
                "company": known.company,
                "domain": known.domain,
                "industry": "shipbuilding",
                "employees": "340",
                "annual_revenue": "61000000",
                "technologies": "Hubspot;Google Tag Manager",
                "founded_year": "1987",
                "email": known.email,
            },
            "verified",
            usable=True,
        )
    }


def test_1_a_locked_address_is_none(stand_in: StandIn, apollo: Apollo):
    """In whatever case, and called verified."""
    stand_in.apollo.modes.locked = True
    got = answer(apollo, Asked("a", market.LOCKED))
    assert (got.status, got.usable, got.doubtful) == ("locked", False, None)
    assert "email" not in got.fields
    assert "not_unlocked" not in str(got.fields).lower()


def test_a_guessed_address_is_not_among_the_fields(stand_in: StandIn, apollo: Apollo):
    got = answer(apollo, Asked("a", market.GUESSED))
    assert (got.status, got.usable, got.confidence) == ("guessed", False, "0.62")
    assert got.doubtful == stand_in.people[5].email
    assert "email" not in got.fields


@pytest.mark.parametrize(
    ("email", "status", "expected"),
    [
        ("a@b.example", "likely to engage", ("likely_to_engage", True)),
        ("a@b.example", None, ("unknown", False)),
        ("a@b.example", "brand new word", ("unknown", False)),
        ("a@b.example", "pending_manual_fulfillment", ("unavailable", False)),
        (None, "verified", ("not_found", False)),
        ("", "verified", ("not_found", False)),
        (None, None, ("not_found", False)),
        (["a@b.example"], "verified", ("not_found", False)),
    ],
)
def test_only_an_address_that_is_there_and_verified_is_usable(
    stand_in: StandIn, apollo: Apollo, email: Any, status: Any, expected: tuple[str, bool]
):
    match = {"id": person_id(9), "email": email, "email_status": status}
    stand_in.faults.set(Fault(MATCH, status=200, body={"status": "success", "matches": [match]}))
    got = answer(apollo, Asked("a", person_id(9)))
    assert (got.status, got.usable) == expected
    assert ("email" in got.fields) == got.usable


@pytest.mark.parametrize("matches", [None, [], [None]], ids=["3-null", "3-empty", "3-null-within"])
def test_whoever_is_not_matched_is_a_miss(stand_in: StandIn, apollo: Apollo, matches: Any):
    stand_in.faults.set(Fault(MATCH, status=200, body={"status": "success", "matches": matches}))
    matched = apollo.match([Asked("a", person_id(9))])
    assert (matched.answers, matched.credits) == ({"a": MISS}, None)


def test_3_a_match_of_nothing_but_nulls_has_no_fields(stand_in: StandIn, apollo: Apollo):
    match = dict.fromkeys(["title", "organization", "departments", "phone_numbers", "email"])
    match = {"id": person_id(9), **match, "primary_phone": {}, "extra": {"a": [1]}}
    stand_in.faults.set(Fault(MATCH, status=200, body={"status": "success", "matches": [match]}))
    assert answer(apollo, Asked("a", person_id(9))).fields == {"external_id": person_id(9)}


def test_17_an_answer_of_another_shape_is_no_miss(stand_in: StandIn, apollo: Apollo):
    stand_in.faults.set(Fault(MATCH, status=200, body={"error": "oops"}))
    with pytest.raises(OutcomeUnknown):
        apollo.match([Asked("a", person_id(9))])


@pytest.mark.parametrize("mode", ["null", "drop", "shuffle"], ids=["11-n", "11-d", "11-s"])
def test_answers_go_to_whom_they_identify_whatever_is_missing(
    stand_in: StandIn, apollo: Apollo, mode: str
):
    stand_in.apollo.modes.bulk_miss = mode
    known = stand_in.people[10:18]
    strangers = [Asked("lead-x", "f" * 24), Asked("lead-y", "e" * 24)]
    wanted = asked(*known)
    matched = apollo.match([strangers[0], *wanted[:4], strangers[1], *wanted[4:]])
    assert matched.answers.pop("lead-x") == matched.answers.pop("lead-y") == MISS
    assert [matched.answers[f"lead-{p.id[-2:]}"].fields["external_id"] for p in known] == [
        p.id for p in known
    ]
    assert matched.unjoined == 0


def test_11_without_an_id_the_profile_the_address_or_the_name_and_domain_join(
    stand_in: StandIn, apollo: Apollo
):
    stand_in.apollo.modes.bulk_miss = "shuffle"
    one, two, three, four = [p for p in stand_in.people[8:] if p.apollo == "verified"][:4]
    matched = apollo.match(
        [
            Asked("by profile", linkedin_url=one.linkedin),
            Asked("by address", email=two.email),
            replace(from_csv(three), key="by name"),
            replace(from_csv(four), key="unknown", first_name="Nobody"),
        ]
    )
    found = {key: got.fields.get("external_id") for key, got in matched.answers.items()}
    assert found == {
        "by profile": one.id,
        "by address": two.id,
        "by name": three.id,
        "unknown": None,
    }


def test_11_somebody_nobody_asked_about_is_counted_and_given_to_no_one(
    stand_in: StandIn, apollo: Apollo
):
    match = {"id": person_id(50), "email": "a@b.example", "email_status": "verified"}
    stand_in.faults.set(Fault(MATCH, status=200, body={"status": "success", "matches": [match]}))
    matched = apollo.match([Asked("a", person_id(9))])
    assert (matched.answers, matched.unjoined) == ({"a": MISS}, 1)


def test_11_a_name_that_two_bear_joins_neither(stand_in: StandIn, apollo: Apollo):
    match = {
        **{"first_name": "Jan", "last_name": "Novak", "email_status": "verified"},
        **{"email": "a@b.example", "organization": {"primary_domain": "b.example"}},
    }
    stand_in.faults.set(Fault(MATCH, status=200, body={"status": "success", "matches": [match]}))
    named: dict[str, Any] = {"first_name": "Jan", "last_name": "Novak", "domain": "b.example"}
    alone = apollo.match([Asked("a", **named)])
    assert alone.answers["a"].usable
    both = apollo.match([Asked("a", **named), Asked("b", person_id(9), **named)])
    assert (both.answers, both.unjoined) == ({"a": MISS, "b": MISS}, 1)
    known = apollo.match([Asked("a", linkedin_url="linkedin.com/in/other", **named)])
    assert known.answers["a"].usable
    stand_in.faults.set(
        Fault(
            MATCH,
            status=200,
            body={"matches": [{**match, "linkedin_url": "https://linkedin.com/in/jan"}]},
        )
    )
    other = apollo.match([Asked("a", linkedin_url="linkedin.com/in/other", **named)])
    assert other.answers == {"a": MISS}


def test_4_one_person_under_two_ids_is_joined_by_profile_and_paid_once(
    stand_in: StandIn, apollo: Apollo
):
    seventh = stand_in.people[7]
    twice = [
        Asked("a", market.TWIN, linkedin_url=seventh.linkedin),
        Asked("b", seventh.id, linkedin_url=seventh.linkedin),
    ]
    matched = apollo.match(twice)
    assert matched.credits == 1
    assert matched.answers["b"].fields["external_id"] == seventh.id
    alone = apollo.match(twice[:1])
    assert alone.answers["a"].fields["external_id"] == seventh.id


def test_12_whoever_would_have_all_refused_is_not_sent_or_not_by_that(
    stand_in: StandIn, apollo: Apollo
):
    known = person(stand_in, "verified")
    matched = apollo.match(
        [
            Asked("a uuid", "123e4567-e89b-12d3-a456-426614174000"),
            Asked("a first name", first_name="Jan", domain="b.example"),
            Asked("nothing"),
            Asked("a uuid and more", "123e4567-e89b-12d3", linkedin_url=known.linkedin),
        ]
    )
    statuses = {key: got.status for key, got in matched.answers.items()}
    skipped = dict.fromkeys(["a uuid", "a first name", "nothing"], "not_asked")
    assert statuses == {**skipped, "a uuid and more": "verified"}
    (request,) = stand_in.requests
    assert request.values["details"] == [{"linkedin_url": known.linkedin}]


def test_12_with_nobody_to_send_nothing_is_asked(stand_in: StandIn, apollo: Apollo):
    assert apollo.match([Asked("a")]) == Matched({"a": unanswered("not_asked")}, 0.0)
    assert apollo.match([]) == Matched({}, 0.0)
    assert stand_in.requests == []


def test_11_two_who_claim_one_by_no_more_than_a_name_are_both_sent_away(
    stand_in: StandIn, apollo: Apollo
):
    match = {
        **{"first_name": "Jan", "last_name": "Novak", "email_status": "verified"},
        "organization": {"primary_domain": "b.example"},
    }
    matches = [{**match, "email": f"{name}@b.example"} for name in ("jan", "novak")]
    stand_in.faults.set(Fault(MATCH, status=200, body={"status": "success", "matches": matches}))
    matched = apollo.match([Asked("a", first_name="Jan", last_name="Novak", domain="b.example")])
    assert (matched.answers, matched.unjoined) == ({"a": MISS}, 2)


@pytest.mark.parametrize("per_page", [0, 101])
def test_a_page_that_apollo_would_cut_short_is_not_asked_for(
    stand_in: StandIn, apollo: Apollo, per_page: int
):
    with pytest.raises(ValueError, match="people on a page"):
        apollo.search({"q_keywords": "x"}, 1, per_page)
    assert stand_in.requests == []


def test_more_than_ten_are_not_asked_about(stand_in: StandIn, apollo: Apollo):
    with pytest.raises(ValueError, match="11 people"):
        apollo.match(asked(*stand_in.people[:11]))
    assert stand_in.requests == []


def test_13_a_person_made_up_of_the_question_is_a_miss(stand_in: StandIn, apollo: Apollo):
    matched = apollo.match([Asked("a", market.SYNTHETIC, first_name="Zoë")])
    assert (matched.answers, matched.credits) == ({"a": MISS}, 0)


def test_14_the_person_wins_over_its_contact(stand_in: StandIn, apollo: Apollo):
    stand_in.apollo.modes.with_contact = True
    known = person(stand_in, "verified")
    got = answer(apollo, Asked("a", known.id))
    assert (got.fields["first_name"], got.fields["email"]) == (known.first_name, known.email)
    without = person(stand_in, "unavailable")
    assert answer(apollo, Asked("a", without.id)).status == "unavailable"


@pytest.mark.parametrize("key", [accounts.BAD_TEXT, accounts.BAD_JSON, accounts.NO_SCOPE])
def test_15_a_key_that_may_not_is_told_from_what_is_merely_refused(
    stand_in: StandIn, clock: VirtualClock, key: str
):
    client = apollo_client(stand_in.url, clock, key)
    calls: list[Any] = [
        lambda: client.search({"q_keywords": "x"}, 1, 10),
        lambda: client.match([Asked("a", person_id(9))]),
        lambda: client.organization("a.example"),
    ]
    for call in calls:
        with pytest.raises(BadKey, match="AICMO_APOLLO_API_KEY") as caught:
            call()
        assert key not in str(caught.value)
    assert clock.slept == []


@pytest.mark.parametrize("generation", ["old", "new"], ids=["18-old", "18-new"])
def test_used_up_credits_are_told_from_what_is_merely_refused(
    stand_in: StandIn, clock: VirtualClock, generation: str
):
    stand_in.apollo.modes.errors = generation
    client = apollo_client(stand_in.url, clock, accounts.EMPTY)
    with pytest.raises(OutOfCredits):
        client.match([Asked("a", person_id(9))])
    assert (len(stand_in.requests), stand_in.ledger.spent()) == (1, 0)
    assert client.credits() == 0
    body = {"error": "x", "error_details": {"code": "BILLING.LIMIT.CREDITS_EXHAUSTED"}}
    stand_in.faults.set(Fault(MATCH, status=422, body=body))
    with pytest.raises(OutOfCredits):
        client.match([Asked("a", person_id(9))])
    stand_in.faults.set(Fault(MATCH, status=422, body={"error": "Invalid parameters"}))
    with pytest.raises(Refused, match="Invalid parameters"):
        client.match([Asked("a", person_id(9))])


def test_18_credits_that_end_on_the_way_keep_what_was_answered_before(
    stand_in: StandIn, apollo: Apollo
):
    stand_in.apollo.accounts.left[accounts.GOOD] = 15
    first = apollo.match(asked(*stand_in.people[8:18]))
    with pytest.raises(OutOfCredits):
        apollo.match(asked(*stand_in.people[18:28]))
    assert (first.credits, stand_in.ledger.spent()) == (10, 10)
    assert apollo.match(asked(*stand_in.people[18:23])).credits == 5


def test_19_a_person_without_an_address_is_billed_all_the_same(stand_in: StandIn, apollo: Apollo):
    without = person(stand_in, "unavailable")
    matched = apollo.match([Asked("a", without.id)])
    assert (matched.credits, matched.answers["a"].usable) == (1, False)
    assert stand_in.ledger.spent("apollo") == 1


def test_20_a_lost_answer_is_of_unknown_outcome_and_the_balance_tells(
    stand_in: StandIn, apollo: Apollo
):
    stand_in.faults.set(Fault(MATCH, nth=(1,), drop_after_charge=True))
    before = apollo.credits()
    with pytest.raises(OutcomeUnknown):
        apollo.match(asked(*stand_in.people[8:18]))
    after = apollo.credits()
    assert before is not None
    assert after is not None
    assert before - after == 10
    assert stand_in.ledger.paid_twice("apollo") == set()
    assert len(stand_in.ledger.calls(MATCH)) == 1


def test_9_20_a_limit_in_the_midst_of_batches_repeats_no_spending(
    stand_in: StandIn, apollo: Apollo, clock: VirtualClock
):
    stand_in.apollo.windows = Windows({"minute": 2}, windows.NEW_NAMES)
    for start in range(8, 58, 10):
        assert apollo.match(asked(*stand_in.people[start : start + 10])).credits == 10
    assert clock.slept == [61.0, 61.0]
    assert stand_in.ledger.paid_twice("apollo") == set()
    assert stand_in.ledger.spent() == 50


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("Zoë", "O'Brien"),
        ("ZOE\u0308", "o\u2019brien"),
        ("Zoe\u0308\u200b", "O\u02bcBRIEN"),
        ("\uff3aoë", "O'Brien"),
        ("\u2128oë", "O'Brien"),
    ],
    ids=["28-nfc", "28-nfd", "28-zero-width", "28-full-width", "28-letter-like"],
)
def test_names_are_compared_beyond_their_spelling_and_kept_as_written(
    stand_in: StandIn, apollo: Apollo, first: str, last: str
):
    nfd = stand_in.people[3]
    match = {
        **{"first_name": nfd.first_name, "last_name": nfd.last_name, "title": "Head of Data 🚀"},
        "organization": {"primary_domain": "Bücher.example"},
    }
    stand_in.faults.set(Fault(MATCH, status=200, body={"matches": [match], "status": "success"}))
    got = answer(
        apollo, Asked("a", first_name=first, last_name=last, domain="xn--bcher-kva.example")
    )
    assert got.fields["first_name"] == "Zoe\u0308"
    assert got.fields["title"] == "Head of Data 🚀"


@pytest.mark.parametrize("name", ["明霞", "نور", "Bjørk"])
def test_28_names_of_all_scripts_join(stand_in: StandIn, apollo: Apollo, name: str):
    known = next(p for p in stand_in.people[8:] if p.first_name == name)
    assert answer(apollo, from_csv(known)).fields["external_id"] == known.id


def test_28_half_an_emoji_is_no_text_that_breaks_what_stores_it(stand_in: StandIn, apollo: Apollo):
    match = {"id": person_id(9), "title": "Head \ud83d"}
    stand_in.faults.set(Fault(MATCH, status=200, body={"matches": [match], "status": "success"}))
    title = answer(apollo, Asked("a", person_id(9))).fields["title"]
    assert title.encode() == "Head \ufffd".encode()


def test_29_a_huge_history_leaves_only_our_fields(stand_in: StandIn, apollo: Apollo):
    got = answer(apollo, Asked("a", market.HUGE))
    assert got.usable
    assert len(str(got.fields)) < 1000


def test_numbers_become_text_and_what_is_none_is_left_out(stand_in: StandIn, apollo: Apollo):
    firm = {
        "name": 7,
        "annual_revenue": 1.5,
        "estimated_num_employees": True,
        "founded_year": 1e400,
    }
    match = {"id": person_id(9), "organization": firm, "phone_numbers": [{"raw_number": "+47 1"}]}
    stand_in.faults.set(Fault(MATCH, status=200, body={"matches": [match], "status": "success"}))
    assert answer(apollo, Asked("a", person_id(9))).fields == {
        "external_id": person_id(9),
        "company": "7",
        "annual_revenue": "1.5",
        "phone": "+47 1",
    }


# ---- companies


def test_a_company_gives_its_fields_for_a_credit(stand_in: StandIn, apollo: Apollo):
    known = stand_in.people[9]
    fields = apollo.organization(known.domain).fields
    assert fields is not None
    assert (fields["company"], fields["employees"]) == (known.company, "340")
    assert fields.keys() <= dtypes("raw_leads").keys()
    assert stand_in.ledger.spent() == 1


def test_a_company_that_is_not_known_is_none_and_free(stand_in: StandIn, apollo: Apollo):
    assert apollo.organization("nowhere.example").fields is None
    assert stand_in.ledger.spent() == 0


def test_17_an_answer_of_another_shape_is_no_unknown_company(stand_in: StandIn, apollo: Apollo):
    stand_in.faults.set(Fault("/organizations", status=200, body={"error": "oops"}))
    with pytest.raises(OutcomeUnknown):
        apollo.organization("a.example")


def test_20_a_company_whose_answer_is_lost_is_not_asked_for_again(
    stand_in: StandIn, apollo: Apollo
):
    stand_in.faults.set(Fault("/organizations", drop_after_charge=True))
    with pytest.raises(OutcomeUnknown):
        apollo.organization(stand_in.people[9].domain)
    assert stand_in.ledger.spent() == 1


def test_a_search_that_is_refused_otherwise_is_no_end_of_pages(stand_in: StandIn, apollo: Apollo):
    stand_in.faults.set(Fault(SEARCH, status=422, body={"error": "This endpoint is deprecated"}))
    with pytest.raises(AicmoError, match="deprecated"):
        apollo.search({"q_keywords": "x"}, 1, 10)
