"""The anchored logistic: an L2 logistic on bins that leans on the expert's points.

Every bin is an indicator with its own coefficient, pulled towards 0, so that few labels move
little. Two kinds of column are pulled less than a bin alone: the expert's points, and the trend of
a number over its ordered bins, which few labels suffice for. Not here: what bins there are.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.linear_model import LogisticRegression

from aicmo_dagster.domain.scoring.binned import BinnedColumn, Effects
from aicmo_dagster.domain.scoring.binning import Codes
from aicmo_dagster.domain.scoring.model import POINTS

INVERSE_PENALTY = 0.1
"""scikit-learn's C. On X Education 0.03 to 0.3 differ by 0.01 AUC at 50 and at 4,500 labels."""

POINTS_WEIGHT = 6.0
"""The points, in standard deviations, count sixfold: they are penalised a thirty-sixth."""

ITERATIONS = 500

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Term:
    """Coefficients of a column, of which each bin has one with a weight.

    Args:
        column: The position of the column.
        weights: For each bin, the weight of its coefficient.
        places: For each bin, the position of its coefficient among all.
    """

    column: int
    weights: Vector
    places: npt.NDArray[np.int32]


def anchored_effects(
    columns: list[BinnedColumn], labelled: npt.NDArray[np.bool_], labels: npt.NDArray[np.int64]
) -> Effects:
    """The effects of the bins of `columns`, learned from the leads that are `labelled`.

    Args:
        columns: Of n leads; the one of `POINTS` anchors.
        labelled: Shape (n,): whose label is known.
        labels: Their labels in order, 1 for won.
    """
    terms = _terms(columns)
    design = _design(terms, [column.codes[labelled] for column in columns])
    fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=ITERATIONS).fit(design, labels)
    effects = [np.zeros(column.bins.count) for column in columns]
    for term in terms:
        effects[term.column] += term.weights * fitted.coef_[0][term.places]
    return Effects(float(fitted.intercept_[0]), tuple(effects))


def _terms(columns: list[BinnedColumn]) -> list[_Term]:
    terms: list[_Term] = []
    free = 0
    for position, column in enumerate(columns):
        same = np.full(column.bins.count, free, dtype=np.int32)
        if column.dimension.name == POINTS.name:
            weights = _standardised(column, column.means) * POINTS_WEIGHT
            terms.append(_Term(position, weights, same))
            free += 1
            continue
        if column.bins.ordered:
            below = np.cumsum(column.leads) - column.leads / 2
            terms.append(_Term(position, _standardised(column, below), same))
            free += 1
        each = np.arange(free, free + column.bins.count, dtype=np.int32)
        terms.append(_Term(position, np.ones(column.bins.count), each))
        free += column.bins.count
    return terms


def _design(terms: list[_Term], codes: list[Codes]) -> scipy.sparse.csr_array:
    """A row a lead, with one entry for each term: built in place, since it is the most memory."""
    leads, width = len(codes[0]), 1 + max(int(term.places.max()) for term in terms)
    weights = np.empty((leads, len(terms)))
    places = np.empty((leads, len(terms)), dtype=np.int32)
    for entry, term in enumerate(terms):
        weights[:, entry] = term.weights[codes[term.column]]
        places[:, entry] = term.places[codes[term.column]]
    starts = np.arange(0, weights.size + 1, len(terms), dtype=np.int32)
    return scipy.sparse.csr_array((weights.ravel(), places.ravel(), starts), (leads, width))


def _standardised(column: BinnedColumn, values: Vector) -> Vector:
    """`values` of the ordered bins with mean 0 and variance 1 over the leads in them; else 0."""
    leads = column.leads[: column.bins.ordered]
    result = np.zeros(column.bins.count)
    if np.count_nonzero(leads) > 1:
        values = values[: column.bins.ordered]
        values = values - np.average(values, weights=leads)
        result[: column.bins.ordered] = values / np.sqrt(np.average(values**2, weights=leads))
    return result
