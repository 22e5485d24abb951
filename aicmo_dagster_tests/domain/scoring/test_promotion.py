import numpy as np
import pytest

from aicmo_dagster.domain.scoring.promotion import judge


def _leads(count: int, seed: int):
    """Merit, outcome and one cohort."""
    draw = np.random.default_rng(seed)
    merit = draw.normal(size=count)
    return draw, merit, merit + draw.normal(0, 1, count) > 0.5, np.zeros(count, dtype=np.int64)


def test_a_candidate_that_is_clearly_better_is_promoted() -> None:
    draw, merit, won, cohort = _leads(500, 0)
    verdict = judge(merit, merit + draw.normal(0, 3, 500), won, cohort, seed=0)
    assert verdict.promoted
    assert verdict.candidate - verdict.incumbent > verdict.half_width > 0
    assert verdict.reason.startswith("ahead by more than the half-width: AUC 0.8")


def test_a_candidate_that_is_ahead_by_less_than_the_half_width_is_not() -> None:
    draw, merit, won, cohort = _leads(500, 0)
    verdict = judge(merit, merit + draw.normal(0, 0.1, 500), won, cohort, seed=0)
    assert not verdict.promoted
    assert verdict.reason.startswith("not ahead by more than the half-width")


@pytest.mark.parametrize("seed", range(5))
def test_a_model_is_not_promoted_over_itself(seed: int) -> None:
    _, merit, won, cohort = _leads(500, seed)
    assert not judge(merit, merit, won, cohort, seed=seed).promoted


def test_being_better_than_a_bad_incumbent_is_not_enough() -> None:
    """Noise is well ahead of a score that ranks upside down."""
    draw, merit, won, cohort = _leads(500, 0)
    verdict = judge(draw.normal(size=500), -merit, won, cohort, seed=0)
    assert verdict.candidate - verdict.incumbent > verdict.half_width
    assert not verdict.promoted
    assert verdict.reason.startswith("the candidate ranks no better than chance explains")


def test_knowing_only_when_a_lead_came_wins_nothing() -> None:
    draw = np.random.default_rng(0)
    cohort = np.arange(4_000) // 500
    won = draw.random(4_000) < cohort / 8
    when = cohort + draw.normal(0, 0.1, 4_000)
    points = draw.normal(size=4_000)
    assert judge(when, points, won, cohort * 0, seed=0).promoted
    assert not judge(when, points, won, cohort, seed=0).promoted


@pytest.mark.parametrize(("won", "lost"), [(19, 200), (200, 19), (0, 0)])
def test_too_few_outcomes_promote_nothing(won: int, lost: int) -> None:
    outcomes = np.repeat([True, False], [won, lost])
    values = outcomes.astype(float)
    verdict = judge(values, -values, outcomes, np.zeros(won + lost, dtype=np.int64), seed=0)
    assert not verdict.promoted
    told = f"{won} won and {lost} lost" if won else "0 won and 0 lost"
    assert verdict.reason.startswith(told)


def test_cohorts_in_which_nothing_can_be_compared_promote_nothing() -> None:
    outcomes = np.repeat([True, False], 200)
    verdict = judge(outcomes * 1.0, outcomes * 0.0, outcomes, outcomes.astype(np.int64), seed=0)
    assert not verdict.promoted
    assert verdict.reason.startswith("0 won and 0 lost leads in cohorts that hold both")


def test_the_verdict_is_the_same_by_seed() -> None:
    draw, merit, won, cohort = _leads(300, 0)
    noisy = merit + draw.normal(0, 1, 300)
    assert judge(merit, noisy, won, cohort, seed=3) == judge(merit, noisy, won, cohort, seed=3)
