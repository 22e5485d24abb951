"""The bounds against published tables, and against what chance does."""

import numpy as np
import pytest
from scipy import stats

from aicmo_dagster.domain.nurture.sequential import (
    LOOKS,
    any_time_bound,
    crossing_probability,
    planned_bound,
)

PUBLISHED = {(1, 0.05): 1.960, (2, 0.05): 1.977, (3, 0.05): 2.004, (5, 0.05): 2.040}
PUBLISHED |= {(10, 0.05): 2.087, (5, 0.01): 2.621, (5, 0.1): 1.751}
"""C_B(K, alpha) of Jennison and Turnbull, Group Sequential Methods (2000), table 2.3."""


@pytest.mark.parametrize(("design", "constant"), PUBLISHED.items())
def test_the_last_bound_is_the_published_constant(
    design: tuple[int, float], constant: float
) -> None:
    looks, alpha = design

    assert planned_bound(looks, alpha, looks) == pytest.approx(constant, abs=0.001)


def test_earlier_looks_ask_for_more() -> None:
    bounds = [planned_bound(number, 0.05) for number in range(1, LOOKS + 1)]

    assert bounds == pytest.approx([4.562, 3.226, 2.634, 2.281, 2.040], abs=0.002)


def test_one_look_is_the_ordinary_test() -> None:
    assert crossing_probability(1.96, 1) == pytest.approx(2 * stats.norm.sf(1.96), abs=1e-9)


def z_scores(rate: float, uplift: float, leads: int, looks: int, runs: int) -> np.ndarray:
    """Scores and the variance of the difference, at equal distances up to `leads` an arm."""
    chance = np.random.default_rng(7)
    size = leads // looks
    counts = [
        chance.binomial(size, each, (runs, looks)).cumsum(axis=1) for each in (rate, rate + uplift)
    ]
    seen = size * np.arange(1, looks + 1)
    first, other = (count / seen for count in counts)
    pooled = (first + other) / 2
    unpooled = (first * (1 - first) + other * (1 - other)) / seen
    z = (other - first) / np.sqrt(np.maximum(pooled * (1 - pooled) * 2 / seen, 1e-12))
    return np.stack([z, np.maximum(unpooled, 1e-12)])


def test_five_planned_looks_find_a_difference_that_is_not_there_in_one_of_twenty() -> None:
    z, _ = z_scores(0.03, 0, 10_000, LOOKS, 20_000)
    bounds = np.array([planned_bound(number, 0.05) for number in range(1, LOOKS + 1)])

    assert (np.abs(z) >= bounds).any(axis=1).mean() == pytest.approx(0.05, abs=0.006)
    assert (np.abs(z) >= 1.96).any(axis=1).mean() > 0.12  # what peeking would do


def test_five_planned_looks_have_nearly_the_power_of_one() -> None:
    z, _ = z_scores(0.03, 0.009, 10_000, LOOKS, 4_000)
    bounds = np.array([planned_bound(number, 0.05) for number in range(1, LOOKS + 1)])

    assert (np.abs(z) >= bounds).any(axis=1).mean() > 0.9


def test_looking_all_the_time_stays_below_alpha_too() -> None:
    z, variance = z_scores(0.03, 0, 10_000, 40, 5_000)
    bounds = np.vectorize(any_time_bound)(variance, 0.05)

    assert (np.abs(z) >= bounds).any(axis=1).mean() < 0.03
    z, variance = z_scores(0.03, 0.009, 10_000, 40, 1_000)
    bounds = np.vectorize(any_time_bound)(variance, 0.05)
    assert (np.abs(z) >= bounds).any(axis=1).mean() > 0.65
