"""Which variant of a step is better: looked at as planned, and stopped where one does harm.

The unit is a delivered lead whose time to respond is over; success is a reply or a click by a
person. Each variant is compared with the first, alpha shared among the comparisons (Bonferroni).
Not here: the draw (`variants`), the bounds (`sequential`), or outcomes (`store.experiments`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist
from typing import Literal

import pandas as pd

from aicmo_dagster.domain.nurture.sequential import LOOKS, any_time_bound, planned_bound
from aicmo_dagster.domain.sections.sequences import Experiment, Step

ALPHA = 0.05
"""The chance of naming a winner where there is none, over all looks and comparisons."""

SKEWED = 0.001
"""Below this chance the variants' shares are not those that were drawn, and nothing is decided."""

HARM = 0.01
"""Below this chance, at any look, a variant that loses more leads than the others is stopped."""

FEWEST = 50
"""Delivered leads that each variant needs before a look at any time says something."""

Verdict = Literal["running", "decided", "no difference", "shares are off"]


@dataclass(frozen=True)
class Arm:
    """One variant's figures: leads delivered to, successes, leads that left or complained."""

    variant: str
    delivered: int
    successes: int
    lost: int = 0

    @property
    def rate(self) -> float:
        """Successes per delivered lead."""
        return self.successes / self.delivered if self.delivered else 0.0


@dataclass(frozen=True)
class Comparison:
    """A variant against the first: difference in rate, its 95 % interval, z and what it takes."""

    variant: str
    difference: float
    low: float
    high: float
    z: float
    bound: float


@dataclass(frozen=True)
class Look:
    """What one look at an experiment found.

    Args:
        number: The number of the look; of a planned one, out of `sequential.LOOKS`.
        arms: Each variant's figures, the first one first.
        comparisons: Each other variant against the first.
        share_chance: The p-value of the variants' shares, by a chi-square test.
        verdict: What follows.
        winner: The variant that new leads get, if it is decided.
        stopped: Variants that did harm, now or before.
    """

    number: int
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    share_chance: float
    verdict: Verdict
    winner: str | None = None
    stopped: frozenset[str] = frozenset()


def fingerprint(step: Step, templates: Mapping[str, str]) -> str:
    """Changes whenever what is compared does: a text, a weight, the way of comparing."""
    texts = [(v, s, templates.get(b, b) if b else b) for v, s, b in step.texts()]
    weights = [variant.weight for variant in step.variants]
    test = step.test.model_dump() if step.test else None
    form = json.dumps([texts, weights, test], sort_keys=True)
    return hashlib.sha256(form.encode()).hexdigest()[:16]


def look(
    exposures: pd.DataFrame,
    step: Step,
    *,
    looks_before: int = 0,
    stopped: frozenset[str] = frozenset(),
) -> Look | None:
    """The next look at the step's test, if it is time for one.

    A planned look judges the first leads of each variant, as many as were planned for it: it finds
    the same whenever it is taken.

    Args:
        exposures: One row a delivered lead whose time is over, in order of sending: variant,
            success, lost.
        step: With variants and a test.
        looks_before: The number of the look before.
        stopped: Variants that were stopped then.
    """
    assert step.test is not None
    weights = {variant.id: variant.weight for variant in step.variants}
    running = {name: weight for name, weight in weights.items() if name not in stopped}
    counts = exposures["variant"].value_counts()
    had = {name: int(counts.get(name, 0)) for name in running}
    if step.test.mode == "always_valid":
        if min(had.values()) < FEWEST:
            return None
        number, judged = looks_before + 1, exposures
    else:
        number = _planned_look(had, weights, step.test)
        if number <= looks_before:
            return None
        judged = _first_of_each(exposures, _quotas(weights, step.test, number))
    arms = _arms(judged, list(weights))
    chance = share_chance(had, running)
    return _judged(number, arms, chance, step.test, stopped)


def difference(arm: Arm, other: Arm, level: float = 0.95) -> tuple[float, float, float]:
    """`arm`'s rate less `other`'s, and its Wald interval."""
    found = arm.rate - other.rate
    reach = NormalDist().inv_cdf((1 + level) / 2) * sqrt(_variance(arm) + _variance(other))
    return found, found - reach, found + reach


def share_chance(counts: Mapping[str, int], weights: Mapping[str, int]) -> float:
    """How likely shares at least this far from the weights are by chance: the chi-square test."""
    from scipy import stats  # half a second to import, and few ticks look at a test

    total, leads = sum(weights.values()), sum(counts.values())
    if leads == 0:
        return 1.0
    expected = [leads * weight / total for weight in weights.values()]
    return float(stats.chisquare([counts[name] for name in weights], expected).pvalue)


def harm_chance(arm: Arm, others: Sequence[Arm]) -> float:
    """How likely `arm` loses as many leads by chance: Fisher's exact test, one side."""
    from scipy import stats  # as above

    lost, kept = sum(a.lost for a in others), sum(a.delivered - a.lost for a in others)
    table = [[arm.lost, arm.delivered - arm.lost], [lost, kept]]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)


def _judged(
    number: int, arms: list[Arm], chance: float, test: Experiment, stopped: frozenset[str]
) -> Look:
    running = [arm for arm in arms if arm.variant not in stopped]
    harmful = {
        arm.variant
        for arm in running
        if len(running) > 1 and harm_chance(arm, [a for a in running if a != arm]) < HARM
    }
    stopped = stopped | harmful
    left = [arm for arm in running if arm.variant not in stopped] or running
    alpha = ALPHA / (len(arms) - 1)
    compared = tuple(_compared(arm, left[0], number, alpha, test) for arm in left[1:])
    last = test.mode == "planned_looks" and number >= LOOKS
    verdict, winner = _verdict(left, compared, last=last)
    if chance < SKEWED:
        verdict, winner = "shares are off", None
    return Look(number, tuple(arms), compared, chance, verdict, winner, stopped)


def _verdict(
    left: Sequence[Arm], compared: Sequence[Comparison], *, last: bool
) -> tuple[Verdict, str | None]:
    """The winner: the best of those that beat the first, or the first if it beats all."""
    better = {c.variant for c in compared if c.z >= c.bound}
    if better:
        return "decided", max(
            (a for a in left if a.variant in better), key=lambda a: a.rate
        ).variant
    if all(c.z <= -c.bound for c in compared):  # of one that is left alone, too
        return "decided", left[0].variant
    return ("no difference" if last else "running"), None


def _compared(arm: Arm, first: Arm, number: int, alpha: float, test: Experiment) -> Comparison:
    found, low, high = difference(arm, first)
    if test.mode == "always_valid":
        variance = _smoothed_variance(arm) + _smoothed_variance(first)
        bound = any_time_bound(variance, alpha)
    else:
        pooled = (arm.successes + first.successes) / (arm.delivered + first.delivered)
        variance = pooled * (1 - pooled) * (1 / arm.delivered + 1 / first.delivered)
        bound = planned_bound(number, alpha)
    z = found / sqrt(variance) if variance else 0.0
    return Comparison(arm.variant, found, low, high, z, bound)


def _planned_look(had: Mapping[str, int], weights: Mapping[str, int], test: Experiment) -> int:
    """The latest look for which every variant that still runs has its leads."""
    ready = [
        number
        for number in range(1, LOOKS + 1)
        if all(had[name] >= _quotas(weights, test, number)[name] for name in had)
    ]
    return max(ready, default=0)


def _quotas(weights: Mapping[str, int], test: Experiment, number: int) -> dict[str, int]:
    """The leads of each variant that a look judges."""
    total = sum(weights.values())
    return {
        name: ceil(test.leads * weight / total * number / LOOKS) for name, weight in weights.items()
    }


def _first_of_each(exposures: pd.DataFrame, quotas: Mapping[str, int]) -> pd.DataFrame:
    order = exposures.groupby("variant").cumcount()
    return exposures[order < exposures["variant"].map(dict(quotas)).fillna(0).astype("int64")]


def _arms(judged: pd.DataFrame, variants: Sequence[str]) -> list[Arm]:
    figures = judged.groupby("variant").agg(
        delivered=("success", "size"), successes=("success", "sum"), lost=("lost", "sum")
    )
    rows = figures.reindex(list(variants), fill_value=0).astype("int64")
    return [
        Arm(str(name), *map(int, row))
        for name, row in zip(rows.index, rows.to_numpy().tolist(), strict=True)
    ]


def _variance(arm: Arm) -> float:
    return arm.rate * (1 - arm.rate) / arm.delivered if arm.delivered else 0.0


def _smoothed_variance(arm: Arm) -> float:
    """Never nothing, so that no difference is certain (Agresti and Caffo, 2000)."""
    rate = (arm.successes + 1) / (arm.delivered + 2)
    return rate * (1 - rate) / (arm.delivered + 2)
