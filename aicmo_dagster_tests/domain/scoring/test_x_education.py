"""The figures that the learned score must reach on real leads; skipped where they are absent."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aicmo_dagster.domain.scoring.history import History, time_split
from aicmo_dagster.domain.scoring.learning import Learned
from aicmo_dagster_tests.domain.scoring.x_education import (
    DOCUMENT,
    LEAKING,
    POINTED,
    auc,
    auc_by_labels,
    harvested,
    learned,
    x_education,
)
from aicmo_dagster_tests.workspaces import open_test_workspace

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="the real leads are not here")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pd.DataFrame]:
    folder: Path = tmp_path_factory.mktemp("x-education")
    workspace = open_test_workspace(folder, f"sqlite:///{folder}/aicmo.db")
    yield harvested(workspace)
    workspace.database.close()


@pytest.fixture(scope="module")
def leads(raw: pd.DataFrame) -> History:
    return x_education(raw)


@pytest.fixture(scope="module")
def pointed(raw: pd.DataFrame) -> History:
    return x_education(raw, **POINTED)


@pytest.fixture(scope="module")
def guarded(leads: History) -> Learned:
    return learned(leads, [])


def test_the_guard_names_every_column_that_leaks_and_no_other(guarded: Learned) -> None:
    named = {finding.column for finding in guarded.findings}
    assert named == set(guarded.left_out) == {f"custom.{name}" for name in LEAKING}


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
def test_few_labels_go_far_with_the_points_of_an_expert(
    pointed: History, labels: int, least: float
) -> None:
    assert np.mean(auc_by_labels(pointed, labels, draws=20)) >= least


def test_the_points_alone_are_worth_less(leads: History, pointed: History) -> None:
    alone = []
    for each in (leads, pointed):
        newest = each.part(time_split(each).test)
        assert newest.points is not None
        alone.append(auc(newest.points, newest))
    assert 0.6 < alone[0] < 0.65 < 0.79 < alone[1] < 0.81
