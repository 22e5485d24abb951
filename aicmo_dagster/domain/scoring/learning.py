"""From a history to a verdict: guard, split, train, evaluate, judge. Not here: any of these.

What is promoted is the very model that was measured: it is not trained again on the leads that it
was measured on, so its figures are its own.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np

from aicmo_dagster.domain.scoring.calibration import recalibrated
from aicmo_dagster.domain.scoring.evaluation import Evaluation, evaluate
from aicmo_dagster.domain.scoring.history import (
    History,
    cohorts,
    is_instant,
    time_split,
)
from aicmo_dagster.domain.scoring.leaks import Finding, find_leaks, left_out
from aicmo_dagster.domain.scoring.model import Kind, Model, score
from aicmo_dagster.domain.scoring.promotion import Verdict, judge
from aicmo_dagster.domain.scoring.ranking import Truths, Vector, Whole
from aicmo_dagster.domain.scoring.training import (
    LEAST_LOSSES,
    LEAST_WINS,
    kinds_worth_training,
    train,
    with_points,
)

LATEST_SHARE = 0.2
"""Of the training leads: where the share won is the nearest to that of the leads to come."""


@dataclass(frozen=True)
class Candidate:
    """A trained model, which holds its figures, and the same figures to be shown."""

    model: Model
    evaluation: Evaluation


@dataclass(frozen=True)
class Learned:
    """What came of learning.

    Args:
        findings: Columns that may leak, vouched for or not.
        left_out: Dimensions that were not learned from.
        candidates: Every model trained, the simplest first; none without the evidence.
        best: The candidate that was judged: a challenger only if it is ahead of the simpler one.
        verdict: Whether `best` takes the incumbent's place, and why.
    """

    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    best: Candidate | None
    verdict: Verdict

    @property
    def promoted(self) -> Model | None:
        """The model that takes the incumbent's place, if any."""
        return self.best.model if self.best and self.verdict.promoted else None


@dataclass(frozen=True)
class _Test:
    """The leads that are judged on."""

    history: History
    won: Truths
    cohort: Whole
    seed: int

    def values(self, model: Model | None) -> Vector:
        """How `model`, or without one the scorecard, ranks the leads; alike without both."""
        points = self.history.points
        if model is not None:
            return score(model, with_points(self.history.columns, points)).logit
        return np.zeros(len(self.won)) if points is None else points

    def judge(self, candidate: Model, incumbent: Model | None) -> Verdict:
        return judge(
            self.values(candidate), self.values(incumbent), self.won, self.cohort, seed=self.seed
        )


def learn(
    history: History,
    *,
    known_at_capture: list[str],
    ignore: list[str],
    incumbent: Model | None,
    embargo: timedelta,
    seed: int,
    code_version: str,
) -> Learned:
    """What there is to learn from `history`, and whether it should score from now on.

    Args:
        history: The campaign's leads with ripened labels.
        known_at_capture: Columns that a person vouches for.
        ignore: Columns that a person does not want to be learned from.
        incumbent: The model in use; None for the scorecard's points.
        embargo: Between training and test: the horizon of the labels.
        seed: Of the bootstraps.
        code_version: Of this program, for the record.
    """
    arrived_at = history.arrival if is_instant(history.arrival) else None
    findings = find_leaks(history.columns, history.dimensions, history.won, arrived_at)
    unused = left_out(history.dimensions, findings, known_at_capture, ignore)
    allowed = history.without(unused)
    split = time_split(allowed, embargo=embargo)
    past, newest = _past(allowed.part(split.train), unused), allowed.part(split.test)
    kinds = kinds_worth_training(past)
    if not kinds:
        return Learned(findings, unused, (), None, _too_early(past))
    test = _Test(newest, newest.labels.astype(np.bool_), cohorts(newest.arrival), seed)
    models = (_trained(past, kind, code_version) for kind in kinds)
    candidates = tuple(_candidate(model, test, unused) for model in models)
    best = _best(candidates, test)
    return Learned(findings, unused, candidates, best, test.judge(best.model, incumbent))


def _past(leads: History, unused: tuple[str, ...]) -> History:
    """What is learned from: not points that are given for a column that is left out."""
    tells = set(leads.points_from) & set(unused)
    return replace(leads, points=None) if tells else leads


def _trained(past: History, kind: Kind, code_version: str) -> Model:
    """Learned from all of `past`, its intercept moved to the share won in the latest of it."""
    model = train(past, kind, code_version=code_version)
    latest = past.latest(LATEST_SHARE)
    columns = with_points(latest.columns, latest.points)
    return recalibrated(model, columns, latest.labels.astype(np.bool_))


def _candidate(model: Model, test: _Test, unused: tuple[str, ...]) -> Candidate:
    """The model with its figures on the leads that it did not see."""
    scores = score(model, with_points(test.history.columns, test.history.points))
    evaluation = evaluate(
        scores.logit, test.won, test.cohort, seed=test.seed, probability=scores.probability
    )
    metrics: dict[str, Any] = {
        "test": evaluation.as_data(),
        "test_window": test.history.window(),
        "left_out": list(unused),
        "seed": test.seed,
    }
    return Candidate(replace(model, metrics=metrics), evaluation)


def _best(candidates: tuple[Candidate, ...], test: _Test) -> Candidate:
    """The simplest, unless a challenger is ahead of it as one must be to replace an incumbent."""
    best = candidates[0]
    for challenger in candidates[1:]:
        if test.judge(challenger.model, best.model).promoted:
            best = challenger
    return best


def _too_early(past: History) -> Verdict:
    won = int(past.labels.sum())
    reason = (
        f"{won} won and {len(past.labels) - won} lost leads to learn from; it takes"
        f" {LEAST_WINS} won and {LEAST_LOSSES} lost"
    )
    return Verdict(False, reason, np.nan, np.nan, np.nan)
