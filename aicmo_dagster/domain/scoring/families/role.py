"""What a lead does at its company, and how high up."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.schemas import SENIORITIES
from aicmo_dagster.domain.scoring.columns import (
    Now,
    Numbers,
    Values,
    as_numbers,
    over_distinct,
    text,
)
from aicmo_dagster.domain.sections.scoring import Scoring

DECIDERS = SENIORITIES[: SENIORITIES.index("director") + 1]


def _seniority_rank(leads: pd.DataFrame, _: Scoring, __: Now) -> Numbers:
    place = pc.index_in(text(leads, "seniority"), value_set=pyarrow.array(SENIORITIES))
    return len(SENIORITIES) - 1 - as_numbers(place)


def _decides(leads: pd.DataFrame, scoring: Scoring, now: Now) -> Numbers:
    rank = _seniority_rank(leads, scoring, now)
    return np.where(np.isnan(rank), np.nan, rank >= len(SENIORITIES) - len(DECIDERS))


def _title_words(leads: pd.DataFrame, _: Scoring, __: Now) -> Numbers:
    words = over_distinct(
        text(leads, "title"),
        lambda texts: pc.count_substring_regex(texts, pattern=r"[\pL\pN]+"),
    )
    return as_numbers(words)


MEASURES: dict[str, Callable[[pd.DataFrame, Scoring, Now], Values]] = {
    "title": lambda leads, _, __: text(leads, "title"),
    "title_words": _title_words,
    "department": lambda leads, _, __: text(leads, "department"),
    "seniority_rank": _seniority_rank,
    "decides": _decides,
}
