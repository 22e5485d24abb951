"""A learned model as data, and what it says of leads: one table look-up for each dimension.

A lead's logit is the base plus one contribution a dimension, so the reasons are the score itself.
Contributions are centred on the training leads, which makes them SHAP values of the additive model
(Lundberg and Lee 2017, for independent columns). Not here: how the tables are found (`training`),
how a model is written down (`model_documents`), or words for a lead's reasons.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from aicmo_dagster.domain.scoring.binning import Bins, CategoryBins, codes, missing_codes
from aicmo_dagster.domain.scoring.dimensions import Dimension

Kind = Literal["anchored", "additive"]
Vector = npt.NDArray[np.float64]

POINTS = Dimension(
    name="points",
    family="fit",
    description="The points of the expert scorecard.",
    unit="points",
    direction=1,
)
"""The column that carries the expert's points; a frame to be scored holds it by this name."""

NOTHING_KNOWN = "nothing is known of this lead: the share that is won among all leads"
"""The reason of a lead whose every column is missing."""


@dataclass(frozen=True)
class Table:
    """What one dimension adds to the logit.

    Args:
        dimension: What it says of a lead.
        bins: The cases it tells apart.
        contributions: What each bin adds, centred: the mean over the training leads is 0.
        leads: How many training leads fell in each bin: what drift is measured against.
    """

    dimension: Dimension
    bins: Bins
    contributions: tuple[float, ...]
    leads: tuple[int, ...]

    @property
    def kind(self) -> Literal["number", "category"]:
        """What the column must hold."""
        return "category" if isinstance(self.bins, CategoryBins) else "number"


@dataclass(frozen=True)
class Model:
    """A trained model: nothing but data, complete in itself.

    Args:
        kind: How it was trained.
        tables: One a dimension, in the order of the contributions.
        base: The mean logit of the training leads.
        base_rate: The share won among the labelled training leads.
        shift: What calibration added to every logit.
        score_edges: Edges of bins of the logit before the shift, by training deciles.
        score_leads: How many training leads fell in each of those bins.
        window: First and last arrival, and how many leads, labelled leads, wins it learned from.
        data_hash: SHA-256 of what it learned from.
        metrics: What was measured of it on leads that it did not see.
        provenance: Versions of the code and of the libraries, the seed, the parent of a shift.
    """

    kind: Kind
    tables: tuple[Table, ...]
    base: float
    base_rate: float
    shift: float
    score_edges: tuple[float, ...]
    score_leads: tuple[int, ...]
    window: dict[str, Any]
    data_hash: str
    metrics: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The dimensions in the order of the contributions."""
        return tuple(table.dimension for table in self.tables)


@dataclass(frozen=True)
class Scores:
    """What a model says of n leads by d dimensions; `logit` is `base` plus the contributions.

    Args:
        names: The dimensions, as the columns of `contributions`.
        base: Shape (n,): the model's base with its shift; of a lead that nothing is known of, the
            logit of the base rate with the shift.
        contributions: Shape (n, d), in logits; of a lead that nothing is known of, all 0.
        logit: Shape (n,).
        probability: Shape (n,), 0 to 1.
        nothing_known: Shape (n,): every column but the points is missing; `NOTHING_KNOWN` is the
            reason.
        absent: Dimensions whose column the frame lacks: they counted as missing throughout.
    """

    names: tuple[str, ...]
    base: Vector
    contributions: Vector
    logit: Vector
    probability: Vector
    nothing_known: npt.NDArray[np.bool_]
    absent: tuple[str, ...]


def score(model: Model, columns: pd.DataFrame) -> Scores:
    """What `model` says of the leads of `columns`, in their order.

    The columns are found by the names of the dimensions; others are ignored. A column that is not
    there counts as missing for every lead and is named in `absent`, since sources come and go.
    The same model and columns give the same bits, whatever the frame holds besides.

    Args:
        model: The model.
        columns: One row a lead: numbers (NaN is missing) or Arrow strings, by dimension.

    Raises:
        BadInput: A column holds text where the model learned numbers, or the other way round.
    """
    from scipy.special import expit  # 8 MB, and a server explains few scores of a model

    count = len(columns)
    # A dimension to a row in memory: written and summed without strides.
    parts = np.zeros((len(model.tables), count))
    nothing_known = np.ones(count, dtype=np.bool_)
    for row, table in enumerate(model.tables):
        found = table_codes(table, columns)
        parts[row] = np.asarray(table.contributions)[found]
        if table.dimension.name != POINTS.name:  # which anybody has, if only none
            nothing_known &= found == table.bins.count - 1
    parts[:, nothing_known] = 0.0
    base = np.where(nothing_known, logit_of(model.base_rate), model.base) + model.shift
    logit = _summed(base, parts)
    names = tuple(dimension.name for dimension in model.dimensions)
    absent = tuple(name for name in names if name not in columns)
    return Scores(names, base, parts.T, logit, expit(logit), nothing_known, absent)


def table_codes(table: Table, columns: pd.DataFrame) -> npt.NDArray[np.uint8]:
    """The bin of each lead in `table`; missing throughout where the column is not there."""
    name = table.dimension.name
    if name not in columns:
        return missing_codes(table.bins, len(columns))
    return codes(table.bins, columns[name])


def logit_of(probability: float) -> float:
    """The logit of a probability strictly between 0 and 1."""
    return float(np.log(probability) - np.log1p(-probability))


def _summed(base: Vector, parts: Vector) -> Vector:
    """Added up dimension by dimension: an order of its own would depend on the shape."""
    total = base.copy()
    for part in parts:
        total += part
    return total
