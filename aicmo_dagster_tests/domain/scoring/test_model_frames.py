import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from aicmo_dagster.domain.documents import validate
from aicmo_dagster.domain.schemas import ScoredLeads
from aicmo_dagster.domain.scoring import training
from aicmo_dagster.domain.scoring.cards import calibration_bins, influences
from aicmo_dagster.domain.scoring.catalogue import BY_NAME
from aicmo_dagster.domain.scoring.model import Model, score
from aicmo_dagster.domain.scoring.model_frames import (
    ALWAYS_KNOWN,
    POINTS,
    arrived_since,
    history_of,
    model_columns,
    scored_by_model,
)
from aicmo_dagster.domain.scoring.training import train
from aicmo_dagster.domain.sections.scoring import Scoring
from aicmo_dagster_tests.samples import NOON, raw_leads

SCORING = validate(Scoring, {"fit": {"titles": ["boss"]}, "horizon_days": 30}, "x")
LONG_AGO = pd.Timestamp(NOON - timedelta(days=400))


def past_leads(count: int = 200, **columns: Any) -> pd.DataFrame:
    """Leads of long ago: who has many hours was won."""
    draw = np.random.default_rng(3)
    hours = draw.integers(0, 10, count)
    return raw_leads(
        count,
        **{
            "title": draw.choice(["Boss", "Clerk"], count),
            "visits": draw.integers(0, 5, count),
            "custom": [json.dumps({"Hours": str(h), "Plan": "ab"[h % 2]}) for h in hours],
            "won": hours + draw.normal(0, 3, count) > 5,
            "first_seen_at": [LONG_AGO + timedelta(hours=n) for n in range(count)],
            **columns,
        },
    )


@pytest.fixture(scope="module")
def model() -> Model:
    return train(history_of(past_leads(), SCORING, NOON), "anchored", code_version="test")


def test_the_points_have_the_name_that_the_anchored_model_knows() -> None:
    assert training.POINTS.name == POINTS


def test_a_history_holds_every_dimension_and_the_campaigns_own() -> None:
    history = history_of(past_leads(), SCORING, NOON)
    names = [dimension.name for dimension in history.dimensions]

    assert names == list(history.columns) == [*BY_NAME, "custom.Hours", "custom.Plan"]
    assert history.points is not None
    assert len(history.points) == len(history.won) == 200


def test_ages_are_those_on_arrival_and_what_came_later_is_not_known() -> None:
    days = [LONG_AGO - timedelta(days=3), LONG_AGO + timedelta(days=3)]
    leads = past_leads(2, last_engaged_at=days, first_seen_at=LONG_AGO)
    history = history_of(leads, SCORING, NOON)

    assert history.columns["days_since_engagement"].tolist() == [
        3,
        pytest.approx(np.nan, nan_ok=True),
    ]


def test_an_outcome_that_has_not_ripened_is_unknown() -> None:
    arrived = [str((NOON - timedelta(days=d)).date()) for d in (40, 40, 20, 20)]
    leads = raw_leads(4, arrived=arrived, won=[True, None, True, None])

    assert history_of(leads, SCORING, NOON).won.tolist() == [True, False, pd.NA, pd.NA]


def test_a_model_is_given_what_it_looks_at_in_any_frame(model: Model) -> None:
    names = {dimension.name for dimension in model.dimensions}
    columns = model_columns(model, past_leads(), SCORING, NOON)

    assert set(columns) == names >= {"custom.Hours", "points"}
    assert score(model, columns).absent == ()
    without = model_columns(model, raw_leads(3), SCORING, NOON)
    assert without["custom.Hours"].isna().all()


def test_scored_leads_sum_to_their_logit(model: Model) -> None:
    leads = past_leads()
    scores = score(model, model_columns(model, leads, SCORING, NOON))
    scored = scored_by_model(leads, scores, "abcd1234")

    ScoredLeads.validate(scored)
    sums = [sum(json.loads(text).values()) for text in scored["contributions"]]
    found = scored["base"].to_numpy(float) + sums
    assert np.abs(found - scores.logit).max() < 1e-9
    assert np.abs(found - logit(scored["score"].to_numpy(float) / 100)).max() < 1e-3
    assert set(scored["band"]) == {*"ABCD"}


def test_a_lead_that_nothing_is_known_of_has_the_share_won_among_all(model: Model) -> None:
    blank = {name: None for name in raw_leads(1) if name not in ("lead_id", "first_seen_at")}
    leads = raw_leads(2, **blank | {"source": "csv-1", "custom": ["{}", '{"Hours":"9"}']})
    scores = score(model, model_columns(model, leads, SCORING, NOON))
    scored = scored_by_model(leads, scores, "abcd1234")

    assert scores.nothing_known.tolist() == [True, False]
    assert scored["score"][0] == pytest.approx(100 * model.base_rate, abs=1e-4)
    assert scored["contributions"][0] == "{}"
    assert scored["score"][1] != scored["score"][0]


def test_what_is_always_known_says_nothing_of_a_lead() -> None:
    assert set(BY_NAME) >= ALWAYS_KNOWN
    assert {"source", "completeness", "address_known"} <= ALWAYS_KNOWN


def test_the_leads_since_a_model_are_those_after_the_last_it_was_measured_on(model: Model) -> None:
    last = LONG_AGO + timedelta(hours=199)
    arrival = pd.Series([last, last + timedelta(microseconds=1)])

    assert arrived_since(model, arrival).tolist() == [False, True]
    measured = replace(model, metrics={"test_window": {"last_arrival": NOON.isoformat()}})
    assert arrived_since(measured, arrival).tolist() == [False, False]
    assert arrived_since(measured, pd.Series([1.0, 2.0])).tolist() == [False, False]
    ordered = replace(model, metrics={"test_window": {"last_arrival": 1.0}})
    assert arrived_since(ordered, pd.Series([1.0, 2.0])).tolist() == [False, True]


def test_influence_is_the_mean_absolute_contribution(model: Model) -> None:
    columns = model_columns(model, past_leads(), SCORING, NOON)
    parts = score(model, columns).contributions
    found = {each.name: each.mean for each in influences(model)}
    place = [dimension.name for dimension in model.dimensions].index("custom.Hours")

    assert next(iter(found)) in ("custom.Hours", "points")
    assert found["custom.Hours"] == pytest.approx(np.abs(parts[:, place]).mean())
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_calibration_bins_are_tenths_by_probability() -> None:
    probability = np.linspace(0, 1, 100)
    bins = calibration_bins(probability, probability > 0.5)

    assert [each.leads for each in bins] == [10] * 10
    assert [each.observed for each in bins] == [0] * 5 + [1] * 5
    assert bins[0].expected == pytest.approx(probability[:10].mean())
    assert len(calibration_bins(probability[:3], probability[:3] > 0.5)) == 3
