"""The embedded default, used, is moved to PostgreSQL and goes on there."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aicmo_dagster.defs.partitions import campaign_partitions
from aicmo_dagster.defs.runs import open_instance
from aicmo_dagster.settings import load_settings
from aicmo_dagster_tests.cli.conftest import Aicmo

KEY = "nordic-revops"


def test_a_used_home_moves_to_postgresql_with_all_that_it_knows(
    aicmo: Aicmo,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    new_postgresql: Callable[[], str],
) -> None:
    assert aicmo("demo").code == 0
    leads = json.loads(aicmo("campaign", "show", KEY, "--json").output)["leads"]
    url = f"sqlite:///{home}/aicmo.db"
    monkeypatch.setenv("AICMO_DATABASE_URL", new_postgresql())
    monkeypatch.setenv("DAGSTER_HOME", str(home / "new"))
    moved = json.loads(aicmo("migrate-from", url, "--json").output)
    assert moved["campaigns"] == [KEY]
    assert moved["tables"]["raw_leads"] == 270
    shown = json.loads(aicmo("campaign", "show", KEY, "--json").output)
    assert shown["leads"] == leads
    with open_instance(load_settings()) as instance:
        assert instance.get_dynamic_partitions(str(campaign_partitions.name)) == [KEY]
    sends = aicmo("export", KEY, "nurture_sends", "--format", "jsonl").output.splitlines()
    waiting = sum(json.loads(send)["state"] in ("planned", "deferred") for send in sends)
    doubtful = aicmo("restored", "--lost-at", "2100-01-01T00:00:00+00:00", "--json")
    assert json.loads(doubtful.output)["unknown"] == waiting > 0
    again = aicmo("migrate-from", url)
    assert again.code == 1
    assert "the target is not empty" in again.errors


def test_an_instant_that_is_none_is_refused(aicmo: Aicmo) -> None:
    refused = aicmo("restored", "--lost-at", "yesterday")
    assert refused.code == 2
    assert "--lost-at: found 'yesterday'; expected an ISO 8601 instant" in refused.errors
