"""A harvest that is killed at any moment and begun again pays for nobody twice, and loses nothing.

The long form is a benchmark, `bench_harvest_killed`.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from aicmo_dagster.sources.apollo import LARGEST_MATCH
from aicmo_dagster_tests.providers.killing import harvest_calmly, harvest_killed, random_points
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.stages.harvesting.harvests import AT_ONCE

pytestmark = pytest.mark.long

LEADS = 260
REQUESTS = 30


def test_20_a_harvest_killed_at_many_moments_ends_as_if_nothing_had_happened(
    tmp_path: Path,
    database_url: str,
    new_sqlite: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But for leads whose answer was charged for and lost: they are never asked about again."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with StandIn(LEADS, specials=False).running() as stand_in:
        calm = harvest_calmly(tmp_path / "calm", new_sqlite(), stand_in, LEADS)
    with StandIn(LEADS, specials=False, delay=0.01).running() as stand_in:
        points = random_points(5, REQUESTS, seed=4)
        survived = harvest_killed(tmp_path / "killed", database_url, stand_in, LEADS, points)
        assert stand_in.ledger.paid_twice("apollo") == set()
        assert stand_in.ledger.paid_twice("dropcontact") == set()
    assert survived.kills == 5
    assert set(survived.leads["lead_id"]) == set(calm["lead_id"])
    assert len(survived.doubtful) <= survived.kills * AT_ONCE * LARGEST_MATCH
    unharmed = ~calm["lead_id"].isin(survived.doubtful)
    pd.testing.assert_frame_equal(survived.leads[unharmed], calm[unharmed])
