from datetime import timedelta

import pandas as pd

from aicmo_dagster.domain.scoring.answers import either, ripened_answers
from aicmo_dagster_tests.samples import NOON, raw_leads

DAY = timedelta(days=1)


def _label(arrived: int, contacted: int | None, won: int | None, horizon_days: int = 30) -> object:
    """The label of one lead, by days before now; None for what never happened."""
    leads = raw_leads(1)
    told = pd.DataFrame(
        {
            "lead_id": leads["lead_id"],
            "contacted_at": [pd.NaT if contacted is None else pd.Timestamp(NOON - contacted * DAY)],
            "won_at": pd.to_datetime([None if won is None else NOON - won * DAY], utc=True),
        }
    )
    label = ripened_answers(
        leads,
        told if contacted is not None else told.iloc[:0],
        arrived_at=pd.Series([NOON - arrived * DAY]),
        now=NOON,
        horizon_days=horizon_days,
    )
    assert label.dtype == "boolean"
    return None if label.isna()[0] else bool(label[0])


def test_an_answer_within_the_horizon_of_arrival_is_a_win_and_silence_after_it_a_loss() -> None:
    assert _label(arrived=40, contacted=35, won=20) is True
    assert _label(arrived=40, contacted=35, won=None) is False
    assert _label(arrived=40, contacted=35, won=5) is False


def test_before_the_horizon_has_passed_nothing_is_known_not_even_of_who_answered() -> None:
    assert _label(arrived=29, contacted=20, won=10) is None
    assert _label(arrived=29, contacted=20, won=None) is None


def test_who_was_not_written_to_in_time_could_not_answer_and_is_unknown_not_lost() -> None:
    assert _label(arrived=40, contacted=None, won=None) is None
    assert _label(arrived=40, contacted=5, won=None) is None


def test_what_one_source_does_not_know_the_other_may() -> None:
    values = [True, False, None]
    one = pd.Series([a for a in values for _ in values], dtype="boolean")
    other = pd.Series(values * 3, dtype="boolean")
    expected = [True, True, True, True, False, False, True, False, None]

    assert either(one, other).astype(object).where(either(one, other).notna(), None).tolist() == (
        expected
    )
