"""`aicmo doctor` and `aicmo hook` as a user meets them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aicmo_dagster.domain.tokens import hook_key
from aicmo_dagster.store.database import open_database
from aicmo_dagster.store.heartbeats import CLOCK, beat
from aicmo_dagster_tests.cli.conftest import Aicmo


def test_every_part_is_told_of_with_what_to_do(aicmo: Aicmo, home: Path) -> None:
    sick = aicmo("doctor")
    assert sick.code == 1
    assert "scheduler" in sick.output
    assert "→ start it with 'aicmo dev'" in sick.output
    database = open_database(f"sqlite:///{home / 'aicmo.db'}")
    with database.write() as connection:
        beat(connection, CLOCK, datetime.now(UTC))
    database.close()
    well = aicmo("doctor", "--json")
    told = json.loads(well.output)
    assert (well.code, told["checks"]["scheduler"]["state"]) == (0, "pass")
    assert 0 <= told["checks"]["scheduler"]["age_seconds"] < 60


def test_a_database_that_is_away_is_told_of_like_any_part(
    aicmo: Aicmo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AICMO_DATABASE_URL", "postgresql://user:secret@127.0.0.1:9/x")
    told = aicmo("doctor", "--json")
    checks = json.loads(told.output)["checks"]
    assert (told.code, checks["database"]["state"], checks["disk"]["state"]) == (1, "fail", "pass")
    assert "secret" not in told.output


def test_the_address_for_a_provider_holds_its_key(
    aicmo: Aicmo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AICMO_SECRET_KEY", "k")
    monkeypatch.setenv("AICMO_PUBLIC_URL", "https://mail.acme.example")
    told = aicmo("hook", "dropcontact").output.strip()
    assert told == (
        f"https://mail.acme.example/hooks/dropcontact?key={hook_key(b'k', 'dropcontact')}"
    )
    assert aicmo("hook", "apollo").code == 2
