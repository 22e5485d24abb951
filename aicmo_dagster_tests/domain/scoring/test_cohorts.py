from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from aicmo_dagster.domain.schemas import dtypes
from aicmo_dagster.domain.scoring.cohorts import FEWEST, rank_cohorts
from aicmo_dagster.domain.scoring.history import COHORT_LEADS as BLOCK
from aicmo_dagster_tests.samples import NOON, raw_leads

MONDAY = datetime.fromisoformat("2026-03-02T00:00:00+00:00")


def of_instants(instants: list[datetime]) -> list[int]:
    leads = raw_leads(len(instants))
    seen = pd.array(instants, dtypes("raw_leads")["first_seen_at"])
    return rank_cohorts(leads.assign(first_seen_at=seen)).tolist()


def of_arrivals(arrived: list[Any]) -> list[int]:
    return rank_cohorts(raw_leads(len(arrived), arrived=arrived)).tolist()


def test_a_cohort_is_a_week_from_monday() -> None:
    sunday = MONDAY - timedelta(microseconds=1)
    weeks = [MONDAY - timedelta(days=7), sunday, MONDAY, MONDAY + timedelta(days=6.99)]

    assert of_instants(weeks * FEWEST) == [0, 0, 1, 1] * FEWEST


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([FEWEST, FEWEST], [0, 1]),
        ([FEWEST, FEWEST - 1, FEWEST], [0, 0, 1]),
        ([3, FEWEST, FEWEST], [0, 0, 1]),
        ([3, 4, 5], [0, 0, 0]),
        ([FEWEST, 0, 0, FEWEST], [0, 0, 0, 1]),
    ],
)
def test_a_small_cohort_joins_the_one_before_it(sizes: list[int], expected: list[int]) -> None:
    weeks = [MONDAY + timedelta(days=7 * n) for n, size in enumerate(sizes) for _ in range(size)]

    assert of_instants(weeks) == [
        e for e, size in zip(expected, sizes, strict=True) for _ in range(size)
    ]


def test_the_instants_that_a_source_tells_come_before_the_first_harvest() -> None:
    assert of_arrivals(["2026-03-01", "2026-03-02T08:00:00+01:00"] * FEWEST) == [0, 1] * FEWEST


def test_an_order_is_cut_into_blocks() -> None:
    order = [str(number) for number in range(2 * BLOCK, 0, -1)]

    assert of_arrivals(order) == [1] * BLOCK + [0] * BLOCK


def test_where_one_lead_lacks_its_arrival_all_go_by_their_first_harvest() -> None:
    assert of_arrivals([*map(str, range(2 * BLOCK)), None]) == [0] * (2 * BLOCK + 1)


def test_nobody_is_in_no_cohort() -> None:
    assert of_instants([]) == []
    assert of_instants([NOON]) == [0]
