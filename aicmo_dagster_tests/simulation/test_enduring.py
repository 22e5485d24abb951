"""A campaign's life that everything befalls: whatever must hold of it still does.

The long form, with 20 seeds and a month each, is the benchmark `simulation_killed`.
"""

import shutil
from pathlib import Path

import pytest

from aicmo_dagster_tests.simulation.enduring import SEARCHED, live_despite
from aicmo_dagster_tests.simulation.places import disk
from aicmo_dagster_tests.simulation.troubles import KINDS

pytestmark = pytest.mark.long


def test_a_life_that_everything_befalls_breaks_no_promise(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with disk(64) as place:
        if database_url.startswith("sqlite"):
            shutil.copyfile(database_url.removeprefix("sqlite:///"), place.folder / "aicmo.db")
            database_url = f"sqlite:///{place.folder}/aicmo.db"
        kinds = ("kill", *KINDS)
        after = live_despite(place, tmp_path, database_url, people=30, days=9, kinds=kinds, seed=3)
    assert after.breaches == []
    assert after.befallen["kill"] == 2
    able = {"database": "postgresql" in database_url, "disk": place.bounded}
    assert {kind: after.befallen[kind] for kind in KINDS[1:]} == dict.fromkeys(KINDS[1:], 1) | able
    assert after.letters > 20
    assert 0 < after.spent <= 4 * SEARCHED
