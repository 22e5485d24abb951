"""Additive boosting: gradient-boosted trees of one column each, read out as a table a column.

Trees that never mix columns sum to one function a column, and a function of a few bins is a table:
asking the fitted model about every bin alone gives it exactly, through public API. Not here: what
bins there are.
"""

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier

from aicmo_dagster.domain.scoring.binned import BinnedColumn, Effects

ROUNDS = 150
LEAVES = 4
LEARNING_RATE = 0.07
L2 = 5.0

Grid = npt.NDArray[np.float32]


def additive_effects(
    columns: list[BinnedColumn], labelled: npt.NDArray[np.bool_], labels: npt.NDArray[np.int64]
) -> Effects:
    """The effects of the bins of `columns`, learned from the leads that are `labelled`.

    Where the direction of a number is known, its effect never goes the other way.

    Args:
        columns: Of n leads.
        labelled: Shape (n,): whose label is known.
        labels: Their labels in order, 1 for won.
    """
    ordered = [bool(column.bins.ordered) for column in columns]
    booster = HistGradientBoostingClassifier(
        learning_rate=LEARNING_RATE,
        max_iter=ROUNDS,
        max_leaf_nodes=LEAVES,
        l2_regularization=L2,
        interaction_cst="no_interactions",
        categorical_features=[not each for each in ordered],
        monotonic_cst=[
            column.dimension.direction if each else 0
            for column, each in zip(columns, ordered, strict=True)
        ],
        # Stopping early would draw its leads at random; nothing here is drawn.
        early_stopping=False,
        random_state=0,
    )
    seen = [_shown(column, column.codes[labelled]) for column in columns]
    booster.fit(np.stack(seen, axis=1), labels)
    return _read_out(booster, columns)


def _read_out(booster: HistGradientBoostingClassifier, columns: list[BinnedColumn]) -> Effects:
    """What each bin adds to the logit of a lead that is in the first bin of every column."""
    counts = [column.bins.count for column in columns]
    grid: Grid = np.zeros((sum(counts), len(columns)), dtype=np.float32)
    ends = np.cumsum(counts)
    for place, (column, end) in enumerate(zip(columns, ends, strict=True)):
        every = np.arange(column.bins.count, dtype=np.uint8)
        grid[end - column.bins.count : end, place] = _shown(column, every)
    first = float(booster.decision_function(np.zeros((1, len(columns)), dtype=np.float32))[0])
    effects = booster.decision_function(grid) - first
    return Effects(first, tuple(np.split(effects, ends[:-1])))


def _shown(column: BinnedColumn, codes: npt.NDArray[np.uint8]) -> Grid:
    """The codes as the booster sees them: a missing number is NaN, a category its code."""
    shown = codes.astype(np.float32)
    if column.bins.ordered:
        shown[codes == column.bins.count - 1] = np.nan
    return shown
