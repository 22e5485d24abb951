"""What tells that a company can pay."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from aicmo_dagster.domain.scoring.columns import (
    Now,
    Numbers,
    as_numbers,
    holds_phrase,
    is_within,
    numbers,
    over_distinct,
    text,
    unknown,
)
from aicmo_dagster.domain.sections.scoring import Scoring


def _technology_match(leads: pd.DataFrame, scoring: Scoring, _: Now) -> Numbers:
    asked = scoring.budget.technologies
    if not asked:
        return unknown(leads)
    return np.mean([holds_phrase(leads, "technologies", [name]) for name in asked], axis=0)


def _revenue_per_employee(leads: pd.DataFrame, _: Scoring, __: Now) -> Numbers:
    people = numbers(leads, "employees")
    return numbers(leads, "annual_revenue") / np.where(people > 0, people, np.nan)


def _technologies_used(leads: pd.DataFrame, _: Scoring, __: Now) -> Numbers:
    separators = over_distinct(
        text(leads, "technologies"), lambda texts: pc.count_substring(texts, pattern=";")
    )
    return as_numbers(separators) + 1


MEASURES: dict[str, Callable[[pd.DataFrame, Scoring, Now], Numbers]] = {
    "revenue_match": lambda leads, scoring, _: is_within(
        numbers(leads, "annual_revenue"), scoring.budget.annual_revenue
    ),
    "technology_match": _technology_match,
    "annual_revenue": lambda leads, _, __: numbers(leads, "annual_revenue"),
    "revenue_per_employee": _revenue_per_employee,
    "technologies_used": _technologies_used,
}
