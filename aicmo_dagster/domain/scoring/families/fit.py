"""How well a lead is what its campaign looks for. What the campaign does not state is unknown."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from aicmo_dagster.domain.scoring.columns import (
    Now,
    Numbers,
    holds_phrase,
    is_within,
    numbers,
    open_ended,
    unknown,
)
from aicmo_dagster.domain.sections.scoring import Scoring


def _size_gap(leads: pd.DataFrame, scoring: Scoring, _: Now) -> Numbers:
    """log2 of how many times the headcount is too large, or too small; 0 within the bounds."""
    if scoring.fit.employees is None:
        return unknown(leads)
    people = np.maximum(numbers(leads, "employees"), 1)
    lower, upper = open_ended(scoring.fit.employees)
    return np.abs(np.log2(people / np.clip(people, max(lower, 1), max(upper, 1))))


MEASURES: dict[str, Callable[[pd.DataFrame, Scoring, Now], Numbers]] = {
    "title_match": lambda leads, scoring, _: holds_phrase(leads, "title", scoring.fit.titles),
    "seniority_match": lambda leads, scoring, _: holds_phrase(
        leads, "seniority", scoring.fit.seniorities
    ),
    "industry_match": lambda leads, scoring, _: holds_phrase(
        leads, "industry", scoring.fit.industries
    ),
    "size_match": lambda leads, scoring, _: is_within(
        numbers(leads, "employees"), scoring.fit.employees
    ),
    "country_match": lambda leads, scoring, _: holds_phrase(
        leads, "country", scoring.fit.countries
    ),
    "size_gap": _size_gap,
}
