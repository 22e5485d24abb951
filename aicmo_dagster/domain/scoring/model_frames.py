"""The frames between a campaign's leads and its model: what it learns from, what it scores.

Not here: what a dimension is (`features`, `custom`), or learning (`learning`).
"""

from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.domain.scoring import history as histories
from aicmo_dagster.domain.scoring import scorecard
from aicmo_dagster.domain.scoring.answers import either, ripened_answers
from aicmo_dagster.domain.scoring.bands import bands
from aicmo_dagster.domain.scoring.catalogue import BY_NAME, DIMENSIONS
from aicmo_dagster.domain.scoring.cohorts import arrivals, rank_cohorts
from aicmo_dagster.domain.scoring.columns import Now, Numbers
from aicmo_dagster.domain.scoring.contributions import as_json
from aicmo_dagster.domain.scoring.custom import custom_columns, custom_dimensions
from aicmo_dagster.domain.scoring.features import features
from aicmo_dagster.domain.scoring.history import History
from aicmo_dagster.domain.scoring.model import Model, Scores
from aicmo_dagster.domain.sections.scoring import Scoring

POINTS = "points"
"""The dimension by which an anchored model knows the points of the scorecard."""

DECIMALS = 4
"""Of a score in percent, as of points: it is read by people."""

ALWAYS_KNOWN = frozenset(
    {"completeness", "source"} | {name for name in BY_NAME if name.endswith("_known")}
)
"""Dimensions that every lead has, since they say what is known of it and not what it is."""


def history_of(
    leads: pd.DataFrame, scoring: Scoring, now: datetime, answers: pd.DataFrame | None = None
) -> History:
    """The leads as they were when they arrived, and what became of them.

    Ages count from each lead's arrival, and what it did after that is not known yet. Visits and the
    campaign's own columns are as its source gave them, which may be later: the leak guard looks at
    those. Where only an order of arrival is known, ages count from the first harvest.

    Args:
        leads: A `RawLeads` frame.
        scoring: The scoring section of the campaign.
        now: The instant of asking, for outcomes that have not ripened.
        answers: See `answers.ripened_answers`; None where no answer counts as won.
    """
    arrival = arrivals(leads)
    instants = arrival if histories.is_instant(arrival) else None
    then = leads["first_seen_at"] if instants is None else instants
    known = leads.assign(last_engaged_at=_not_after(leads["last_engaged_at"], then))
    own = custom_columns(known)
    columns = _blanked(pd.concat([features(known, scoring, then), own], axis=1))
    return History(
        columns=columns,
        dimensions=(*DIMENSIONS, *custom_dimensions(own)),
        won=_labels(leads, scoring, now, instants, answers),
        arrival=arrival,
        points=_total_points(known, scoring, then),
        points_from=tuple(scorecard.counted_rules(scoring)),
    )


def _labels(
    leads: pd.DataFrame,
    scoring: Scoring,
    now: datetime,
    instants: pd.Series | None,
    answers: pd.DataFrame | None,
) -> pd.Series:
    """Who was won, by what the campaign says counts."""
    days = scoring.horizon_days
    known = leads["won"] if "outcome" in scoring.won_by else leads["won"].mask(leads["won"].notna())
    by_source = histories.ripened(
        known, arrived_at=instants, won_at=leads["won_at"], now=now, horizon_days=days
    )
    if answers is None:
        return by_source
    arrived_at = leads["first_seen_at"] if instants is None else instants
    by_answer = ripened_answers(leads, answers, arrived_at=arrived_at, now=now, horizon_days=days)
    return either(by_source, by_answer)


def model_columns(
    model: Model, leads: pd.DataFrame, scoring: Scoring, now: datetime
) -> pd.DataFrame:
    """The columns that `model` looks at, for `leads` as they are at `now`.

    A lead of whom no more is known than which of its fields are empty has no value in any of them.
    """
    like = {
        table.dimension.name: table.kind
        for table in model.tables
        if table.dimension.family == "custom"
    }
    own = custom_columns(leads, like)
    # Never copied as a whole: of a million leads that takes a quarter of a second each time.
    columns = dict(features(leads, scoring, now).items()) | dict(own.items())
    known = _blanked(pd.DataFrame(columns, index=leads.index, copy=False))
    points = pd.Series(_total_points(leads, scoring, now), known.index)
    told = dict(known.items()) | {POINTS: points.mask(known["completeness"].isna())}
    wanted = {dimension.name for dimension in model.dimensions}
    chosen = {name: column for name, column in told.items() if name in wanted}
    return pd.DataFrame(chosen, index=known.index, copy=False)


def with_own_points(history: History) -> pd.DataFrame:
    """The columns of `history` with its points among them, as a model scores them."""
    return history.columns.assign(**{POINTS: history.points})


def arrived_since(model: Model, arrival: pd.Series) -> npt.NDArray[np.bool_]:
    """Which leads arrived after the latest that `model` was measured on, or learned from."""
    last = model.metrics.get("test_window", model.window)["last_arrival"]
    if last is None or isinstance(last, str) != histories.is_instant(arrival):
        return np.zeros(len(arrival), dtype=np.bool_)
    order = histories.arrival_order(arrival)
    limit = pd.Timestamp(last).value // 1000 if isinstance(last, str) else float(last)
    return order > limit


def scored_by_model(leads: pd.DataFrame, scores: Scores, version: str) -> pd.DataFrame:
    """The `ScoredLeads` frame of what a model says: 100 times the probability, reasons in logits.

    Base and contributions sum to the logit, of which the score is rounded to four decimals.

    Args:
        leads: A `RawLeads` frame.
        scores: What the model says of them, in their order.
        version: The model's.
    """
    percent = np.round(100 * scores.probability, DECIMALS)
    columns = {
        "lead_id": leads["lead_id"],
        "score": percent,
        "band": bands(percent, rank_cohorts(leads)),
        "scale": "probability",
        "model": version,
        "base": scores.base,
        "contributions": as_json(scores.names, scores.contributions.T),
    }
    return typed("scored_leads", columns)


def _blanked(columns: pd.DataFrame) -> pd.DataFrame:
    """`columns` without a value where all that is known of a lead is what is not known of it."""
    nothing = pd.Series(True, columns.index)
    for name in columns:
        if name not in ALWAYS_KNOWN:
            nothing &= columns[name].isna()
            if not nothing.any():  # after a few columns, mostly
                return columns
    return columns.mask(nothing)


def _not_after(instants: pd.Series, limits: pd.Series) -> pd.Series:
    """`instants` without those after `limits`."""
    late = instants.astype("datetime64[us, UTC]") > limits.astype("datetime64[us, UTC]")
    return instants.mask(late)


def _total_points(leads: pd.DataFrame, scoring: Scoring, now: Now) -> Numbers:
    return scorecard.points(leads, scoring, now)[1].sum(axis=0)
