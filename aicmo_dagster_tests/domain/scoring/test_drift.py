from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from aicmo_dagster.domain.scoring.drift import (
    SCORE,
    drift,
    observed_against_expected,
    stability,
)
from aicmo_dagster.domain.scoring.model import Model, score
from aicmo_dagster.domain.scoring.training import train, with_points
from aicmo_dagster_tests.domain.scoring.histories import history


@pytest.fixture(scope="module")
def model() -> Model:
    return train(history(), "anchored", code_version="test")


def _drifted(model: Model, **changes: pd.Series) -> dict[str, bool]:
    """Whether the alarm sounds, by column, on other leads with some columns changed."""
    today = history(2_000, seed=9)
    columns = with_points(today.columns.assign(**changes), today.points)
    return {each.name: each.alarm for each in drift(model, columns, score(model, columns))}


def test_leads_like_those_of_training_raise_no_alarm(model: Model) -> None:
    assert _drifted(model) == dict.fromkeys(
        ["visits", "employees", "channel", "points", SCORE], False
    )


def test_the_column_that_has_moved_is_named_and_the_score_with_it(model: Model) -> None:
    visits = history(2_000, seed=9).columns["visits"] * 2 + 1
    alarms = _drifted(model, visits=visits)
    assert {name for name, alarm in alarms.items() if alarm} == {"visits", SCORE}


def test_a_column_that_has_gone_missing_is_drift(model: Model) -> None:
    assert _drifted(model, employees=pd.Series(np.full(2_000, np.nan)))["employees"]


def test_a_moved_intercept_is_no_drift_of_the_score(model: Model) -> None:
    assert not _drifted(replace(model, shift=2.0))[SCORE]


def test_the_index_of_shares_is_as_published() -> None:
    """Sum of (actual - expected) * ln(actual / expected) over the bins."""
    found = stability("visits", (5_000, 5_000), np.array([7_000, 3_000]))
    assert found.psi == pytest.approx(0.2 * np.log(1.4) - 0.2 * np.log(0.6), rel=1e-3)
    assert found.alarm


def test_by_chance_the_alarm_sounds_in_small_samples_no_more_than_in_large_ones() -> None:
    """The usual threshold of 0.1 alone would sound nearly always with 50 leads in 20 bins."""
    draw = np.random.default_rng(0)
    then = tuple(draw.multinomial(5_000, [0.05] * 20).tolist())
    found = [stability("x", then, draw.multinomial(50, [0.05] * 20)) for _ in range(300)]
    assert np.mean([each.psi > 0.1 for each in found]) > 0.9
    assert np.mean([each.alarm for each in found]) < 0.02


def test_a_large_sample_raises_no_alarm_over_a_change_that_does_not_matter() -> None:
    found = stability("x", (500_000, 500_000), np.array([510_000, 490_000]))
    assert found.psi > found.by_chance
    assert not found.alarm


def test_a_column_of_one_bin_cannot_drift() -> None:
    assert not stability("x", (100, 0), np.array([50, 0])).alarm


def test_wins_are_held_against_expectations_by_cohort() -> None:
    probability = np.full(2_000, 0.2)
    cohort = np.repeat([3, 5], 1_000)
    won = np.concatenate([np.arange(1_000) < 210, np.arange(1_000) < 300])
    found = observed_against_expected(probability, won, cohort)
    assert found["cohort"].tolist() == [3, 5]
    assert found["leads"].tolist() == [1_000, 1_000]
    assert found["observed"].tolist() == [210, 300]
    assert found["expected"].tolist() == pytest.approx([200, 200])
    assert found["error"].tolist() == pytest.approx([160**0.5] * 2)
    assert found["alarm"].tolist() == [False, True]
