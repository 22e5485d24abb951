"""Training: from a history to a model. Not here: the two learners, or whether a model is better.

Two kinds, both sums of one table a dimension. The anchored logistic (`anchored`) works from 50 wins
and 50 losses on, since it leans on the expert's points; additive boosting (`additive`) challenges
it from 1,000 labels on. Training draws nothing and keeps to one thread: the same history gives the
same model, bit for bit.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import scipy
import sklearn
from threadpoolctl import threadpool_limits

from aicmo_dagster.domain.scoring.additive import additive_effects
from aicmo_dagster.domain.scoring.anchored import anchored_effects
from aicmo_dagster.domain.scoring.binned import BinnedColumn, Effects, binned
from aicmo_dagster.domain.scoring.history import History
from aicmo_dagster.domain.scoring.model import POINTS, Kind, Model, Table
from aicmo_dagster.errors import AicmoError

Vector = npt.NDArray[np.float64]

LEAST_WINS = 50
LEAST_LOSSES = 50
"""Evidence from which on a model is worth training at all."""

CHALLENGER_LABELS = 1_000
"""Evidence from which on additive boosting draws level with the anchored logistic."""


def kinds_worth_training(history: History) -> tuple[Kind, ...]:
    """The kinds of model that there is evidence for in the labels, the simplest first."""
    won = int(history.labels.sum())
    lost = len(history.labels) - won
    if won < LEAST_WINS or lost < LEAST_LOSSES:
        return ()
    return ("anchored", "additive") if won + lost >= CHALLENGER_LABELS else ("anchored",)


def train(history: History, kind: Kind, *, code_version: str) -> Model:
    """A model of `kind` that has learned from all of `history`; its metrics are empty.

    Bins, and what contributions are centred on, come from every lead; the labels only from those
    that have one. A dimension in which all leads are alike is left out of the model.

    Args:
        history: The leads; columns that leak must be out of its dimensions.
        kind: "anchored" carries the points as one more dimension, `POINTS`; "additive" does not.
        code_version: Of this program, for the record.

    Raises:
        AicmoError: There are not both wins and losses, or no dimension tells leads apart.
        BadInput: A column holds neither numbers nor text.
    """
    labels = history.labels
    if not 0 < labels.sum() < len(labels):
        raise AicmoError("a model needs both won and lost leads; wait until outcomes have ripened")
    columns = _columns(history, kind)
    if all(column.dimension == POINTS for column in columns):
        raise AicmoError("no dimension tells the leads apart; there is nothing to learn from")
    learn = additive_effects if kind == "additive" else anchored_effects
    with threadpool_limits(limits=1):
        effects = learn(columns, history.labelled, labels)
    return _model(history, kind, columns, effects, code_version)


def with_points(columns: pd.DataFrame, points: Vector | None) -> pd.DataFrame:
    """The columns with the expert's points among them, as an anchored model scores them."""
    return columns if points is None else columns.assign(**{POINTS.name: points})


def _columns(history: History, kind: Kind) -> list[BinnedColumn]:
    """The columns to learn from, binned, without those in which all leads are alike."""
    dimensions = [*history.dimensions]
    frame = history.columns
    if kind == "anchored" and history.points is not None:
        dimensions.append(POINTS)
        frame = with_points(frame, history.points)
    columns = [binned(dimension, frame[dimension.name]) for dimension in dimensions]
    return [column for column in columns if np.count_nonzero(column.leads) > 1]


def _model(
    history: History, kind: Kind, columns: list[BinnedColumn], effects: Effects, code_version: str
) -> Model:
    """The effects centred on the leads, with all that a model says of itself."""
    means = [
        float(np.average(effect, weights=column.leads))
        for column, effect in zip(columns, effects.by_column, strict=True)
    ]
    tables = tuple(
        _table(column, effect - mean)
        for column, effect, mean in zip(columns, effects.by_column, means, strict=True)
    )
    edges, leads = _score_bins(base := effects.intercept + sum(means), tables, columns)
    return Model(
        kind=kind,
        tables=tables,
        base=base,
        base_rate=float(history.labels.mean()),
        shift=0.0,
        score_edges=edges,
        score_leads=leads,
        window=history.window(),
        data_hash=history.content_hash(),
        metrics={},
        provenance={"code": code_version, "libraries": _libraries()},
    )


def _table(column: BinnedColumn, effect: Vector) -> Table:
    """The column's table; a bin that no lead was in says nothing."""
    contributions = np.where(column.leads > 0, effect, 0.0)
    return Table(
        column.dimension,
        column.bins,
        tuple(contributions.tolist()),
        tuple(column.leads.tolist()),
    )


def _score_bins(
    base: float, tables: tuple[Table, ...], columns: list[BinnedColumn]
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Deciles of the logit over the leads, and how many leads each holds."""
    logits = np.full(len(columns[0].codes), base)
    for table, column in zip(tables, columns, strict=True):
        logits += np.asarray(table.contributions)[column.codes]
    edges = np.unique(np.quantile(logits, np.arange(1, 10) / 10))
    leads = np.bincount(np.searchsorted(edges, logits, side="right"), minlength=len(edges) + 1)
    return tuple(edges.tolist()), tuple(leads.tolist())


def _libraries() -> dict[str, str]:
    modules = (np, pd, pyarrow, scipy, sklearn)
    return {module.__name__: module.__version__ for module in modules}
