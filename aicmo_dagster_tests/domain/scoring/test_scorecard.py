import json
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.addresses import FREE_MAIL
from aicmo_dagster.domain.documents import validate
from aicmo_dagster.domain.schemas import ScoredLeads
from aicmo_dagster.domain.scoring.catalogue import BY_NAME
from aicmo_dagster.domain.scoring.points import BUILT_IN
from aicmo_dagster.domain.scoring.scorecard import score
from aicmo_dagster.domain.sections.scoring import Scoring
from aicmo_dagster_tests.domain.lead_columns import TYPES, lead_columns
from aicmo_dagster_tests.samples import NOON, lead_id, raw_leads

WEIGHTS = {name: rule.points for name, rule in BUILT_IN.items()}

STATED: dict[str, dict[str, Any]] = {
    "titles": {"fit": {"titles": ["revenue operations", "head of sales"]}},
    "seniorities": {"fit": {"seniorities": ["director", "vp"]}},
    "industries": {"fit": {"industries": ["software"]}},
    "employees": {"fit": {"employees": [51, 500]}},
    "countries": {"fit": {"countries": ["NO", "SE"]}},
    "revenue": {"budget": {"annual_revenue": [5_000_000, None]}},
    "technologies": {"budget": {"technologies": ["HubSpot", "salesforce"]}},
}

IDEAL = {
    "email": "ida@acme.example",
    "first_name": "Ida",
    "title": "VP, Revenue Operations",
    "seniority": "vp",
    "company": "Acme",
    "domain": "acme.example",
    "industry": "Computer Software",
    "employees": 500,
    "annual_revenue": 5_000_000.0,
    "technologies": "hubspot;salesforce",
    "country": "NO",
    "visits": 10,
    "last_engaged_at": pd.Timestamp(NOON),
}


def scoring(*names: str) -> Scoring:
    """A scoring section that states what `names` of `STATED` say."""
    document: dict[str, dict[str, Any]] = {"fit": {}, "budget": {}}
    for name in names:
        for section, content in STATED[name].items():
            document[section] |= content
    return validate(Scoring, document, "x")


ALL = scoring(*STATED)


def points(stated: Scoring, **columns: Any) -> dict[str, float]:
    """The contributions of one lead."""
    scored = score(lead(**columns), stated, NOON)
    return dict(json.loads(scored["contributions"][0]))


def lead(**columns: Any) -> pd.DataFrame:
    """One lead of whom nothing is known but `columns`."""
    known = dict.fromkeys(IDEAL) | {"lead_id": lead_id(1), "first_seen_at": NOON} | columns
    return lead_columns({name: [value] for name, value in known.items()})


def share(name: str, **columns: Any) -> float:
    """The share that a feature gives of what it may give at most."""
    return points(ALL, **columns).get(name, 0) / most()[name]


@cache
def most() -> dict[str, float]:
    """What each feature gives at most."""
    return points(ALL, **IDEAL)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.sets(st.sampled_from(sorted(STATED))))
def test_a_lead_that_meets_everything_has_100_points_whatever_is_stated(stated: set[str]) -> None:
    scored = score(lead(**IDEAL), scoring(*stated), NOON)

    assert scored["score"].tolist() == [100.0]
    assert abs(sum(json.loads(scored["contributions"][0]).values()) - 100) < 1e-9


COLUMNS = {
    "email": st.none() | st.just("a@b.example"),
    "first_name": st.none() | st.just("Ida"),
    "title": st.sampled_from([None, "Head of Sales", "Clerk", "revenue operations"]),
    "seniority": st.sampled_from([None, "vp", "entry"]),
    "company": st.none() | st.just("Acme"),
    "domain": st.sampled_from([None, "gmail.com", "acme.example"]),
    "industry": st.sampled_from([None, "software", "Shipping"]),
    "employees": st.none() | st.integers(0, 1000),
    "annual_revenue": st.none() | st.floats(0, 1e12),
    "technologies": st.sampled_from([None, "hubspot", "salesforce;hubspot", "excel"]),
    "country": st.sampled_from([None, "NO", "DE"]),
    "visits": st.none() | st.integers(0, 2**62),
    "last_engaged_at": st.none() | st.integers(-400, 4000).map(lambda h: NOON - timedelta(hours=h)),
}


def some_leads(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """A lead of each row of `COLUMNS`."""
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    ids = [lead_id(n) for n in range(len(rows))]
    return lead_columns({"lead_id": ids, "first_seen_at": [NOON] * len(rows), **columns})


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.sets(st.sampled_from(sorted(STATED))),
    st.lists(st.fixed_dictionaries(COLUMNS), min_size=1, max_size=6),
)
def test_contributions_sum_to_a_score_between_0_and_100(
    stated: set[str], rows: list[dict[str, Any]]
) -> None:
    scored = score(some_leads(rows), scoring(*stated), NOON)

    ScoredLeads.validate(scored)
    assert scored["lead_id"].tolist() == [lead_id(n) for n in range(len(rows))]
    for total, text in zip(scored["score"], scored["contributions"], strict=True):
        contributions = json.loads(text)
        assert abs(sum(contributions.values()) - total) < 1e-9
        assert set(contributions) <= set(WEIGHTS)
        assert all(value > 0 for value in contributions.values())


def test_points_are_shared_out_by_weight_among_what_is_stated() -> None:
    some = points(scoring("countries"), **IDEAL)
    total = sum(WEIGHTS[name] for name in some)

    assert "title_match" not in some
    for name, value in some.items():
        assert value == pytest.approx(WEIGHTS[name] / total * 100, abs=1e-4)


def test_a_campaign_that_states_nothing_scores_all_the_same() -> None:
    scored = score(raw_leads(2, company=["Acme", None]), Scoring(), NOON)

    assert scored["score"][0] > scored["score"][1] > 0


def test_nobody_is_scored_in_an_empty_frame() -> None:
    scored = score(raw_leads(0), ALL, NOON)

    ScoredLeads.validate(scored)
    assert len(scored) == 0


def test_a_lead_of_whom_nothing_is_known_has_no_points() -> None:
    scored = score(lead(), ALL, NOON)

    assert scored["score"].tolist() == [0.0]
    assert scored["contributions"].tolist() == ["{}"]


def test_a_score_says_what_it_counts_and_who_gave_it() -> None:
    scored = score(lead(**IDEAL), ALL, NOON)

    assert (scored["scale"][0], scored["model"][0]) == ("points", "scorecard")


MATCHES: dict[str, tuple[str, dict[str, Any], float]] = {
    "a title in other words' midst": ("title_match", {"title": "SVP Revenue Operations"}, 1),
    "a title in brackets": ("title_match", {"title": "Boss (revenue operations)"}, 1),
    "a title of part of a word": ("title_match", {"title": "Prerevenue operations"}, 0),
    "a title that goes on in letters of another script": (
        "title_match",
        {"title": "Revenue operationsø"},
        0,
    ),
    "a title that comes after letters of another script": (
        "title_match",
        {"title": "Ærevenue operations"},
        0,
    ),
    "another title": ("title_match", {"title": "Sales"}, 0),
    "a seniority within another": ("seniority_match", {"seniority": "director"}, 1),
    "another seniority": ("seniority_match", {"seniority": "head"}, 0),
    "an industry among others": ("industry_match", {"industry": "IT & Software"}, 1),
    "the smallest company": ("size_match", {"employees": 51}, 1),
    "the largest company": ("size_match", {"employees": 500}, 1),
    "too small a company": ("size_match", {"employees": 50}, 0),
    "too large a company": ("size_match", {"employees": 501}, 0),
    "revenue without an upper bound": ("revenue_match", {"annual_revenue": 1e15}, 1),
    "too little revenue": ("revenue_match", {"annual_revenue": 4_999_999.0}, 0),
    "another country": ("country_match", {"country": "DK"}, 0),
    "one technology of two": ("technology_match", {"technologies": "hubspot;excel"}, 0.5),
    "a technology that has another in its name": (
        "technology_match",
        {"technologies": "salesforceforce;unhubspot"},
        0,
    ),
    "a technology with an edition": ("technology_match", {"technologies": "hubspot crm"}, 0.5),
    "half the visits": ("visits", {"visits": 5}, 0.5),
    "more visits than count": ("visits", {"visits": 1000}, 1),
    "active a month ago": (
        "recent_engagement",
        {"last_engaged_at": pd.Timestamp(NOON - timedelta(days=30))},
        0.5,
    ),
    "active this very day": (
        "recent_engagement",
        {"last_engaged_at": pd.Timestamp(NOON - timedelta(hours=20))},
        1,
    ),
    "active in the future": (
        "recent_engagement",
        {"last_engaged_at": pd.Timestamp(NOON + timedelta(days=9))},
        1,
    ),
    "active in another century": (
        "recent_engagement",
        {"last_engaged_at": pd.Timestamp("1900-01-01", tz="UTC")},
        0,
    ),
    "a domain of its own": ("own_domain", {"domain": "acme.example"}, 1),
    **{f"at {domain}": ("own_domain", {"domain": domain}, 0) for domain in FREE_MAIL},
}


@pytest.mark.parametrize("match", MATCHES.values(), ids=MATCHES)
def test_a_feature_gives_its_share(match: tuple[str, dict[str, Any], float]) -> None:
    name, columns, expected = match

    assert share(name, **columns) == pytest.approx(expected, abs=1e-4)


SPELT = ["C++", "node.js", "a (b)", "R&D", "Økonomi", "日本", "$x^", "a|b", "tab\tbed", "[x"]


@pytest.mark.parametrize("phrase", SPELT)
def test_a_phrase_is_text_and_no_pattern(phrase: str) -> None:
    stated = validate(Scoring, {"fit": {"titles": [phrase]}}, "x")

    assert "title_match" in points(stated, title=f"Head, {phrase.upper()}")
    assert "title_match" not in points(stated, title="Head")


def test_thousands_of_titles_are_one_scorecard() -> None:
    titles = [f"head of something {number}" for number in range(3000)]
    stated = validate(Scoring, {"fit": {"titles": titles}}, "x")

    assert "title_match" in points(stated, title="Head of Something 2999")


def test_the_index_of_the_frame_does_not_matter() -> None:
    leads = raw_leads(3, company=["Acme", None, "Beta"])
    shuffled = leads.iloc[[2, 0, 1]].set_axis([5, 5, 9])
    expected = score(leads, ALL, NOON).set_index("lead_id")["score"]
    found = score(shuffled, ALL, NOON).set_index("lead_id")["score"]

    assert found.to_dict() == expected.to_dict()


def own(rules: dict[str, Any], **parts: Any) -> Scoring:
    """A section that states everything and has a scorecard of its own."""
    document: dict[str, Any] = {"fit": {}, "budget": {}, "points": {"rules": rules, **parts}}
    for content in STATED.values():
        for section, stated in content.items():
            document[section] |= stated
    return validate(Scoring, document, "x")


def test_points_of_a_campaigns_own_are_as_written_and_only_they_count() -> None:
    rules = own({"title_match": {"points": 30}, "visits": {"points": 8, "full_at": 4}})

    assert points(rules, **IDEAL | {"visits": 3}) == {"title_match": 30, "visits": 6}


def test_a_category_earns_points_by_its_values_whatever_their_case() -> None:
    rules = own({"country": {"points": 30, "values": ["NO", "se"]}})

    assert points(rules, country="SE") == {"country": 30}
    assert points(rules, country="DE") == points(rules, country=None) == {}


def test_a_column_of_the_campaigns_own_earns_points_as_a_number_or_a_category() -> None:
    rules = own(
        {
            "custom.Hours": {"points": 40, "full_at": 8},
            "custom.Plan": {"points": 20, "values": ["Team"]},
        },
        families={"custom": 30},
    )

    assert points(rules, custom='{"Hours": "2", "Plan": "basic"}') == {"custom.Hours": 10}
    assert points(rules, custom='{"Plan": "team"}') == {"custom.Plan": 20}
    assert points(rules, custom="{}") == {}
    both = points(rules, custom='{"Hours": "9", "Plan": "team"}')
    assert both == {"custom.Hours": 20, "custom.Plan": 10}


def test_a_rule_takes_points_away_but_no_score_falls_below_zero() -> None:
    rules = own({"role_address": {"points": -20}, "country_known": {"points": 15}})
    scored = score(lead(email="info@acme.example", country="NO"), rules, NOON)

    assert scored["score"].tolist() == [0.0]
    assert json.loads(scored["contributions"][0]) == {"role_address": -15, "country_known": 15}


def test_a_familys_cap_takes_from_its_rules_in_proportion() -> None:
    rules = {
        "engaged": {"points": 10},
        "visits": {"points": 30, "full_at": 10},
        "title_match": {"points": 20},
    }

    assert points(own(rules, families={"engagement": 20}), **IDEAL) == {
        "engaged": 5,
        "visits": 15,
        "title_match": 20,
    }


def test_the_whole_score_has_a_cap() -> None:
    rules = {"title_match": {"points": 60}, "visits": {"points": 30, "full_at": 10}}
    capped = score(lead(**IDEAL), own(rules, most=45), NOON)

    assert capped["score"].tolist() == [45.0]
    assert json.loads(capped["contributions"][0]) == {"title_match": 30, "visits": 15}


DAYS = [0, 9, 10, 11, 20, 400]


def aged(rule: dict[str, Any], name: str = "visits") -> list[float]:
    """What a rule gives a lead that last did something so many `DAYS` ago."""
    stated = own({name: rule})
    return [
        points(stated, **IDEAL | {"last_engaged_at": NOON - timedelta(days=days)}).get(name, 0)
        for days in DAYS
    ]


def test_points_decay_by_halves() -> None:
    rule = {"points": 40, "full_at": 10, "half_life_days": 10}

    assert aged(rule) == pytest.approx([40, 21.4355, 20, 18.6607, 10, 0], abs=1e-4)
    assert aged({"points": 40, "half_life_days": 10}, "recent_engagement") == aged(rule)


def test_points_vanish_after_their_time_frame() -> None:
    rule = {"points": 40, "full_at": 10, "within_days": 10}

    assert aged(rule) == [40, 40, 40, 0, 0, 0]
    assert aged({"points": 40, "within_days": 10}, "recent_engagement") == aged(rule)


def test_what_has_no_date_is_in_no_time_frame() -> None:
    rules = own({"visits": {"points": 40, "full_at": 10, "within_days": 10}})

    assert points(rules, visits=10) == {}


RULES = st.dictionaries(
    st.sampled_from(["title_match", "country_known", "role_address", "engaged", "own_domain"]),
    st.integers(-100, 100).map(lambda n: {"points": n / 3}),
    min_size=1,
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    RULES,
    st.dictionaries(st.sampled_from(["fit", "engagement", "data_quality"]), st.floats(0, 100)),
    st.floats(0.5, 100),
    st.lists(st.fixed_dictionaries(COLUMNS), min_size=1, max_size=4),
)
def test_caps_hold_and_the_contributions_still_sum_exactly(
    rules: dict[str, Any],
    families: dict[str, float],
    most: float,
    rows: list[dict[str, Any]],
) -> None:
    scored = score(some_leads(rows), own(rules, families=families, most=most), NOON)

    ScoredLeads.validate(scored)
    for total, text in zip(scored["score"], scored["contributions"], strict=True):
        given = json.loads(text)
        assert round(sum(Decimal(str(value)) for value in given.values()), 4) == Decimal(str(total))
        assert total <= most + 1e-4
        for family, cap in families.items():
            gained = [v for name, v in given.items() if BY_NAME[name].family == family]
            assert sum(gained) <= cap + 2e-4


def test_the_band_ranks_leads_that_arrived_together() -> None:
    leads = raw_leads(40, visits=[*range(11), *[10] * 9, *range(5, 25)])
    weeks = [NOON] * 20 + [NOON + timedelta(days=7)] * 20
    rules = own({"visits": {"points": 50, "full_at": 50}})
    scored = score(leads.assign(first_seen_at=pd.array(weeks, TYPES["first_seen_at"])), rules, NOON)

    assert "".join(scored["band"][:20]) == "D" * 10 + "C" * 10
    assert "".join(scored["band"][20:]) == "D" * 10 + "C" * 5 + "B" * 3 + "A" * 2
