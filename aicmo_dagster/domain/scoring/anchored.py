"""The anchored logistic: an L2 logistic on bins that leans on the expert's points.

Every bin is an indicator with its own coefficient, pulled towards 0, so that few labels move
little. Two kinds of column are pulled less than a bin alone: the expert's points, and the trend of
a number over its ordered bins, which few labels suffice for. Not here: what bins there are.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.linear_model import LogisticRegression

from aicmo_dagster.domain.scoring.binned import BinnedColumn, Effects
from aicmo_dagster.domain.scoring.dimensions import Dimension

POINTS = Dimension(
    name="points",
    family="fit",
    description="The points of the expert scorecard.",
    unit="points",
    direction=1,
)
"""The column that carries the expert's points; a frame to be scored holds it by this name."""

INVERSE_PENALTY = 0.1
"""scikit-learn's C. On X Education 0.03 to 0.3 differ by 0.01 AUC at 50 and at 4,500 labels."""

POINTS_WEIGHT = 3.0
"""The points, in standard deviations, count threefold: they are penalised a ninth."""

ITERATIONS = 500

Vector = npt.NDArray[np.float64]


def anchored_effects(
    columns: list[BinnedColumn], labelled: npt.NDArray[np.bool_], labels: npt.NDArray[np.int64]
) -> Effects:
    """The effects of the bins of `columns`, learned from the leads that are `labelled`.

    Args:
        columns: Of n leads; the one of `POINTS` anchors.
        labelled: Shape (n,): whose label is known.
        labels: Their labels in order, 1 for won.
    """
    bases = [_basis(column) for column in columns]
    design = scipy.sparse.hstack(
        [basis[column.codes[labelled]] for basis, column in zip(bases, columns, strict=True)],
        format="csr",
    )
    fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=ITERATIONS).fit(design, labels)
    ends = np.cumsum([basis.shape[1] for basis in bases])[:-1]
    coefficients = np.split(fitted.coef_[0], ends)
    effects = [basis @ part for basis, part in zip(bases, coefficients, strict=True)]
    return Effects(float(fitted.intercept_[0]), tuple(effects))


def _basis(column: BinnedColumn) -> scipy.sparse.csr_array:
    """What each bin of the column (a row) contributes to the design."""
    if column.dimension.name == POINTS.name:
        points = _standardised(column, column.means)
        return scipy.sparse.csr_array(points[:, np.newaxis] * POINTS_WEIGHT)
    indicators = scipy.sparse.eye_array(column.bins.count, format="csr")
    if not column.bins.ordered:
        return indicators
    below = np.cumsum(column.leads) - column.leads / 2
    trend = _standardised(column, below)[:, np.newaxis]
    return scipy.sparse.csr_array(scipy.sparse.hstack([indicators, trend]))


def _standardised(column: BinnedColumn, values: Vector) -> Vector:
    """`values` of the ordered bins with mean 0 and variance 1 over the leads in them; else 0."""
    leads = column.leads[: column.bins.ordered]
    result = np.zeros(column.bins.count)
    if np.count_nonzero(leads) > 1:
        values = values[: column.bins.ordered]
        values = values - np.average(values, weights=leads)
        result[: column.bins.ordered] = values / np.sqrt(np.average(values**2, weights=leads))
    return result
