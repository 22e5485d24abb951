from dataclasses import replace

import numpy as np
import pytest

from aicmo_dagster.domain.scoring.history import time_split
from aicmo_dagster.domain.scoring.pooling import pooled
from aicmo_dagster.domain.scoring.training import train
from aicmo_dagster.errors import AicmoError
from aicmo_dagster_tests.domain.scoring.histories import history


def test_one_campaigns_history_is_its_own_pool() -> None:
    assert pooled([only := history(50)]) is only


def test_a_pool_holds_everyones_leads_labels_and_points_in_order_of_arrival() -> None:
    parts = [history(300, seed=1), history(200, seed=2)]
    both = pooled(parts)

    assert len(both.columns) == len(both.won) == len(both.arrival) == 500
    assert both.labels.sum() == sum(part.labels.sum() for part in parts)
    assert both.points is not None
    assert np.array_equal(both.points[300:], parts[1].points)
    split = time_split(both)
    assert both.arrival[split.train].max() < both.arrival[split.test].min()
    assert train(both, "anchored", code_version="test").window["leads"] == 500


def test_a_column_that_not_all_hold_alike_is_left_out() -> None:
    first, second = history(60, seed=1), history(60, seed=2)
    numbered = second.columns.assign(channel=np.arange(60.0))

    assert [d.name for d in pooled([first, second]).dimensions] == [
        "visits",
        "employees",
        "channel",
    ]
    other_kind = pooled([first, replace(second, columns=numbered)])
    assert [d.name for d in other_kind.dimensions] == ["visits", "employees"]
    lacking = pooled([first, second.without(("visits",))])
    assert [d.name for d in lacking.dimensions] == ["employees", "channel"]
    assert list(lacking.columns) == ["employees", "channel"]


def test_mere_orders_of_arrival_are_not_pooled() -> None:
    first = history(60)
    ordered = replace(first, arrival=first.won.index.to_series().astype(float))

    with pytest.raises(AicmoError, match="instants of arrival"):
        pooled([first, ordered])
