"""Whether today's leads are still those a model learned from. Not here: moving it (`calibration`).

The population stability index of two samples of n and m leads in B bins follows
chi2(B - 1) * (1/n + 1/m) by chance alone, so the usual 0.1 means nothing for small ones: an alarm
needs both. What it cannot see is a changed share won, so outcomes are held against expectations.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import chi2, norm

from aicmo_dagster.domain.scoring.model import Model, Scores, table_codes
from aicmo_dagster.domain.scoring.ranking import Truths, Vector, Whole

NOTABLE = 0.1
"""The index from which on a change matters."""

CONFIDENCE = 0.999

SCORE = "score"
"""The name under which the drift of the score itself is told."""


@dataclass(frozen=True)
class Drift:
    """How far one column has moved since training.

    Args:
        name: The dimension, or `SCORE`.
        psi: Population stability index, 0 for none.
        by_chance: What it stays under in 999 of 1,000 samples of these sizes without any drift.
        alarm: Whether it matters and chance does not explain it.
    """

    name: str
    psi: float
    by_chance: float
    alarm: bool


def drift(model: Model, columns: pd.DataFrame, scores: Scores) -> tuple[Drift, ...]:
    """How far each dimension, and last the score, has moved since training.

    Args:
        model: The model.
        columns: Today's leads, at least one, as they were scored.
        scores: What `model` said of them.
    """
    found = [
        stability(
            table.dimension.name, table.leads, _counted(table_codes(table, columns), table.leads)
        )
        for table in model.tables
    ]
    bins = np.searchsorted(np.asarray(model.score_edges), scores.logit - model.shift, side="right")
    found.append(stability(SCORE, model.score_leads, _counted(bins, model.score_leads)))
    return tuple(found)


def stability(name: str, then: tuple[int, ...], now: npt.NDArray[np.int64]) -> Drift:
    """The index of two samples in the same bins; half a lead is added to each bin of each."""
    before, after = np.asarray(then, dtype=np.float64), now.astype(np.float64)
    used = (before + after) > 0
    n, m, bins = before.sum(), after.sum(), int(used.sum())
    expected, actual = ((part[used] + 0.5) / (part.sum() + bins / 2) for part in (before, after))
    psi = float(((actual - expected) * np.log(actual / expected)).sum())
    chance = float(chi2.ppf(CONFIDENCE, bins - 1) * (1 / n + 1 / m)) if bins > 1 else 0.0
    return Drift(name, psi, chance, psi > NOTABLE and psi > chance)


def observed_against_expected(probability: Vector, won: Truths, cohort: Whole) -> pd.DataFrame:
    """A row a ripened cohort: `cohort`, `leads`, `observed` and `expected` wins, `error`, `alarm`.

    `error` is the standard error of the wins if every probability were true; the alarm sounds
    where chance explains the distance once in 1,000 cohorts.
    """
    frame = pd.DataFrame(
        {
            "cohort": cohort,
            "leads": 1,
            "observed": won.astype(np.int64),
            "expected": probability,
            "error": probability * (1 - probability),
        }
    )
    summed = frame.groupby("cohort", as_index=False).sum()
    error = np.sqrt(summed["error"])
    bound = float(norm.ppf(1 - (1 - CONFIDENCE) / 2))
    distance = (summed["observed"] - summed["expected"]).abs()
    return summed.assign(error=error, alarm=distance > bound * error)


def _counted(bins: npt.NDArray[np.integer], like: tuple[int, ...]) -> npt.NDArray[np.int64]:
    return np.bincount(bins, minlength=len(like))
