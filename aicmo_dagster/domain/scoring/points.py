"""The rules of the scorecard: the built-in ones, and those that a campaign document writes.

The semantics are HubSpot's: a rule has points at most, its family and the whole score have a cap,
and what a lead did either decays or counts within a time frame, never both. Not here: giving leads
their points (`scorecard`).
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from aicmo_dagster.domain.documents import Section, nearest
from aicmo_dagster.domain.scoring.catalogue import BY_NAME, CATEGORY, SHARE, YES_OR_NO
from aicmo_dagster.domain.scoring.dimensions import CUSTOM

ASKED = {
    "title_match": ("fit", "titles"),
    "seniority_match": ("fit", "seniorities"),
    "industry_match": ("fit", "industries"),
    "size_match": ("fit", "employees"),
    "country_match": ("fit", "countries"),
    "revenue_match": ("budget", "annual_revenue"),
    "technology_match": ("budget", "technologies"),
}
"""Rules that compare with what the campaign states, and where it states that."""

RULES = tuple(name for name, dimension in BY_NAME.items() if dimension.direction >= 0)
"""The dimensions that may earn points: categories, and numbers of which more is not worse. So may
the campaign's own columns, as `custom.<Column>`."""

_FAMILIES = (*dict.fromkeys(BY_NAME[name].family for name in RULES), "custom")
_Points = Annotated[float, Field(ge=-100, le=100)]
_Cap = Annotated[float, Field(ge=0, le=100)]


class PointRule(Section):
    """What one dimension gives at most.

    Args:
        points: For a lead that has all of it; below 0, what it takes away.
        full_at: The value from which on all points are given; fewer below it, in proportion.
        values: The values of a category that earn the points, whatever their case.
        half_life_days: Halves the points each time so many days pass since the last thing done.
        within_days: Gives points only if the last thing was done within so many days.
    """

    points: _Points
    full_at: Annotated[float, Field(gt=0)] | None = None
    values: Annotated[list[str], Field(min_length=1)] | None = None
    half_life_days: PositiveInt | None = None
    within_days: PositiveInt | None = None

    @model_validator(mode="after")
    def _one_ageing(self) -> Self:
        if self.half_life_days is not None and self.within_days is not None:
            raise ValueError("either 'half_life_days' or 'within_days', not both")
        return self


def family_of(name: str) -> str:
    """The family of a rule: its dimension's, or `custom` for a column of the campaign's own."""
    return "custom" if name.startswith(CUSTOM) else BY_NAME[name].family


def _fitting(rules: dict[str, PointRule]) -> dict[str, PointRule]:
    for name, rule in rules.items():
        if not name.startswith(CUSTOM) and name not in RULES:
            allowed = nearest(name, [*RULES, CUSTOM])
            raise ValueError(f"rules for dimensions; instead of {name!r}: {allowed}")
        _check_amount(name, rule)
        if (rule.half_life_days or rule.within_days) and family_of(name) != "engagement":
            raise ValueError(f"no decay or time frame in {name!r}, which is nothing a lead does")
    return rules


def _check_amount(name: str, rule: PointRule) -> None:
    """Raises ValueError unless the rule says, as its dimension needs it, what earns all points."""
    has_full, has_values = rule.full_at is not None, rule.values is not None
    if name.startswith(CUSTOM):
        if has_full == has_values:
            raise ValueError(f"in {name!r} either 'full_at' (a number) or 'values' (a category)")
        return
    unit = BY_NAME[name].unit
    if has_values != (unit == CATEGORY):
        expected = "'values' in" if unit == CATEGORY else "no 'values' in"
        raise ValueError(f"{expected} {name!r}, which is {unit}")
    is_amount = unit not in (SHARE, YES_OR_NO, CATEGORY)
    if has_full and not is_amount:
        raise ValueError(f"no 'full_at' in {name!r}, which is {unit}")
    if is_amount and not has_full:
        raise ValueError(f"a 'full_at' in {name!r}: the {unit} that earn all points")


class Points(Section):
    """A campaign's own scorecard, in place of the built-in one.

    Args:
        rules: Dimension to its points. Only these count.
        families: Family to the most that its rules give together.
        most: The most that all of them give.
    """

    rules: Annotated[dict[str, PointRule], AfterValidator(_fitting), Field(min_length=1)]
    families: dict[Literal[_FAMILIES], _Cap] = Field(default={})  # type: ignore[valid-type]
    most: Annotated[float, Field(gt=0, le=100)] = 100


BUILT_IN = {
    "title_match": PointRule(points=18),
    "seniority_match": PointRule(points=12),
    "industry_match": PointRule(points=10),
    "size_match": PointRule(points=10),
    "country_match": PointRule(points=8),
    "revenue_match": PointRule(points=8),
    "technology_match": PointRule(points=8),
    "recent_engagement": PointRule(points=6),
    "visits": PointRule(points=4, full_at=10),
    "company_known": PointRule(points=3),
    "own_domain": PointRule(points=3),
    "address_known": PointRule(points=4),
    "name_known": PointRule(points=2),
    "title_known": PointRule(points=2),
    "country_known": PointRule(points=2),
}
"""The scorecard of a campaign that writes none. Its points are weights: those of the rules that
count are scaled to 100, so a rule and a family have no more than their share."""
