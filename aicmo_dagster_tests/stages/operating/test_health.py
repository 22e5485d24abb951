"""How the installation fares: each part's state, its age, and what to do."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.settings import Dkim, Provider
from aicmo_dagster.stages.operating.clock import beat
from aicmo_dagster.stages.operating.health import LATE, Check, Health, examine
from aicmo_dagster.stages.operating.webhooks import deliver_webhooks
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.rate_windows import park
from aicmo_dagster_tests.handoff.receiver import receiving
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.operating.test_webhooks import subscribe, tell
from aicmo_dagster_tests.store.rows import sends
from aicmo_dagster_tests.workspaces import open_test_workspace


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        opened = open_test_workspace(tmp_path, database_url, dagster_url=url)
        yield opened
        opened.database.close()


def health(workspace: Workspace) -> Health:
    return examine(workspace.settings, workspace.database, NOON)


def check(workspace: Workspace, name: str) -> Check:
    return next(each for each in health(workspace).checks if each.name == name)


def test_every_part_is_told_with_its_state_and_age(workspace: Workspace) -> None:
    beat(workspace, NOON - timedelta(seconds=15))
    told = health(workspace).as_document()
    assert {"database", "scheduler", "apollo", "dropcontact", "memory", "disk"} < set(
        told["checks"]
    )
    assert told["checks"]["database"]["state"] == "pass"
    assert told["checks"]["scheduler"]["state"] == "pass"
    assert told["checks"]["scheduler"]["age_seconds"] == 15
    assert all(
        bool(each["advice"]) == (each["state"] != "pass") for each in told["checks"].values()
    )


def test_a_daemon_that_has_stopped_or_never_ran_fails(workspace: Workspace) -> None:
    assert check(workspace, "scheduler").state == "fail"
    beat(workspace, NOON - LATE)
    assert check(workspace, "scheduler").state == "pass"
    beat(workspace, NOON - LATE - timedelta(seconds=1))
    assert check(workspace, "scheduler").state == "fail"
    assert health(workspace).state == "fail"


def test_settings_that_do_not_go_together_are_told_of(workspace: Workspace) -> None:
    def told(**changes: Any) -> Check:
        changed = replace(workspace, settings=replace(workspace.settings, **changes))
        return check(changed, "settings")

    smtp, here = "smtp://127.0.0.1", "https://127.0.0.1:8000"
    assert told().state == told(public_url="http://127.0.0.1:8000").state == "pass"
    assert told(smtp_url=smtp, public_url="https://mail.acme.example").state == "pass"
    for url in ("http://mail.acme.example", here):
        assert "AICMO_PUBLIC_URL" in told(smtp_url=smtp, public_url=url).detail
    unsigned = told(dkim=Dkim("acme.example", "s1", Path("/nowhere/key.pem")))
    assert (unsigned.state, "AICMO_DKIM_KEY_FILE" in unsigned.detail) == ("warn", True)
    short = told(configured_webhook_secret="whsec_c2hvcnQ=")
    assert "AICMO_WEBHOOK_SECRET" in short.detail
    assert "c2hvcnQ" not in short.detail


def test_a_web_server_that_does_not_answer_is_told_of(workspace: Workspace) -> None:
    assert check(workspace, "dagster").state == "warn"


def test_a_provider_that_takes_no_requests_is_told_of(workspace: Workspace) -> None:
    settings = replace(workspace.settings, apollo=Provider("https://a.example", "key"))
    workspace = replace(workspace, settings=settings)
    assert check(workspace, "apollo").state == "pass"
    later = NOON + timedelta(hours=1)
    with workspace.database.write() as connection:
        park(connection, "apollo /people/match", "hash", "parked", later)
    assert check(workspace, "apollo").state == "warn"
    assert examine(workspace.settings, workspace.database, later).checks[4].state == "pass"


def test_events_that_were_given_up_are_told_of(workspace: Workspace) -> None:
    assert check(workspace, "dead_letters").state == "pass"
    with receiving() as inside:  # the address is private, which is refused
        subscribe(workspace, inside.url)
        tell(workspace)
        assert deliver_webhooks(workspace, lambda: NOON) == {"dead": 1}
    assert check(workspace, "dead_letters").state == "warn"


def test_events_that_wait_on_disk_are_told_of(workspace: Workspace) -> None:
    spool = workspace.settings.spool
    spool.mkdir()
    segment = spool / "1.ready"
    segment.touch()
    os.utime(segment, (NOON.timestamp(), NOON.timestamp()))
    assert check(workspace, "spool").state == "pass"
    old = (NOON - LATE).timestamp() - 1
    os.utime(segment, (old, old))
    assert check(workspace, "spool").state == "warn"


def test_a_database_that_cannot_be_opened_leaves_the_rest_to_be_told(
    workspace: Workspace,
) -> None:
    told = examine(workspace.settings, AicmoError("it is away"), NOON)
    states = {each.name: each.state for each in told.checks}
    assert told.state == states["database"] == "fail"
    assert {"memory", "disk", "dagster"} < set(states)


def test_mail_in_doubt_leads_to_where_it_is_listed(workspace: Workspace) -> None:
    sends(workspace.database, "spring", step="intro", state="unknown")
    found = check(workspace, "mail")
    assert found.state == "warn"
    assert "'aicmo unknown list'" in found.advice
    assert "refusals" not in found.advice
