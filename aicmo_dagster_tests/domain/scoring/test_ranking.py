import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from aicmo_dagster.domain.scoring.ranking import calibrated, ranked, resamples


@st.composite
def weighted(draw: st.DrawFn):
    count = draw(st.integers(2, 40))

    def many(each):
        return np.array(draw(st.lists(each, min_size=count, max_size=count)))

    won = many(st.booleans())
    won[:2] = [True, False]
    weights = many(st.integers(0, 3)).astype(np.float64)
    weights[:2] = np.maximum(weights[:2], 1)
    return many(st.integers(0, 8)).astype(np.float64), won, weights, many(st.integers(0, 3))


@given(weighted())
def test_auc_is_scikit_learns_with_weights_and_ties(case) -> None:
    values, won, weights, _ = case
    alone = np.zeros(len(won), dtype=np.int64)
    expected = roc_auc_score(won, values, sample_weight=weights)
    assert ranked(values, won, alone).auc(weights) == pytest.approx(expected)


@given(weighted())
def test_auc_within_cohorts_counts_the_pairs_of_each_cohort(case) -> None:
    values, won, weights, cohort = case
    better = pairs = 0.0
    for first in np.flatnonzero(won):
        for second in np.flatnonzero(~won & (cohort == cohort[first])):
            weight = weights[first] * weights[second]
            pairs += weight
            difference = values[first] - values[second]
            better += weight * (0.5 if difference == 0 else float(difference > 0))
    found = ranked(values, won, cohort).auc(weights)
    assert np.isnan(found) if pairs == 0 else found == pytest.approx(better / pairs)


@given(weighted())
@settings(max_examples=50)
def test_measures_of_weighted_leads_are_those_of_repeated_leads(case) -> None:
    values, won, weights, cohort = case
    times = weights.astype(np.int64)
    repeated = [np.repeat(each, times) for each in (values, won, cohort)]
    ones = np.ones(times.sum())
    for measure in ("auc", "lift"):
        once = getattr(ranked(values, won, cohort), measure)(weights)
        each = getattr(ranked(*repeated), measure)(ones)
        assert once == pytest.approx(each, nan_ok=True)


def test_lift_is_the_share_won_in_the_best_tenth_over_that_in_all() -> None:
    values = np.arange(100.0)
    won = values >= 95
    alone = np.zeros(100, dtype=np.int64)
    assert ranked(values, won, alone).lift(np.ones(100)) == pytest.approx(10.0)
    assert ranked(-values, won, alone).lift(np.ones(100)) == 0.0


def test_of_leads_that_tie_around_the_tenth_a_share_counts() -> None:
    won = np.arange(100) % 4 == 0
    alike = np.zeros(100)
    assert ranked(alike, won, alike.astype(np.int64)).lift(np.ones(100)) == pytest.approx(1.0)


def test_lift_within_cohorts_is_of_the_best_tenth_of_each() -> None:
    values = np.concatenate([np.arange(50.0), np.arange(100.0, 150.0)])
    cohort = np.repeat([0, 1], 50)
    won = np.isin(np.arange(100), [49, 99])
    assert ranked(values, won, cohort).lift(np.ones(100)) == pytest.approx(10.0)
    assert ranked(values, won, cohort * 0).lift(np.ones(100)) == pytest.approx(5.0)


def test_ece_is_the_mean_distance_over_bins_of_equal_mass() -> None:
    probability = np.repeat([0.2, 0.6], 750)
    won = np.concatenate([np.arange(750) < 150, np.arange(750) < 600])
    alone = np.zeros(1_500, dtype=np.int64)
    measure = calibrated(probability, won, alone)
    assert len(np.unique(measure.bins)) == 2
    assert measure.ece(np.ones(1_500)) == pytest.approx(0.1)
    assert measure.brier(np.ones(1_500)) == pytest.approx(brier_score_loss(won, probability))


def test_calibration_bins_hold_a_fifteenth_of_their_cohort_each() -> None:
    draw = np.random.default_rng(0)
    probability, cohort = draw.random(3_000), np.repeat([0, 7], 1_500)
    measure = calibrated(probability, probability > 0.5, cohort)
    assert np.bincount(measure.bins).tolist() == [100] * 30


def test_resamples_draw_as_many_leads_as_there_are_and_the_same_by_seed() -> None:
    first, again, other = ([w.tolist() for w in resamples(50, seed)] for seed in (1, 1, 2))
    assert first == again != other
    assert {sum(weights) for weights in first} == {50.0}
    assert len(first) == 200


def test_of_many_leads_fewer_samples_are_drawn() -> None:
    assert len(list(resamples(100_000, 0))) == 100
    assert len(list(resamples(250_000, 0))) == 50
