"""Incidents as Dagster's daemon keeps them: lost runs, retries, jobs over all campaigns."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aicmo_dagster.defs.announcements import ended_runs_sensor
from aicmo_dagster.defs.incidents import alert_job, incident_sensor
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.reports import campaign_report
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.defs.shared_runs import shared_nurture_job
from aicmo_dagster.stages.operating.status import status
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.incidents import open_incidents
from aicmo_dagster_tests.handoff.receiver import receiving
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

HOUR = timedelta(hours=1)
FAILURE, STARTED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED


@pytest.fixture
def workspace(tmp_path: Path, new_sqlite: Any) -> Iterator[Workspace]:
    opened = open_test_workspace(tmp_path, new_sqlite())
    apply(opened, "spring", 1, schedule={"harvest": "0 13 * * *", "report": "0 13 * * *"})
    yield opened
    opened.database.close()


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        register_campaign(ephemeral, "spring")
        yield ephemeral


def evaluated(
    workspace: Workspace, instance: dg.DagsterInstance, hours: float = 0
) -> dg.SensorResult:
    now = (NOON + hours * HOUR).isoformat()
    resources = {"workspace": workspace, "clock": Clock(as_of=now)}
    context = dg.build_sensor_context(instance=instance, resources=resources)
    result: Any = incident_sensor(context)
    return result


def stored(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
    """A run of the shared nurture job that ended, or did not, in that way."""
    config = {"ops": {"nurture_campaigns": {"config": {"campaigns": ["spring"]}}}}
    run = instance.create_run_for_job(
        shared_nurture_job, run_config=config, status=status, tags=tags
    )
    if status == FAILURE:
        instance.report_run_failed(run)
    return run


def heard(workspace: Workspace, instance: dg.DagsterInstance) -> None:
    """The sensor hears of the runs that ended in the last hour."""
    resources = {"workspace": workspace, "clock": Clock(as_of=NOON.isoformat())}
    cursor = (datetime.now(UTC) - HOUR).isoformat()
    ended_runs_sensor(
        dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
    )


def failures(workspace: Workspace) -> dict[str, str]:
    found = status(workspace, "spring", NOON).stages
    return {part.stage: part.state.failure for part in found if part.state}


def test_a_run_that_could_not_say_why_it_ended_is_a_failure_and_an_incident(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    run = stored(instance, FAILURE)

    for _ in range(2):
        heard(workspace, instance)

    assert failures(workspace) == {"nurture_sends": f"run {run.run_id} ended before it was done"}
    evaluated(workspace, instance)
    (incident,) = status(workspace, "spring", NOON).incidents
    assert (incident.kind, incident.subject) == ("run_failed", "nurture_sends")
    instance.delete_run(run.run_id)


def test_one_that_is_going_to_be_started_again_is_none(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    run = stored(instance, FAILURE, **{"dagster/will_retry": "true"})

    heard(workspace, instance)

    assert failures(workspace) == {}
    instance.delete_run(run.run_id)


def test_somebody_is_told_by_a_run_and_only_if_there_is_something_to_tell(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    with receiving() as receiver:
        settings = replace(workspace.settings, alert_url=receiver.url, allow_private_urls=True)
        told = replace(workspace, settings=settings)
        assert not evaluated(told, instance).run_requests

        late = evaluated(told, instance, hours=1.5)

        assert late.run_requests
        observations = {event.asset_key.to_user_string() for event in late.asset_events}
        assert "routed_leads" in observations
        clock = Clock(as_of=(NOON + 2 * HOUR).isoformat())
        resources = {"workspace": told, "clock": clock}
        assert alert_job.execute_in_process(instance=instance, resources=resources).success
        assert not evaluated(told, instance, hours=2).run_requests
    assert len(receiver.got) == 1


def test_a_job_over_all_campaigns_is_an_incident_until_it_goes_well(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    @dg.job(name="inbound_job")
    def inbound() -> None:
        pass

    def opened() -> list[str]:
        evaluated(workspace, instance)
        with workspace.database.read() as connection:
            return [each.fault.subject for each in open_incidents(connection, "")]

    run = instance.create_run_for_job(inbound, status=FAILURE)
    assert opened() == ["inbound_job"]
    instance.create_run_for_job(inbound, status=dg.DagsterRunStatus.SUCCESS)
    assert opened() == []
    instance.delete_run(run.run_id)


def test_the_report_of_a_campaign_is_mailed_to_its_owner_and_shown(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    result = dg.materialize(
        [campaign_report],
        instance=instance,
        partition_key="spring",
        resources={"workspace": workspace, "clock": Clock(as_of=NOON.isoformat())},
        selection=[campaign_report],
    )

    (event,) = result.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    assert "What comes next\n  harvest: Wed 2026-03-04 13:00 UTC" in str(metadata["report"].value)
    assert "fresh_until" in metadata
    (mail,) = workspace.settings.outbox.glob("*.eml")
    text = mail.read_text(encoding="ascii")
    assert "To: owner@acme.example" in text
    assert "Subject: Spring: how it stands" in text
