import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.scoring.explanations import contributions_as_json, explain
from aicmo_dagster.domain.scoring.model import NOTHING_KNOWN, Model, logit_of, score
from aicmo_dagster.domain.scoring.training import train, with_points
from aicmo_dagster_tests.domain.scoring.histories import history, leads, texts


@pytest.fixture(scope="module")
def model() -> Model:
    return train(history(), "anchored", code_version="test")


def _columns(count: int, seed: int) -> pd.DataFrame:
    points = np.random.default_rng(seed).normal(0, 5, count)
    return with_points(leads(count, seed), points)


def test_the_three_strongest_dimensions_either_way_are_told_with_the_leads_own_values(
    model: Model,
) -> None:
    lead = pd.DataFrame({"visits": [6.0], "employees": [np.nan], "channel": texts(["fair"])})
    told = explain(model, with_points(lead, np.array([-8.0])))
    assert {reason.dimension.name: reason.value for reason in told.raising}.items() >= {
        ("visits", "6 visits"),
        ("channel", "'fair'"),
    }
    assert [reason.logit for reason in told.raising] == sorted(
        (reason.logit for reason in told.raising), reverse=True
    )
    assert told.lowering[0].dimension.name == "points"
    assert str(told.lowering[0]).startswith("points is -8 points: -")


@given(seed=st.integers(0, 1_000))
@settings(max_examples=25, deadline=None)
def test_families_and_base_sum_to_the_logit(seed: int) -> None:
    trained = train(history(300, seed % 3), "anchored", code_version="test")
    told = explain(trained, _columns(1, seed))
    assert list(told.families) == ["fit", "company", "engagement", "custom"]
    assert told.base + sum(told.families.values()) == pytest.approx(told.logit, abs=1e-9)


def test_a_lead_of_which_nothing_is_known_says_so(model: Model) -> None:
    lead = pd.DataFrame({"visits": [np.nan], "employees": [np.nan], "channel": texts([None])})
    told = explain(model, with_points(lead, np.array([0.0])))
    assert told.note == NOTHING_KNOWN
    assert (told.raising, told.lowering) == ((), ())
    assert told.logit == told.base == pytest.approx(logit_of(model.base_rate))


def test_the_stored_contributions_of_each_lead_sum_to_its_logit(model: Model) -> None:
    columns = _columns(500, 7)
    columns.loc[3, ["visits", "employees", "channel"]] = [np.nan, np.nan, None]
    scores = score(model, columns)
    stored = [json.loads(text) for text in contributions_as_json(model, columns, scores)]
    totals = np.array([sum(parts.values()) for parts in stored])
    assert np.abs(totals - scores.logit).max() < 1e-9
    assert list(stored[3]) == ["base"]
    for place, name in enumerate(scores.names):
        assert stored[0].get(name, 0.0) == scores.contributions[0, place]
