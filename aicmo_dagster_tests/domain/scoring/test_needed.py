"""What the scorecard is told to be read is all that it looks at."""

import pandas as pd
import pytest

from aicmo_dagster.domain.documents import validate
from aicmo_dagster.domain.scoring.features import NAMES, features
from aicmo_dagster.domain.scoring.needed import NEEDED, needed_columns
from aicmo_dagster.domain.scoring.scorecard import score
from aicmo_dagster.domain.sections.scoring import Scoring
from aicmo_dagster_tests.domain.scoring.test_scorecard import IDEAL, STATED
from aicmo_dagster_tests.samples import NOON, raw_leads

EVERYTHING = {"fit": {}, "budget": {}}
for _section in STATED.values():
    for _name, _said in _section.items():
        EVERYTHING[_name] |= _said
LEADS = raw_leads(2, **{name: pd.Series([value, None]) for name, value in IDEAL.items()})


def test_every_dimension_is_told() -> None:
    assert set(NEEDED) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_dimension_is_measured_by_what_it_is_said_to_need(name: str) -> None:
    scoring = validate(Scoring, EVERYTHING, "test")
    few = LEADS[list(NEEDED[name])]
    whole = features(LEADS, scoring, NOON, [name])
    pd.testing.assert_frame_equal(features(few, scoring, NOON, [name]), whole)


RULES = {
    "company_age": {"points": 5, "full_at": 10},
    "visits": {"points": 5, "full_at": 5, "within_days": 60},
    "channel": {"points": 5, "values": ["Fair"], "half_life_days": 14},
    "custom.Seats": {"points": 5, "full_at": 10},
}


@pytest.mark.parametrize("changes", [{}, {"points": {"rules": RULES}}])
def test_leads_are_scored_alike_by_the_columns_needed(changes: dict[str, object]) -> None:
    scoring = validate(Scoring, EVERYTHING | changes, "test")
    few = LEADS[[name for name in LEADS if name in needed_columns(scoring)]]
    assert len(few.columns) < len(LEADS.columns)
    pd.testing.assert_frame_equal(score(few, scoring, NOON), score(LEADS, scoring, NOON))
