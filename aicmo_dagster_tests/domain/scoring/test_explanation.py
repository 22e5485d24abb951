from typing import Any

import pytest

from aicmo_dagster.domain.scoring.catalogue import BY_NAME
from aicmo_dagster.domain.scoring.dimensions import Dimension
from aicmo_dagster.domain.scoring.explanation import Explanation, explain_score

POINTS = {"score": 42.0, "scale": "points", "model": "scorecard", "band": "B", "base": None}
CHANCE = {"score": 60.0, "scale": "probability", "model": "ab12", "band": None, "base": -1.5}
HOURS = Dimension("custom.Hours", "custom", "The campaign's own column 'Hours'.", "number")


def explained(parts: dict[str, float], values: dict[str, Any], row: Any = CHANCE) -> Explanation:
    return explain_score(row, parts, {**BY_NAME, HOURS.name: HOURS}, values)


def test_families_hold_the_sums_of_their_contributions() -> None:
    parts = {"title_match": 1.0, "size_match": 0.5, "visits": -0.25, "custom.Hours": 2.0}
    found = explained(parts, {})

    assert found.families == {"fit": 1.5, "engagement": -0.25, "custom": 2.0}
    assert (found.base, found.band, found.score) == (-1.5, None, 60.0)


def test_the_three_strongest_are_told_either_way() -> None:
    parts = dict(zip(BY_NAME, [0.1, 0.4, 0.2, 0.3, -1, -4, -2, -3, 0.001], strict=False))
    found = explained(parts, {})

    assert [reason.contribution for reason in found.raised] == [0.4, 0.3, 0.2]
    assert [reason.contribution for reason in found.lowered] == [-4, -3, -2]
    assert [abs(reason.contribution) for reason in found.contributions] == sorted(
        map(abs, parts.values()), reverse=True
    )


def test_what_weighs_next_to_nothing_is_no_reason() -> None:
    found = explained({"visits": 0.009, "title_match": -0.009}, {})

    assert (found.raised, found.lowered) == ((), ())
    assert len(found.contributions) == 2


WORDS = {
    "title_match": (1.0, "The job title holds one of the campaign's titles: yes"),
    "own_domain": (0.0, "The company's domain is not a free mail provider's: no"),
    "technology_match": (0.5, "The campaign's technologies that the company uses: 50%"),
    "visits": (1234.0, "Visits to our site: 1,234 visits"),
    "size_gap": (
        1.23456,
        "How far the headcount is outside the campaign's bounds: 1.235 doublings",
    ),
    "industry": ("Shipping", "The industry, as written: Shipping"),
    "employees": (float("nan"), "The company's headcount: not known"),
    "custom.Hours": (1385.0, "'Hours' is 1,385"),
}


@pytest.mark.parametrize("name", WORDS)
def test_a_reason_names_the_leads_own_value(name: str) -> None:
    value, text = WORDS[name]

    (reason,) = explained({name: 1.0}, {name: value}).contributions
    assert reason.text == text


def test_a_lead_without_any_reason_is_told_so() -> None:
    assert "share that is won" in explained({}, {}).note
    assert "earns points" in explained({}, {}, POINTS).note
    assert explained({"visits": 1.0}, {}).note == ""


def test_a_dimension_that_is_no_more_is_still_counted() -> None:
    found = explained({"gone": 1.0}, {})

    assert found.families == {"custom": 1.0}
    assert found.contributions[0].text == "a dimension that is no more"
