"""Leads as dimensions of the score: one column each, measured for all leads at once.

A lead's values depend on nothing but the lead, its campaign's `scoring` section and the instant.
Not here: a campaign's own columns (`custom`), points (`scorecard`), learning.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from aicmo_dagster.domain.scoring.catalogue import DIMENSIONS
from aicmo_dagster.domain.scoring.columns import Now, Numbers
from aicmo_dagster.domain.scoring.families import (
    budget,
    company,
    data_quality,
    engagement,
    fit,
    role,
)
from aicmo_dagster.domain.sections.scoring import Scoring

_MEASURES = {
    **fit.MEASURES,
    **budget.MEASURES,
    **company.MEASURES,
    **role.MEASURES,
    **engagement.MEASURES,
    **data_quality.MEASURES,
}

NAMES = tuple(dimension.name for dimension in DIMENSIONS)


def features(
    leads: pd.DataFrame, scoring: Scoring, now: Now, names: Iterable[str] = NAMES
) -> pd.DataFrame:
    """One column a dimension, in the order and with the index of `leads`.

    Args:
        leads: A `RawLeads` frame, or its columns that the dimensions look at.
        scoring: The scoring section of the campaign.
        now: The instant that ages count from: one for all, or a series of each lead's own.
        names: The dimensions wanted, of `catalogue.DIMENSIONS`.

    Returns:
        float64 with NaN for what is not known; categories as Arrow text.
    """
    columns = {name: _MEASURES[name](leads, scoring, now) for name in names}
    shown = {
        name: values if isinstance(values, np.ndarray) else pd.arrays.ArrowExtensionArray(values)
        for name, values in columns.items()
    }
    return pd.DataFrame(shown, index=leads.index, copy=False)


def measured(leads: pd.DataFrame, scoring: Scoring, now: Now, name: str) -> Numbers:
    """One dimension that is a number."""
    values = _MEASURES[name](leads, scoring, now)
    assert isinstance(values, np.ndarray), name
    return values
