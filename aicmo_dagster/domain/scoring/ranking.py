"""Measures of ranking and calibration that take weights, so that a bootstrap only draws weights.

Leads are sorted once; a replicate is a weight a lead, and costs a few sums. Not here: which figures
are told (`evaluation`) or decided on (`promotion`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]
Measure = Callable[[Vector], float]
"""From weights, shape (n,), to a figure; NaN where it is not defined."""

TOP_SHARE = 0.1
CALIBRATION_BINS = 15

RESAMPLES = 200
FEWEST_RESAMPLES = 50
DRAWS = 10_000_000
"""So many leads at most are drawn in all, unless that makes too few samples."""


@dataclass(frozen=True)
class Ranking:
    """Leads sorted by cohort and value, equal values together in a tie.

    Args:
        order: Shape (n,): the sorted leads.
        won: Shape (n,): who was won, sorted.
        ties: Where each tie starts, ascending.
        first_ties: For each tie, the first tie of its cohort.
        last_ties: For each tie, the last tie of its cohort.
    """

    order: Whole
    won: Truths
    ties: Whole
    first_ties: Whole
    last_ties: Whole

    def auc(self, weights: Vector) -> float:
        """How often a won lead stands above a lost one of its cohort, a tie counting half."""
        won, lost = self._by_tie(weights)
        below = np.cumsum(lost) - lost
        below -= below[self.first_ties]
        all_lost = below[self.last_ties] + lost[self.last_ties]
        pairs = float(won @ all_lost)
        return float(won @ (below + lost / 2)) / pairs if pairs else np.nan

    def lift(self, weights: Vector) -> float:
        """Wins among the best tenth of each cohort, over a tenth of its wins; ties are shared."""
        won, lost = self._by_tie(weights)
        leads = won + lost
        reached = np.cumsum(leads)
        before_cohort = (reached - leads)[self.first_ties]
        size = reached[self.last_ties] - before_cohort
        above = reached[self.last_ties] - reached
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.clip((TOP_SHARE * size - above) / leads, 0.0, 1.0)
        wins = float(won.sum())
        return float(won @ np.nan_to_num(share)) / (TOP_SHARE * wins) if wins else np.nan

    def _by_tie(self, weights: Vector) -> tuple[Vector, Vector]:
        """Weight of the won and of the lost leads in each tie."""
        weights = weights[self.order]
        won = np.add.reduceat(np.where(self.won, weights, 0.0), self.ties)
        return won, np.add.reduceat(np.where(self.won, 0.0, weights), self.ties)


@dataclass(frozen=True)
class Calibration:
    """Probabilities beside outcomes, in bins of equal mass in each cohort.

    Args:
        probability: Shape (n,).
        won: Shape (n,).
        bins: Shape (n,): the bin of each lead; equal probabilities share one.
    """

    probability: Vector
    won: Truths
    bins: Whole

    def brier(self, weights: Vector) -> float:
        """Mean squared error."""
        return float(np.average((self.probability - self.won) ** 2, weights=weights))

    def ece(self, weights: Vector) -> float:
        """Mean distance of expected and observed share won, by bin (Naeini et al. 2015)."""
        gap = np.bincount(self.bins, weights * (self.probability - self.won))
        return float(np.abs(gap).sum() / weights.sum())


def ranked(values: Vector, won: Truths, cohort: Whole) -> Ranking:
    """The leads sorted for the measures; n must not be 0."""
    order = np.lexsort((values, cohort))
    sorted_values, sorted_cohort = values[order], cohort[order]
    new_cohort = np.diff(sorted_cohort, prepend=sorted_cohort[0] - 1) != 0
    new_tie = new_cohort | (np.diff(sorted_values, prepend=np.nan) != 0)
    ties = np.flatnonzero(new_tie)
    starts = np.flatnonzero(new_cohort[ties])
    cohorts = np.cumsum(new_cohort[ties]) - 1
    ends = np.append(starts[1:], len(ties)) - 1
    return Ranking(order, won[order], ties, starts[cohorts], ends[cohorts])


def calibrated(probability: Vector, won: Truths, cohort: Whole) -> Calibration:
    """The leads in 15 bins of equal mass in each cohort; n must not be 0."""
    sorting = ranked(probability, won, cohort)
    leads = np.diff(np.append(sorting.ties, len(won)))
    before = sorting.ties - sorting.ties[sorting.first_ties]
    size = sorting.ties[sorting.last_ties] + leads[sorting.last_ties]
    size = size - sorting.ties[sorting.first_ties]
    by_tie = sorting.first_ties * CALIBRATION_BINS + before * CALIBRATION_BINS // size
    numbered = np.unique(by_tie, return_inverse=True)[1]
    bins = np.empty(len(won), dtype=np.int64)
    bins[sorting.order] = np.repeat(numbered, leads)
    return Calibration(probability, won, bins)


def resamples(count: int, seed: int) -> Iterator[Vector]:
    """Weights of bootstrap samples: how often each of `count` leads was drawn with replacement.

    There are 200 samples, and fewer, to 50, of more than 50,000 leads, whose intervals are narrow.
    """
    draw = np.random.default_rng(seed)
    for _ in range(max(FEWEST_RESAMPLES, min(RESAMPLES, DRAWS // count))):
        yield np.bincount(draw.integers(0, count, count), minlength=count).astype(np.float64)
