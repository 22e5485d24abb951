from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicmo_dagster.domain.scoring.history import History, cohorts, ripened, time_split
from aicmo_dagster_tests.domain.scoring.histories import BEGIN, history, leads, texts

NOW = BEGIN + timedelta(days=100)
HORIZON = 30


def _days(*days: float | None) -> pd.Series:
    """Instants so many days after the beginning."""
    stamps = [pd.NaT if day is None else BEGIN + timedelta(days=day) for day in days]
    return pd.Series(pd.to_datetime(stamps, utc=True))


def _labels(won: list[bool | None], arrived: pd.Series | None, won_at=None) -> list[bool | None]:
    label = ripened(
        pd.Series(won, dtype="boolean"),
        arrived_at=arrived,
        won_at=won_at,
        now=NOW,
        horizon_days=HORIZON,
    )
    assert label.dtype == "boolean"
    return [None if value is pd.NA else bool(value) for value in label]


def test_a_label_ripens_a_horizon_after_arrival_whatever_it_is() -> None:
    arrived = _days(69, 70, 71, 99)
    assert _labels([True] * 4, arrived) == [True, True, None, None]
    assert _labels([False] * 4, arrived) == [False, False, None, None]


def test_an_empty_outcome_is_unknown_until_the_horizon_has_passed_and_lost_after_it() -> None:
    assert _labels([True, None, None], _days(0, 10, 80)) == [True, False, None]


def test_leads_from_before_outcomes_were_recorded_are_unknown_not_lost() -> None:
    assert _labels([None, None, True, None], _days(0, 5, 10, 15)) == [None, None, True, False]
    assert _labels([None, None], _days(0, 5)) == [None, None]


def test_a_win_after_the_horizon_is_none_within_it() -> None:
    won_at = _days(20, 31, None)
    assert _labels([True, True, True], _days(0, 0, 0), won_at) == [True, False, True]


def test_a_lead_of_unknown_arrival_has_no_label_yet() -> None:
    assert _labels([True, False, None], _days(None, None, None)) == [None, None, None]


def test_where_arrival_is_an_order_outcomes_count_as_given() -> None:
    assert _labels([True, False, None], None) == [True, False, None]


def _of(arrival: pd.Series, won: list[bool | None]) -> History:
    columns = leads(len(won), 0)
    return History(columns, (), pd.Series(won, dtype="boolean"), arrival, None)


def test_the_latest_labelled_leads_are_the_test_and_the_earlier_the_training() -> None:
    order = pd.Series([5.0, 1.0, 4.0, 2.0, 3.0, 6.0, np.nan])
    split = time_split(_of(order, [True, False, True, None, False, None, True]), test_share=0.5)
    assert split.train.tolist() == [False, True, False, True, True, False, False]
    assert split.test.tolist() == [True, False, True, False, False, False, False]


def test_training_stops_an_embargo_before_the_test_begins() -> None:
    arrival = _days(0, 10, 20, 30, 40, 50)
    split = time_split(
        _of(arrival, [True, False] * 3), test_share=0.34, embargo=timedelta(days=HORIZON)
    )
    assert split.test.tolist() == [False] * 4 + [True] * 2
    assert split.train.tolist() == [True, True] + [False] * 4


@given(
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from([True, False, None])), max_size=30),
    st.floats(0.05, 0.95),
    st.integers(0, 10),
)
def test_no_label_learned_from_was_open_when_the_test_began(
    rows: list[tuple[int, bool | None]], share: float, days: int
) -> None:
    arrival = _days(*(day for day, _ in rows))
    past = _of(arrival, [won for _, won in rows])
    split = time_split(past, test_share=share, embargo=timedelta(days=days))
    assert not (split.train & split.test).any()
    assert split.test.any() == past.labelled.any()
    assert past.labelled[split.test].all()
    if split.train.any():
        gap = arrival[split.test].min() - arrival[split.train].max()
        assert gap >= timedelta(days=days)
        assert gap > timedelta(0)


def test_cohorts_are_weeks_from_monday_where_arrival_is_a_time() -> None:
    # The first of January 2026 was a Thursday.
    assert cohorts(_days(0, 3.9, 4, 11, None, 25)).tolist() == [0, 0, 1, 2, -1, 4]


def test_cohorts_are_so_many_leads_where_arrival_is_an_order() -> None:
    order = pd.Series([50.0, 10.0, 20.0, 40.0, 30.0, np.nan])
    assert cohorts(order, leads=2).tolist() == [2, 0, 0, 1, 1, -1]


def test_the_hash_is_of_the_values_and_not_of_what_holds_them() -> None:
    past = history(50)
    again = replace(
        past,
        columns=past.columns.astype({"visits": "double[pyarrow]"}),
        won=past.won.astype("bool[pyarrow]").astype("boolean"),
        arrival=past.arrival.astype("timestamp[us, tz=UTC][pyarrow]"),
    )
    assert again.content_hash() == past.content_hash()
    halves = [past.part(np.arange(50) < 25), past.part(np.arange(50) >= 25)]
    joined = pd.concat([half.columns for half in halves])
    assert replace(past, columns=joined).content_hash() == past.content_hash()


@pytest.mark.parametrize("changed", ["visits", "channel", "won", "arrival", "points"])
def test_the_hash_changes_with_any_value(changed: str) -> None:
    past = history(50)
    columns, won, arrival = past.columns.copy(), past.won.copy(), past.arrival.copy()
    assert past.points is not None
    points = past.points.copy()
    if changed == "visits":
        columns.loc[7, "visits"] += 1
    elif changed == "channel":
        columns["channel"] = texts(["ads", *columns["channel"].tolist()[:-1]])
    elif changed == "won":
        won[7] = pd.NA
    elif changed == "arrival":
        arrival[7] += timedelta(seconds=1)
    else:
        points[7] += 1
    other = replace(past, columns=columns, won=won, arrival=arrival, points=points)
    assert other.content_hash() != past.content_hash()
