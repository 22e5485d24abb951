import pytest

from aicmo_dagster.domain.documents import parse_yaml
from aicmo_dagster_tests.domain.documented import EXAMPLE, POINTS, Mistake, assert_refused

REFUSED: dict[str, Mistake] = {
    "a misspelt key": (("scoring", "treshold"), 1, "scoring.treshold", "'threshold'"),
    "text for a number": (("scoring", "threshold"), "60", "scoring.threshold", "number"),
    "a threshold beyond the scale": (("scoring", "threshold"), 101, "scoring.threshold", "100"),
    "a point rule for no dimension": (
        POINTS,
        {"rules": {"titel_match": {"points": 5}}},
        "scoring.points.rules",
        "'title_match'",
    ),
    "a point rule for a category without its values": (
        POINTS,
        {"rules": {"industry": {"points": 5}}},
        "scoring.points.rules",
        "'values' in 'industry'",
    ),
    "a point rule for values of a number": (
        POINTS,
        {"rules": {"visits": {"points": 5, "values": ["9"]}}},
        "scoring.points.rules",
        "no 'values' in 'visits'",
    ),
    "a point rule for a column of the campaign's, of either kind": (
        POINTS,
        {"rules": {"custom.Hours": {"points": 5}}},
        "scoring.points.rules",
        "either 'full_at' (a number) or 'values' (a category)",
    ),
    "both ways of ageing": (
        POINTS,
        {"rules": {"engaged": {"points": 5, "half_life_days": 9, "within_days": 9}}},
        "scoring.points.rules.engaged",
        "not both",
    ),
    "ageing of what nobody does": (
        POINTS,
        {"rules": {"title_match": {"points": 5, "within_days": 9}}},
        "scoring.points.rules",
        "nothing a lead does",
    ),
    "an amount without its measure": (
        POINTS,
        {"rules": {"visits": {"points": 5}}},
        "scoring.points.rules",
        "'full_at'",
    ),
    "a measure of a truth": (
        POINTS,
        {"rules": {"engaged": {"points": 5, "full_at": 2}}},
        "scoring.points.rules",
        "yes or no",
    ),
    "points for what is not stated": (
        ("scoring",),
        {"points": {"rules": {"technology_match": {"points": 5}}}},
        "scoring",
        "'budget.technologies' too",
    ),
    "more points than the scale has": (
        POINTS,
        {"rules": {"engaged": {"points": 101}}},
        "scoring.points.rules.engaged.points",
        "100",
    ),
    "a cap of no family": (
        POINTS,
        {"rules": {"engaged": {"points": 5}}, "families": {"fits": 5}},
        "scoring.points.families.fits",
        "'fit'",
    ),
    "no point rules": (POINTS, {"rules": {}}, "scoring.points.rules", "at least 1"),
    "bounds of three": (("scoring", "fit", "employees"), [1, 2, 3], "scoring.fit.employees", "2"),
    "bounds that fall": (
        ("scoring", "fit", "employees"),
        [500, 51],
        "scoring.fit.employees",
        "lower bound first",
    ),
    "an empty title, which any lead would match": (
        ("scoring", "fit", "titles"),
        [""],
        "scoring.fit.titles[0]",
        "",
    ),
    "a country that is none": (
        ("scoring", "fit", "countries"),
        ["NO", "ZZ"],
        "scoring.fit.countries[1]",
        "ISO 3166",
    ),
    "a seniority that is none": (
        ("scoring", "fit", "seniorities"),
        ["boss"],
        "scoring.fit.seniorities[0]",
        "'owner'",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_refused_with_its_path_and_what_is_allowed(mistake: Mistake) -> None:
    assert_refused(mistake)


def test_norway_is_a_country_and_no_falsehood() -> None:
    document = parse_yaml(EXAMPLE, "x")

    assert document["scoring"]["fit"]["countries"][0] == "NO"
