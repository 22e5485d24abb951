"""When leads arrived, and who arrived together. Not here: what is compared within a cohort."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain import quantities
from aicmo_dagster.domain.scoring.columns import Numbers, text

WEEK = 7 * 86_400_000_000  # microseconds
MONDAY = 4 * 86_400_000_000
"""The first Monday after the epoch, which was a Thursday."""

BLOCK = 1000
"""Leads of a cohort where only the order of arrival is known."""

FEWEST = 20
"""Leads below which a cohort says too little of a rank: it joins the one before it."""

Codes = npt.NDArray[np.int64]


def cohorts(leads: pd.DataFrame) -> Codes:
    """The number of each lead's cohort, rising with time.

    A cohort is a week, from Monday in UTC, of the instants in `arrived`; where those are numbers,
    blocks of 1,000 leads in their order; where a lead lacks one, weeks of `first_seen_at`. A cohort
    of fewer than 20 leads joins the one before it, or the next if it is the first.
    """
    if not len(leads):
        return np.array([], np.int64)
    order, counts_time = arrivals(leads)
    if counts_time:
        found = np.floor((order - MONDAY) / WEEK).astype(np.int64)
    else:
        found = (pd.Series(order).rank(method="min").to_numpy() - 1).astype(np.int64) // BLOCK
    return _joined(found)


def arrivals(leads: pd.DataFrame) -> tuple[Numbers, bool]:
    """When each lead arrived, and whether that is microseconds since 1970 or a mere order."""
    if "arrived" in leads and leads["arrived"].notna().all():
        told = text(leads, "arrived")
        numbers = pd.to_numeric(told.to_pandas(), errors="coerce").to_numpy(np.float64)
        if np.isfinite(numbers).all():
            return numbers, False
        instants = quantities.instants(told)
        if not instants.null_count:
            return _microseconds(instants), True
    return _microseconds(text(leads, "first_seen_at")), True


def _microseconds(instants: pyarrow.Array) -> Numbers:
    whole = instants.cast(pyarrow.timestamp("us", tz="UTC")).cast(pyarrow.int64())
    return np.asarray(pc.cast(whole, pyarrow.float64(), safe=False), np.float64)


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
