"""What the learners take and give: binned columns in, an effect for each bin out. Nothing else."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from aicmo_dagster.domain.scoring.binning import Bins, Codes, as_numbers, codes, fit_bins
from aicmo_dagster.domain.scoring.dimensions import Dimension


@dataclass(frozen=True)
class BinnedColumn:
    """A dimension of n leads.

    Args:
        dimension: What it says of them.
        bins: The cases it tells apart.
        codes: Shape (n,): the bin of each lead.
        leads: How many leads are in each bin.
        means: The mean number in each bin; 0 for one that is empty, missing or a category.
    """

    dimension: Dimension
    bins: Bins
    codes: Codes
    leads: npt.NDArray[np.int64]
    means: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Effects:
    """What a learner found, not yet centred: a logit is the intercept and one effect a column.

    Args:
        intercept: In logits.
        by_column: For each column the effect of each of its bins, in logits.
    """

    intercept: float
    by_column: tuple[npt.NDArray[np.float64], ...]


def binned(dimension: Dimension, values: pd.Series) -> BinnedColumn:
    """The column in bins that fit it."""
    bins = fit_bins(values)
    found = codes(bins, values)
    leads = np.bincount(found, minlength=bins.count)
    means = np.zeros(bins.count)
    if bins.ordered:
        sums = np.bincount(found, as_numbers(values), minlength=bins.count)[: bins.ordered]
        means[: bins.ordered] = sums / np.maximum(leads[: bins.ordered], 1)
    return BinnedColumn(dimension, bins, found, leads, means)
