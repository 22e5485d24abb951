import json

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from aicmo_dagster.domain.scoring.evaluation import Evaluation, Figure, evaluate


def _made(count: int, seed: int):
    draw = np.random.default_rng(seed)
    logit = draw.normal(-1, 1.5, count)
    return logit, draw.random(count) < expit(logit)


def _evaluated(count: int = 3_000, seed: int = 0, shift: float = 0.0) -> Evaluation:
    logit, won = _made(count, seed)
    cohort = np.arange(count) // 500
    return evaluate(logit, won, cohort, seed=seed, probability=expit(logit + shift))


def _drifting(count: int = 4_000) -> Evaluation:
    """A score that knows only when a lead came, and the share won changes from week to week."""
    draw = np.random.default_rng(0)
    cohort = np.arange(count) // 500
    won = draw.random(count) < cohort / 8
    return evaluate(cohort + draw.normal(0, 0.1, count), won, cohort, seed=0)


def test_within_cohorts_a_score_that_knows_only_when_is_worth_nothing() -> None:
    measured = _drifting()
    assert measured.auc.value > 0.75
    assert measured.auc_within.low < 0.5 < measured.auc_within.high


def test_the_interval_holds_the_true_figure_nearly_always() -> None:
    logit, won = _made(200_000, seed=0)
    truth = roc_auc_score(won, logit)
    held = 0
    for seed in range(1, 21):
        figure = _evaluated(400, seed).auc
        held += figure.low <= truth <= figure.high
    assert held >= 17


def test_a_true_probability_is_at_the_noise_floor_and_a_shifted_one_is_not() -> None:
    true, shifted = _evaluated().ece, _evaluated(shift=1.0).ece
    assert true is not None
    assert shifted is not None
    assert true.value < 0.03
    assert shifted.value > 0.1


def test_points_have_no_calibration() -> None:
    measured = _drifting()
    assert (measured.brier, measured.ece, measured.ece_within) == (None, None, None)


def test_the_figures_are_the_same_by_seed_and_json_holds_them() -> None:
    data = _evaluated().as_data()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert _evaluated().as_data() == data
    assert set(data) == set(Evaluation.__dataclass_fields__)


def test_what_is_not_defined_is_no_figure() -> None:
    """Without a win there is no pair to rank."""
    lost = np.zeros(10, dtype=bool)
    measured = evaluate(np.arange(10.0), lost, np.zeros(10, dtype=np.int64), seed=0)
    assert np.isnan(measured.auc.value)
    assert measured.as_data()["auc"] is None


@pytest.mark.parametrize("name", ["auc", "lift", "brier", "ece", "auc_within", "lift_within"])
def test_every_interval_holds_its_figure(name: str) -> None:
    figure = getattr(_evaluated(), name)
    assert isinstance(figure, Figure)
    assert figure.low < figure.value < figure.high or name == "ece"
