"""How good a score was: ranking and calibration, pooled and within arrival cohorts.

A pooled AUC also rewards knowing when a lead came, where the share won drifts; within a cohort only
who it is counts. So both are told, each with an interval: percentiles of a bootstrap over leads.
Not here: the measures (`ranking`), or whether one score is better than another (`promotion`).
"""

from dataclasses import dataclass

import numpy as np

from aicmo_dagster.domain.scoring.ranking import (
    Measure,
    Truths,
    Vector,
    Whole,
    calibrated,
    ranked,
    resamples,
)

INTERVAL = (2.5, 97.5)
"""Percentiles of the replicates: a 95 % interval."""


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval; NaN where it is not defined, as without any win."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """What a score was worth on n leads whose outcome is known.

    Args:
        leads: n.
        won: How many were won.
        auc: How often a won lead stood above a lost one, ties counting half.
        lift: Share won in the best tenth, over the share won in all.
        auc_within: As `auc`, over pairs of the same cohort only.
        lift_within: As `lift`, of the best tenth of each cohort.
        brier: Mean squared error of the probability; None for points.
        ece: Mean distance of expected and observed share won over 15 bins of equal mass; None for
            points.
        ece_within: As `ece`, with 15 bins in each cohort; large by chance alone in small ones.
    """

    leads: int
    won: int
    auc: Figure
    lift: Figure
    auc_within: Figure
    lift_within: Figure
    brier: Figure | None
    ece: Figure | None
    ece_within: Figure | None

    def as_data(self) -> dict[str, object]:
        """For JSON: each figure as [value, low, high], None where it is not defined."""
        return {
            name: _figure_data(each) if isinstance(each, Figure) else each
            for name, each in vars(self).items()
        }


def evaluate(
    values: Vector,
    won: Truths,
    cohort: Whole,
    *,
    seed: int,
    probability: Vector | None = None,
) -> Evaluation:
    """What a score was worth.

    Args:
        values: What ranks the leads, shape (n,), n at least 1: points or logits.
        won: Shape (n,): the known outcomes.
        cohort: Shape (n,): the arrival cohort of each.
        seed: Of the bootstrap.
        probability: Shape (n,), where the score claims one.
    """
    alone = np.zeros(len(won), dtype=np.int64)
    pooled, within = ranked(values, won, alone), ranked(values, won, cohort)
    measures: dict[str, Measure] = {
        "auc": pooled.auc,
        "lift": pooled.lift,
        "auc_within": within.auc,
        "lift_within": within.lift,
    }
    if probability is not None:
        calibration = calibrated(probability, won, alone)
        measures |= {"brier": calibration.brier, "ece": calibration.ece}
        measures["ece_within"] = calibrated(probability, won, cohort).ece
    figures: dict[str, Figure | None] = dict.fromkeys(("brier", "ece", "ece_within"))
    figures |= _figures(measures, len(won), seed)
    return Evaluation(leads=len(won), won=int(won.sum()), **figures)  # type: ignore[arg-type]


def _figures(measures: dict[str, Measure], count: int, seed: int) -> dict[str, Figure]:
    drawn = np.array(
        [[measure(weights) for measure in measures.values()] for weights in resamples(count, seed)]
    )
    everyone = np.ones(count)
    figures = {}
    for (name, measure), column in zip(measures.items(), drawn.T, strict=True):
        defined = column[~np.isnan(column)]
        low, high = np.percentile(defined, INTERVAL) if len(defined) else (np.nan, np.nan)
        figures[name] = Figure(measure(everyone), float(low), float(high))
    return figures


def _figure_data(figure: Figure) -> list[float] | None:
    data = [figure.value, figure.low, figure.high]
    return None if np.isnan(data).any() else data
