from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from aicmo_dagster.domain.scoring.calibration import recalibrated
from aicmo_dagster.domain.scoring.dimensions import Dimension
from aicmo_dagster.domain.scoring.history import History, time_split
from aicmo_dagster.domain.scoring.learning import Learned, learn
from aicmo_dagster.domain.scoring.model import Model, score
from aicmo_dagster.domain.scoring.model_documents import from_document, to_document
from aicmo_dagster.domain.scoring.training import train, with_points
from aicmo_dagster_tests.domain.scoring.histories import history, texts


def _learned(
    past: History,
    *,
    known: list[str] | None = None,
    ignore: list[str] | None = None,
    incumbent: Model | None = None,
    embargo: timedelta = timedelta(0),
    seed: int = 0,
) -> Learned:
    return learn(
        past,
        known_at_capture=known or [],
        ignore=ignore or [],
        incumbent=incumbent,
        embargo=embargo,
        seed=seed,
        code_version="test",
    )


def _kinds(learned: Learned) -> list[str]:
    return [candidate.model.kind for candidate in learned.candidates]


def test_what_can_be_learned_is_promoted_over_the_points() -> None:
    learned = _learned(history(600))
    assert _kinds(learned) == ["anchored"]
    assert learned.promoted is not None
    assert learned.best is not None
    assert learned.promoted == learned.best.model
    assert learned.findings == ()


def test_from_1000_labels_on_the_booster_challenges_and_wins_only_by_more_than_chance() -> None:
    learned = _learned(history(2_000))
    assert _kinds(learned) == ["anchored", "additive"]
    assert learned.best is learned.candidates[0]


def test_a_challenger_that_is_clearly_ahead_is_the_best() -> None:
    """Points that said much until the test began mislead the model that leans on them."""
    past = history(2_000)
    says = np.where(np.arange(2_000) < 1_400, 5.0, -5.0)
    noise = np.random.default_rng(0).normal(0, 3, 2_000)
    learned = _learned(replace(past, points=says * past.won.to_numpy(dtype=bool) + noise))
    assert _kinds(learned) == ["anchored", "additive"]
    assert learned.best is learned.candidates[1]


def test_the_figures_are_of_leads_that_the_model_did_not_see_and_stand_in_its_document() -> None:
    past = history(600)
    learned = _learned(past)
    split = time_split(past)
    best = learned.best
    assert best is not None
    assert best.evaluation.leads == split.test.sum()
    assert best.model.window["leads"] == split.train.sum()
    assert best.model.window["last_arrival"] < best.model.metrics["test_window"]["first_arrival"]
    assert best.model.metrics["test"] == best.evaluation.as_data()
    assert from_document(to_document(best.model)).metrics == best.model.metrics


def test_learning_keeps_the_embargo() -> None:
    learned = _learned(history(900), embargo=timedelta(days=10))
    model = learned.candidates[0].model
    gap = pd.Timestamp(model.metrics["test_window"]["first_arrival"]) - pd.Timestamp(
        model.window["last_arrival"]
    )
    assert gap >= timedelta(days=10)


def _leaking(past: History) -> History:
    told = texts(["called back" if won else None for won in past.won])
    dimension = Dimension("custom.Phase", "custom", "", "category")
    return replace(
        past,
        columns=past.columns.assign(**{"custom.Phase": told}),
        dimensions=(*past.dimensions, dimension),
    )


def test_a_leaking_column_is_named_and_not_learned_from_unasked() -> None:
    past = _leaking(history(600))
    learned = _learned(past)
    assert {finding.column for finding in learned.findings} == {"custom.Phase"}
    assert learned.left_out == ("custom.Phase",)
    model = learned.candidates[0].model
    assert "custom.Phase" not in {dimension.name for dimension in model.dimensions}
    assert model.metrics["left_out"] == ["custom.Phase"]

    vouched = _learned(past, known=["Phase"])
    assert vouched.findings == learned.findings
    assert vouched.left_out == ()
    assert vouched.candidates[0].evaluation.auc.value > 0.99


def test_points_for_a_column_that_leaks_are_not_learned_from_but_still_to_be_beaten() -> None:
    past = _leaking(history(600))
    points = past.won.to_numpy(dtype=float)
    past = replace(past, points=points, points_from=("visits", "custom.Phase"))
    learned = _learned(past)
    unvouched = {dimension.name for dimension in learned.candidates[0].model.dimensions}
    assert unvouched == {"visits", "employees", "channel"}
    assert learned.verdict.incumbent == 1.0

    vouched = _learned(past, known=["Phase"])
    assert "points" in {dimension.name for dimension in vouched.candidates[0].model.dimensions}


def test_what_is_ignored_is_not_learned_from() -> None:
    learned = _learned(history(600), ignore=["visits"])
    assert learned.left_out == ("visits",)
    names = {dimension.name for dimension in learned.candidates[0].model.dimensions}
    assert names == {"employees", "channel", "points"}


def test_without_evidence_nothing_is_trained_and_the_reason_told() -> None:
    learned = _learned(history(100))
    assert (learned.candidates, learned.best, learned.promoted) == ((), None, None)
    assert learned.verdict.reason.endswith("it takes 50 won and 50 lost")


def test_a_model_does_not_replace_itself() -> None:
    past = history(600)
    incumbent = _learned(past).promoted
    assert incumbent is not None
    assert _learned(past, incumbent=incumbent).promoted is None


def test_a_model_replaces_one_that_has_gone_wrong() -> None:
    past = history(600)
    wrong = train(replace(past, won=~past.won), "anchored", code_version="test")
    assert _learned(past, incumbent=wrong).promoted is not None


def test_the_intercept_is_where_the_latest_training_leads_put_it() -> None:
    past = history(1_000)
    drifting = past.won.mask(np.arange(1_000) < 500, other=False)
    learned = _learned(replace(past, won=drifting))
    model = learned.candidates[0].model
    split = time_split(past)
    train_leads = replace(past, won=drifting).part(split.train)
    latest = train_leads.part(np.arange(700) >= 560)
    columns = with_points(latest.columns, latest.points)
    assert model.shift > 0.3
    assert score(model, columns).probability.sum() == pytest.approx(latest.labels.sum())
    assert recalibrated(model, columns, latest.labels.astype(bool)).shift == pytest.approx(
        model.shift
    )


def test_learning_twice_comes_to_the_same_document() -> None:
    documents = set()
    for _ in range(2):
        best = _learned(history(600), seed=3).best
        assert best is not None
        documents.add(to_document(best.model))
    assert len(documents) == 1


@pytest.mark.parametrize("with_scorecard", [True, False])
def test_from_shuffled_outcomes_no_model_is_ever_promoted(with_scorecard: bool) -> None:
    trained = 0
    for seed in range(20):
        past = history(500, seed)
        won = past.won.sample(frac=1, random_state=seed, ignore_index=True)
        points = past.points if with_scorecard else None
        learned = _learned(replace(past, won=won, points=points), seed=seed)
        trained += len(learned.candidates)
        assert learned.promoted is None
    assert trained == 20
