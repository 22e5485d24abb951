"""A process killed in the middle of a campaign's life: whatever must hold of it still does.

The long form, with 20 seeds and a month each, is the benchmark `simulation_killed`.
"""

from pathlib import Path

import pytest

from aicmo_dagster_tests.simulation.killing import SEARCHED, live_despite_kills


def test_a_life_that_is_killed_and_gone_on_with_breaks_no_promise(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    after = live_despite_kills(tmp_path, database_url, people=30, days=2, kills=2, seed=3)
    assert after.kills == 2
    assert after.breaches == []
    assert after.letters > 20
    assert 0 < after.spent <= 4 * SEARCHED
