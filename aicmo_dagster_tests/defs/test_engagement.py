"""Engagement as Dagster runs it: assets by campaign, a run over all, and what starts it."""

import runpy
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aicmo_dagster.defs import engagement
from aicmo_dagster.defs.engagement import (
    ENGAGEMENT_ASSETS,
    ENGAGEMENT_JOBS,
    engagement_job,
    engagement_sensor,
    inbound_job,
    inbound_sensor,
)
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.leads.explain import explain_lead
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import archive_campaign
from aicmo_dagster.store.events import add_event, add_events, events_of_lead
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.handoffs import list_handoffs
from aicmo_dagster_tests.mail.inbound.letters import letter
from aicmo_dagster_tests.samples import NOON, campaign_document
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

LATER = NOON + timedelta(hours=1)
MINUTES = timedelta(minutes=10)


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    """A campaign `spring` with a lead who clicked and replied, and a Maildir."""
    for folder in ("new", "cur", "tmp"):
        (tmp_path / "Maildir" / folder).mkdir(parents=True)
    url = f"maildir:{tmp_path / 'Maildir'}"
    opened = open_test_workspace(tmp_path, database_url, inbound_url=url)
    nurture = campaign_document()["nurture"] | {"graduate": {"to": "csv"}}
    apply(opened, "spring", 1, nurture=nurture)
    harvest(opened, "spring", NOON)
    yield opened
    opened.database.close()


def lead(workspace: Workspace) -> str:
    with workspace.database.read() as connection:
        return str(read_frame(connection, "raw_leads", "spring", ["lead_id"])["lead_id"].iloc[0])


def click(workspace: Workspace, at: datetime) -> None:
    row = {"campaign": "spring", "lead_id": lead(workspace), "kind": "click", "step": "intro"}
    row |= {"happened_at": at, "key": at.isoformat(), "detail": "{}", "link": "a"}
    row |= {"client": "192.0.2.1"}
    with workspace.database.write() as connection:
        add_events(connection, [row | {"method": "GET", "agent": "Mozilla/5.0 X"}])


def reply(workspace: Workspace) -> None:
    with workspace.database.write() as connection:
        detail = {"matched_by": "reference", "text": "a secret word"}
        add_event(connection, "spring", lead(workspace), "reply", "r", NOON, detail=detail)


def resources(workspace: Workspace, now: datetime = LATER) -> dict[str, Any]:
    return {"workspace": workspace, "clock": Clock(as_of=now.isoformat())}


def asked(
    sensor: Any,
    workspace: Workspace,
    cursor: str | None,
    now: datetime = LATER,
    *,
    last: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS,
) -> Any:
    wanted = resources(workspace, now)
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance, cursor=cursor, resources=wanted) as context,
    ):
        for job in ENGAGEMENT_JOBS:
            instance.add_run(dg.DagsterRun(job_name=job.name, status=last))
        return sensor(context)


def test_the_assets_hold_verdicts_and_handoffs_of_their_campaign(workspace: Workspace) -> None:
    click(workspace, NOON)
    reply(workspace)
    with dg.DagsterInstance.ephemeral() as instance:
        register_campaign(instance, "spring")
        result = dg.materialize(
            ENGAGEMENT_ASSETS,
            selection=dg.AssetSelection.assets(*ENGAGEMENT_ASSETS),
            partition_key="spring",
            instance=instance,
            resources=resources(workspace),
        )
        events = [
            e.step_materialization_data.materialization
            for e in result.get_asset_materialization_events()
        ]

    assert {str(each.asset_key.path[-1]): each.partition for each in events} == {
        "engagement": "spring",
        "sales_handoffs": "spring",
    }
    with workspace.database.read() as connection:
        assert [each["state"] for each in list_handoffs(connection, "spring")] == ["delivered"]


def test_one_run_serves_every_active_campaign(workspace: Workspace) -> None:
    reply(workspace)
    apply(workspace, "autumn", 1)
    assert engagement_job.execute_in_process(resources=resources(workspace)).success
    with workspace.database.read() as connection:
        assert len(list_handoffs(connection, "spring")) == 1


def test_a_run_starts_when_something_happened_and_when_it_is_time_to_judge(
    workspace: Workspace,
) -> None:
    assert isinstance(asked(engagement_sensor, workspace, None), dg.SkipReason)
    click(workspace, LATER)
    found = asked(engagement_sensor, workspace, None)
    assert len(found.run_requests) == 1
    engagement_job.execute_in_process(resources=resources(workspace))
    assert isinstance(asked(engagement_sensor, workspace, found.cursor), dg.SkipReason)
    ripe = LATER + timedelta(minutes=6)
    assert len(asked(engagement_sensor, workspace, found.cursor, ripe).run_requests) == 1
    with workspace.database.write() as connection:
        archive_campaign(connection, "spring", LATER)
    assert isinstance(asked(engagement_sensor, workspace, found.cursor, ripe), dg.SkipReason)


def test_a_run_starts_when_addresses_have_served_their_time(workspace: Workspace) -> None:
    click(workspace, NOON)
    engagement_job.execute_in_process(resources=resources(workspace, NOON + MINUTES))
    cursor = asked(engagement_sensor, workspace, None, NOON + MINUTES).cursor
    assert isinstance(asked(engagement_sensor, workspace, cursor, NOON + MINUTES), dg.SkipReason)
    later = NOON + timedelta(hours=2)
    assert len(asked(engagement_sensor, workspace, cursor, later).run_requests) == 1
    engagement_job.execute_in_process(resources=resources(workspace, later))
    with workspace.database.read() as connection:
        (event,) = events_of_lead(connection, "spring", lead(workspace))
    assert event["client"] is None
    assert event["client_network"].startswith("192.0.2.0/24#")


def test_a_run_starts_when_mail_has_come(workspace: Workspace) -> None:
    first = asked(inbound_sensor, workspace, None)
    assert isinstance(asked(inbound_sensor, workspace, first.cursor), dg.SkipReason)
    failed = asked(inbound_sensor, workspace, first.cursor, last=dg.DagsterRunStatus.FAILURE)
    assert len(failed.run_requests) == 1  # what it did not read is not left for the next mail
    box = workspace.settings.home / "Maildir" / "new"
    (box / "1772625600.1.host").write_bytes(letter())
    assert len(asked(inbound_sensor, workspace, first.cursor).run_requests) == 1
    assert inbound_job.execute_in_process(resources=resources(workspace)).success


@pytest.mark.parametrize("variable", ["AICMO_INBOUND_URL", "AICMO_INBOUND_URL_FILE"])
def test_nobody_looks_for_mail_unless_there_is_a_mailbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.chdir(tmp_path)  # where no .env is
    for name in ("AICMO_INBOUND_URL", "AICMO_INBOUND_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    stopped = loaded_again()
    monkeypatch.setenv(variable, "mailbox")
    begun = loaded_again()
    assert stopped == {"engagement_sensor": True, "inbound_sensor": False}
    assert begun == {"engagement_sensor": True, "inbound_sensor": True}


def loaded_again() -> dict[str, bool]:
    """Which sensors run by themselves where the definitions are loaded now."""
    sensors = runpy.run_path(str(engagement.__file__))["ENGAGEMENT_SENSORS"]
    running = dg.DefaultSensorStatus.RUNNING
    return {sensor.name: sensor.default_status == running for sensor in sensors}


def test_what_a_lead_did_stands_in_its_account(workspace: Workspace) -> None:
    click(workspace, NOON)
    reply(workspace)
    engagement_job.execute_in_process(resources=resources(workspace))

    entries = explain_lead(workspace, "spring", lead(workspace), NOON).entries

    told = {each.outcome: each.reason for each in entries}
    assert told["click"] == "step 'intro', judged human (none applies)"
    assert told["reply"] == "matched_by reference"
    assert {"handed over", "delivered"} <= set(told)
    assert not any("a secret word" in each.reason for each in entries)
