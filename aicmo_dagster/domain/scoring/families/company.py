"""What a lead's company is."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.addresses import FREE_MAIL
from aicmo_dagster.domain.scoring.columns import (
    Now,
    Numbers,
    Values,
    as_numbers,
    known,
    numbers,
    over_distinct,
    text,
)
from aicmo_dagster.domain.sections.scoring import Scoring


def _own_domain(leads: pd.DataFrame, _: Scoring, __: Now) -> Numbers:
    domains = text(leads, "domain")
    free = pc.is_in(domains, value_set=pyarrow.array(FREE_MAIL))
    return np.where(known(leads, "domain") > 0, 1 - as_numbers(free), np.nan)


def _company_age(leads: pd.DataFrame, _: Scoring, now: Now) -> Numbers:
    year = now.dt.year.to_numpy(np.float64) if isinstance(now, pd.Series) else now.year
    return np.maximum(year - numbers(leads, "founded_year"), 0)


def _top_level_domain(leads: pd.DataFrame, _: Scoring, __: Now) -> Values:
    last = r"(?P<last>[^.]+)$"
    return over_distinct(
        text(leads, "domain"), lambda texts: pc.extract_regex(texts, last).field("last")
    )


MEASURES: dict[str, Callable[[pd.DataFrame, Scoring, Now], Values]] = {
    "company_known": lambda leads, _, __: known(leads, "company"),
    "own_domain": _own_domain,
    "employees": lambda leads, _, __: numbers(leads, "employees"),
    "company_age": _company_age,
    "industry": lambda leads, _, __: text(leads, "industry"),
    "country": lambda leads, _, __: text(leads, "country"),
    "city": lambda leads, _, __: text(leads, "city"),
    "top_level_domain": _top_level_domain,
}
