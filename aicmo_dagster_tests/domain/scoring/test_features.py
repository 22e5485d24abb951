from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.documents import validate
from aicmo_dagster.domain.schemas import SENIORITIES, dtypes
from aicmo_dagster.domain.scoring.catalogue import BY_NAME, CATEGORY, DIMENSIONS, YES_OR_NO
from aicmo_dagster.domain.scoring.dimensions import FAMILIES
from aicmo_dagster.domain.scoring.features import features
from aicmo_dagster.domain.scoring.points import ASKED, BUILT_IN, RULES
from aicmo_dagster.domain.sections.scoring import Scoring
from aicmo_dagster_tests.samples import NOON, raw_leads

STATED = validate(
    Scoring,
    {
        "fit": {
            "titles": ["revenue operations"],
            "seniorities": ["vp"],
            "industries": ["software"],
            "employees": [50, 400],
            "countries": ["NO"],
        },
        "budget": {"annual_revenue": [1000, None], "technologies": ["hubspot", "excel"]},
    },
    "x",
)
EMPTY = [column for column in dtypes("raw_leads") if column not in ("lead_id", "first_seen_at")]


def value(name: str, **columns: Any) -> float | str | None:
    """A dimension of one lead of whom nothing is known but `columns`."""
    lead = raw_leads(1, **dict.fromkeys(EMPTY) | columns)
    (found,) = features(lead, STATED, NOON, [name])[name]
    return None if pd.isna(found) else found


def test_there_are_more_than_thirty_dimensions_in_six_families() -> None:
    families = {dimension.family for dimension in DIMENSIONS}

    assert len(BY_NAME) == len(DIMENSIONS) >= 30
    assert families == set(FAMILIES) - {"custom"}


def test_points_are_given_for_dimensions_only() -> None:
    assert set(ASKED) <= set(RULES) <= set(BY_NAME)
    assert set(BUILT_IN) <= set(RULES)


VALUES: dict[str, tuple[str, dict[str, Any], float | str]] = {
    "a title that is asked for": ("title_match", {"title": "VP Revenue Operations"}, 1),
    "another title": ("title_match", {"title": "Clerk"}, 0),
    "the size asked for": ("size_gap", {"employees": 400}, 0),
    "four times too large": ("size_gap", {"employees": 1600}, 2),
    "half the size": ("size_gap", {"employees": 25}, 1),
    "one technology of two": ("technology_match", {"technologies": "excel;word"}, 0.5),
    "technologies": ("technologies_used", {"technologies": "excel;word"}, 2),
    "revenue by head": ("revenue_per_employee", {"annual_revenue": 900.0, "employees": 3}, 300),
    "a company's age": ("company_age", {"founded_year": 2006}, 20),
    "a company founded in the future": ("company_age", {"founded_year": 2030}, 0),
    "a top level domain": ("top_level_domain", {"domain": "shop.acme.co.uk"}, "uk"),
    "a free mail provider": ("own_domain", {"domain": "gmail.com"}, 0),
    "an own domain": ("own_domain", {"domain": "acme.example"}, 1),
    "the highest rank": ("seniority_rank", {"seniority": SENIORITIES[0]}, 10),
    "the lowest rank": ("seniority_rank", {"seniority": SENIORITIES[-1]}, 0),
    "a director": ("decides", {"seniority": "director"}, 1),
    "a manager": ("decides", {"seniority": "manager"}, 0),
    "words of a title": ("title_words", {"title": "Head of R&D, Økonomi"}, 5),
    "engaged long ago": ("engaged", {"last_engaged_at": pd.Timestamp("2001-01-01", tz="UTC")}, 1),
    "visits": ("engaged", {"visits": 1}, 1),
    "no visit, where visits are counted": ("engaged", {"visits": 0}, 0),
    "a month's decay": (
        "recent_visits",
        {"visits": 8, "last_engaged_at": NOON - timedelta(days=30)},
        4,
    ),
    "days": ("days_since_engagement", {"last_engaged_at": NOON - timedelta(hours=71)}, 2),
    "a day to come": ("days_since_engagement", {"last_engaged_at": NOON + timedelta(days=2)}, 0),
    "a function's address": ("role_address", {"email": "info@acme.example"}, 1),
    "a function's tagged address": ("role_address", {"email": "sales+web@acme.example"}, 1),
    "a person's address": ("role_address", {"email": "infora@acme.example"}, 0),
    "an address at the company": (
        "address_at_company",
        {"email": "a@acme.example", "domain": "acme.example"},
        1,
    ),
    "an address elsewhere": (
        "address_at_company",
        {"email": "a@b.acme.example", "domain": "acme.example"},
        0,
    ),
    "three fields of eighteen": (
        "completeness",
        {"email": "a@b.example", "city": "Oslo", "phone": "1"},
        1 / 6,
    ),
    "nothing known": ("completeness", {}, 0),
    "a category": ("channel", {"source_detail": "Web form"}, "Web form"),
}


@pytest.mark.parametrize("case", VALUES.values(), ids=VALUES)
def test_a_dimension_measures_what_it_says(case: tuple[str, dict[str, Any], Any]) -> None:
    name, columns, expected = case

    assert value(name, **columns) == (
        expected if isinstance(expected, str) else pytest.approx(expected)
    )


def test_what_is_not_known_is_missing_and_not_zero() -> None:
    found = features(raw_leads(1, **dict.fromkeys(EMPTY)), STATED, NOON).iloc[0]
    known = set(found.dropna().index)

    assert known == {name for name in BY_NAME if name.endswith("_known")} | {"completeness"}


def test_a_match_with_what_the_campaign_does_not_state_is_unknown() -> None:
    leads = raw_leads(1, title="Clerk", employees=3, annual_revenue=4.0, technologies="excel")
    found = features(leads, Scoring(), NOON)

    assert found[[*ASKED, "size_gap"]].isna().all(axis=None)


def test_numbers_are_floats_and_categories_are_arrow_text() -> None:
    found = features(raw_leads(2), STATED, NOON)

    assert list(found) == [dimension.name for dimension in DIMENSIONS]
    for dimension in DIMENSIONS:
        is_text = dimension.unit == CATEGORY
        assert str(found[dimension.name].dtype) == ("string[pyarrow]" if is_text else "float64")


COLUMNS = {
    "email": st.sampled_from([None, "info@acme.example", "a@gmail.com"]),
    "title": st.sampled_from([None, "Head of Revenue Operations", "Clerk", ""]),
    "seniority": st.sampled_from([None, *SENIORITIES]),
    "domain": st.sampled_from([None, "gmail.com", "acme.example", "localhost"]),
    "employees": st.none() | st.integers(0, 2**62),
    "annual_revenue": st.none() | st.floats(0, 1e15),
    "technologies": st.sampled_from([None, "hubspot", "excel;word"]),
    "founded_year": st.none() | st.integers(1000, 2200),
    "country": st.sampled_from([None, "NO", "DE"]),
    "visits": st.none() | st.integers(0, 2**62),
    "last_engaged_at": st.none() | st.integers(-9, 9999).map(lambda h: NOON - timedelta(hours=h)),
}


@settings(derandomize=True, deadline=None, max_examples=12)
@given(st.lists(st.fixed_dictionaries(COLUMNS), min_size=1, max_size=6), st.data())
def test_a_lead_has_the_same_values_whoever_else_is_in_the_frame(
    rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    leads = raw_leads(len(rows), **{name: [row[name] for row in rows] for name in COLUMNS})
    places = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
    found = features(leads, STATED, NOON)
    numbers = found.select_dtypes("float64")

    assert not np.isinf(numbers).any(axis=None)
    pd.testing.assert_frame_equal(
        features(leads.iloc[places], STATED, NOON), found.iloc[places], check_exact=True
    )
    for name in (d.name for d in DIMENSIONS if d.unit == YES_OR_NO):
        assert set(found[name].dropna()) <= {0.0, 1.0}


def test_ages_count_from_each_leads_own_instant_if_told_so() -> None:
    then = pd.Timestamp(NOON)
    leads = raw_leads(2, last_engaged_at=then, founded_year=2020)
    own = pd.Series([then + timedelta(days=3), then + timedelta(days=400)])
    found = features(leads, STATED, own)

    assert found["days_since_engagement"].tolist() == [3, 400]
    assert found["company_age"].tolist() == [6, 7]


def test_nobody_has_no_values() -> None:
    assert features(raw_leads(0), STATED, NOON).shape == (0, len(DIMENSIONS))
