from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from aicmo_dagster.domain.scoring.binned import binned
from aicmo_dagster.domain.scoring.history import History
from aicmo_dagster.domain.scoring.model import POINTS, Kind, Table, score
from aicmo_dagster.domain.scoring.model_documents import to_document
from aicmo_dagster.domain.scoring.training import kinds_worth_training, train, with_points
from aicmo_dagster.errors import AicmoError
from aicmo_dagster_tests.domain.scoring.histories import history, texts

KINDS: tuple[Kind, ...] = ("anchored", "additive")


def _scored(model, past: History):
    return score(model, with_points(past.columns, past.points))


def _labelled(past: History, count: int) -> History:
    """The labels of all but the first `count` leads are forgotten."""
    known = np.arange(len(past.won)) < count
    return replace(past, won=past.won.where(known, other=pd.NA))


def _table(model, name: str) -> Table:
    return next(table for table in model.tables if table.dimension.name == name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_model_ranks_leads_it_has_not_seen(kind: Kind) -> None:
    model = train(history(seed=1), kind, code_version="test")
    later = history(seed=2)
    auc = roc_auc_score(later.labels, _scored(model, later).logit)
    assert auc > 0.75


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_history_gives_the_same_document_to_the_byte(kind: Kind) -> None:
    documents = {to_document(train(history(), kind, code_version="test")) for _ in range(3)}
    assert len(documents) == 1


@given(count=st.integers(30, 300), seed=st.integers(0, 99), kind=st.sampled_from(KINDS))
@settings(max_examples=10, deadline=None)
def test_contributions_of_a_trained_model_are_centred_and_sum_to_the_logit(
    count: int, seed: int, kind: Kind
) -> None:
    past = history(count, seed)
    model = train(past, kind, code_version="test")
    scores = _scored(model, past)
    assert np.abs(scores.contributions.mean(axis=0)).max() < 1e-9
    total = scores.base + scores.contributions.sum(axis=1)
    assert np.abs(total - scores.logit).max() < 1e-9


def test_additive_tables_are_the_booster_itself() -> None:
    """The tables against scikit-learn's own prediction, fitted alike."""
    past = history()
    columns = [binned(each, past.columns[each.name]) for each in past.dimensions]
    shown = np.stack([column.codes.astype(np.float64) for column in columns], axis=1)
    for place, column in enumerate(columns):
        if column.bins.ordered:
            shown[column.codes == column.bins.count - 1, place] = np.nan
    booster = HistGradientBoostingClassifier(
        learning_rate=0.07,
        max_iter=150,
        max_leaf_nodes=4,
        l2_regularization=5.0,
        interaction_cst="no_interactions",
        categorical_features=[2],
        monotonic_cst=[1, 0, 0],
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(limits=1):
        booster.fit(shown, past.labels)
    model = train(past, "additive", code_version="test")
    difference = _scored(model, past).logit - booster.decision_function(shown)
    assert np.abs(difference).max() < 1e-12


def test_where_the_direction_is_known_more_is_never_worse() -> None:
    past = history(300, seed=5, effect=-0.3)
    model = train(past, "additive", code_version="test")
    free = tuple(replace(each, direction=0) for each in past.dimensions)
    freely = train(replace(past, dimensions=free), "additive", code_version="test")
    assert (np.diff(_table(model, "visits").contributions[:-1]) >= 0).all()
    assert (np.diff(_table(freely, "visits").contributions[:-1]) < 0).any()


def test_the_fewer_labels_the_more_a_model_keeps_to_the_points() -> None:
    def leaning(labels: int) -> float:
        past = _labelled(history(seed=3), labels)
        scores = _scored(train(past, "anchored", code_version="test"), past)
        spread = dict(zip(scores.names, scores.contributions.std(axis=0), strict=True))
        return spread[POINTS.name] / sum(spread.values())

    assert leaning(50) > 0.25
    assert leaning(2_000) < leaning(50)


def test_without_a_scorecard_the_anchored_logistic_learns_from_the_columns_alone() -> None:
    past = replace(history(), points=None)
    model = train(past, "anchored", code_version="test")
    assert POINTS not in model.dimensions
    assert roc_auc_score(past.labels, _scored(model, past).logit) > 0.75


@pytest.mark.parametrize("kind", KINDS)
def test_leads_of_unknown_outcome_are_not_losses(kind: Kind) -> None:
    past = history()
    won = past.won.to_numpy(dtype=bool)
    half = _labelled(past, 1_000)
    lost = replace(past, won=past.won.where(np.arange(2_000) < 1_000, other=False))
    assert train(half, kind, code_version="test").base_rate == won[:1_000].mean()
    assert train(lost, kind, code_version="test").base_rate < 0.6 * won[:1_000].mean()


def test_a_dimension_in_which_all_leads_are_alike_is_left_out() -> None:
    past = history(300)
    same = replace(past, columns=past.columns.assign(visits=1.0))
    names = {each.name for each in train(same, "anchored", code_version="test").dimensions}
    assert names == {"employees", "channel", "points"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bin_that_held_no_lead_says_nothing(kind: Kind) -> None:
    past = history()
    visits = _table(train(past, kind, code_version="test"), "visits")
    assert visits.leads[-1] == 0
    assert visits.contributions[-1] == 0.0


def test_training_without_both_outcomes_is_refused() -> None:
    past = history(300)
    with pytest.raises(AicmoError, match="both won and lost"):
        train(replace(past, won=past.won & False), "anchored", code_version="test")


def test_training_on_leads_that_are_all_alike_is_refused() -> None:
    past = history(300)
    channel = texts(["ads"] * 300)
    same = past.columns.assign(visits=1.0, employees=np.nan, channel=channel)
    with pytest.raises(AicmoError, match="nothing to learn"):
        train(replace(past, columns=same), "additive", code_version="test")


def test_a_model_says_what_it_learned_from() -> None:
    past = _labelled(history(300), 200)
    model = train(past, "anchored", code_version="0.1.0+abc")
    assert model.window == {
        "first_arrival": "2026-01-01T00:00:00+00:00",
        "last_arrival": "2026-01-13T11:00:00+00:00",
        "leads": 300,
        "labelled": 200,
        "won": int(past.labels.sum()),
    }
    assert model.provenance["code"] == "0.1.0+abc"
    assert "sklearn" in model.provenance["libraries"]
    assert sum(model.score_leads) == 300


@pytest.mark.parametrize(
    ("won", "lost", "kinds"),
    [
        (49, 500, ()),
        (500, 49, ()),
        (50, 50, ("anchored",)),
        (50, 949, ("anchored",)),
        (50, 950, KINDS),
    ],
)
def test_models_are_trained_on_evidence_only(won: int, lost: int, kinds: tuple[Kind, ...]) -> None:
    past = history(1_100)
    outcomes = [True] * won + [False] * lost + [None] * (1_100 - won - lost)
    assert kinds_worth_training(replace(past, won=pd.Series(outcomes, dtype="boolean"))) == kinds
