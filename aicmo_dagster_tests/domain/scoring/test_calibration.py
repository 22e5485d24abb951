import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.scoring.calibration import recalibrated
from aicmo_dagster.domain.scoring.model import score
from aicmo_dagster.domain.scoring.model_documents import version
from aicmo_dagster.domain.scoring.training import train, with_points
from aicmo_dagster_tests.domain.scoring.histories import history

PAST = history()
MODEL = train(PAST, "anchored", code_version="test")
COLUMNS = with_points(PAST.columns, PAST.points)


@given(wins=st.integers(20, 1_980))
@settings(max_examples=20, deadline=None)
def test_a_moved_model_expects_the_wins_that_were_observed(wins: int) -> None:
    won = np.random.default_rng(wins).permutation(2_000) < wins
    moved = recalibrated(MODEL, COLUMNS, won)
    assert score(moved, COLUMNS).probability.sum() == pytest.approx(wins, rel=1e-6)


def test_moving_keeps_the_order_and_the_contributions_and_names_the_origin() -> None:
    moved = recalibrated(MODEL, COLUMNS, np.arange(2_000) < 200)
    before, after = score(MODEL, COLUMNS), score(moved, COLUMNS)
    assert (before.contributions == after.contributions).all()
    assert np.allclose(after.logit - before.logit, moved.shift)
    assert moved.shift < 0
    assert moved.provenance["moved_from"] == version(MODEL) != version(moved)


def test_moving_twice_lands_where_moving_once_does() -> None:
    won = np.arange(2_000) < 200
    once = recalibrated(MODEL, COLUMNS, won)
    twice = recalibrated(recalibrated(MODEL, COLUMNS, ~won), COLUMNS, won)
    assert twice.shift == pytest.approx(once.shift)


@pytest.mark.parametrize("wins", [0, 19, 1_981, 2_000])
def test_too_few_outcomes_move_nothing(wins: int) -> None:
    assert recalibrated(MODEL, COLUMNS, np.arange(2_000) < wins) is MODEL
