"""The figures that the learned score must reach on real leads; skipped where they are absent."""

import numpy as np
import pytest

from aicmo_dagster.domain.scoring.history import History, time_split
from aicmo_dagster.domain.scoring.learning import Learned
from aicmo_dagster_tests.domain.scoring.x_education import (
    FILE,
    KNOWN_AT_CAPTURE,
    LEAKING,
    auc,
    auc_by_labels,
    learned,
    x_education,
)

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the real leads are not here")


@pytest.fixture(scope="module")
def leads() -> History:
    return x_education()


@pytest.fixture(scope="module")
def guarded(leads: History) -> Learned:
    return learned(leads, KNOWN_AT_CAPTURE)


def test_the_guard_names_every_column_that_leaks_and_three_that_a_person_vouches_for(
    guarded: Learned,
) -> None:
    named = {finding.column.removeprefix("custom.") for finding in guarded.findings}
    assert named == {*LEAKING, *KNOWN_AT_CAPTURE}
    assert {name.removeprefix("custom.") for name in guarded.left_out} == set(LEAKING)


def test_without_the_leaks_auc_and_calibration_hold_on_the_leads_that_came_last(
    guarded: Learned,
) -> None:
    assert guarded.best is not None
    measured = guarded.best.evaluation
    assert measured.leads == 1_940
    assert measured.auc.value >= 0.87
    assert measured.auc_within.value >= 0.86
    assert measured.ece is not None
    assert measured.ece.value <= 0.05


def test_the_model_is_promoted_over_the_points(guarded: Learned) -> None:
    assert guarded.promoted is not None
    assert guarded.verdict.incumbent < 0.81


def test_vouched_for_by_nobody_the_columns_in_doubt_are_left_out_at_little_cost(
    leads: History,
) -> None:
    unasked = learned(leads, [])
    assert unasked.best is not None
    assert len(unasked.left_out) == len(LEAKING) + len(KNOWN_AT_CAPTURE)
    assert unasked.best.evaluation.auc.value >= 0.86


def test_with_the_guard_off_the_figure_is_higher_and_too_good(
    leads: History, guarded: Learned
) -> None:
    everything = learned(leads, [dimension.name for dimension in leads.dimensions])
    assert everything.left_out == ()
    assert everything.best is not None
    assert guarded.best is not None
    off, on = everything.best.evaluation.auc.value, guarded.best.evaluation.auc.value
    assert off > 0.97 > 0.88 > on


@pytest.mark.parametrize(("labels", "least"), [(50, 0.82), (200, 0.85), (500, 0.86)])
def test_few_labels_go_far_with_the_points(leads: History, labels: int, least: float) -> None:
    assert np.mean(auc_by_labels(leads, labels, draws=40)) >= least


def test_the_points_alone_are_worth_less(leads: History) -> None:
    newest = leads.part(time_split(leads).test)
    assert newest.points is not None
    assert 0.79 < auc(newest.points, newest) < 0.81
