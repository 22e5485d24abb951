"""When leads arrived, and who is ranked together. Not here: splits by arrival (`history`)."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow

from aicmo_dagster.domain import quantities
from aicmo_dagster.domain.scoring import history
from aicmo_dagster.domain.scoring.columns import text

FEWEST = 20
"""Leads below which a cohort says too little of a rank: it joins the one before it."""

Codes = npt.NDArray[np.int64]


def arrivals(leads: pd.DataFrame) -> pd.Series:
    """When each lead arrived: the instants in `arrived`; or, if those are numbers, its order.

    Where a lead lacks one that can be read, the instants of all are `first_seen_at`.
    """
    if "arrived" in leads and leads["arrived"].notna().all():
        told = text(leads, "arrived")
        # Where the first is no number, not all of them are.
        if np.isfinite(_numbers(told[:1])).all() and np.isfinite(numbers := _numbers(told)).all():
            return pd.Series(numbers, leads.index)
        instants = quantities.instants(told)
        if not instants.null_count:
            return _series(instants, leads)
    return _series(text(leads, "first_seen_at"), leads)


def rank_cohorts(leads: pd.DataFrame) -> Codes:
    """The number of the cohort that each lead is ranked in, rising with time.

    A cohort is a week, or 1,000 leads where only the order of arrival is known. One of fewer than
    20 leads joins the one before it, or the next if it is the first.
    """
    return _joined(history.cohorts(arrivals(leads)))


def _numbers(told: pyarrow.Array) -> npt.NDArray[np.float64]:
    """The numbers that are told, NaN where the text is none."""
    return pd.to_numeric(told.to_pandas(), errors="coerce").to_numpy(np.float64)


def _series(instants: pyarrow.Array, leads: pd.DataFrame) -> pd.Series:
    # Not Arrow's own instants, which pandas converts one by one.
    return pd.Series(instants.to_pandas().array, leads.index)


def _joined(found: Codes) -> Codes:
    """`found`, small ones joined, counted from 0."""
    values, places, sizes = np.unique(found, return_inverse=True, return_counts=True)
    targets = np.zeros(len(values), np.int64)
    target, held = 0, 0
    for position, size in enumerate(sizes.tolist()):
        if held >= FEWEST and size >= FEWEST:
            target, held = target + 1, 0
        targets[position] = target
        held += size
    return targets[places]
