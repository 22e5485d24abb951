"""The clock as Dagster's daemon asks it, and the run that many nurtures share."""

import os
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from aicmo_dagster.defs.incidents import note_lost
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.resources import WORKER_TAG, Clock, WorkspaceResource
from aicmo_dagster.defs.sensors import arrival_sensor, campaign_clock
from aicmo_dagster.defs.shared_runs import shared_nurture_job
from aicmo_dagster.settings import host_name
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.operating.sharing import FEW
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.ledger import state_counts
from aicmo_dagster.store.results import record_success, states_of
from aicmo_dagster.store.ticks import past_ticks
from aicmo_dagster.store.workers import this_worker
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply

HOUR = timedelta(hours=1)


def evaluate(workspace: Workspace, instance: dg.DagsterInstance, at: datetime) -> dg.SensorResult:
    resources = {"workspace": workspace, "clock": Clock(as_of=at.isoformat())}
    context = dg.build_sensor_context(instance=instance, resources=resources)
    result: Any = campaign_clock(context)
    return result


def stored_run(
    instance: dg.DagsterInstance,
    run_key: str,
    status: dg.DagsterRunStatus,
    parent: str | None = None,
) -> str:
    config = {"ops": {"nurture_campaigns": {"config": {"campaigns": ["spring"]}}}}
    run = instance.create_run_for_job(
        shared_nurture_job,
        run_config=config,
        tags={"dagster/run_key": run_key},
        status=status,
        parent_run_id=parent,
        root_run_id=parent,
    )
    return run.run_id


def test_a_new_campaign_becomes_a_partition_and_its_tick_a_run(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply(workspace, "spring", 1, schedule={"harvest": "0 * * * *"})

    result = evaluate(workspace, instance, NOON + HOUR)

    (partitions,) = result.dynamic_partitions_requests or []
    assert partitions.partition_keys == ["spring"]
    (request,) = result.run_requests or []
    assert (request.job_name, request.partition_key) == ("lead_pipeline_job", "spring")
    assert request.tags["dagster/priority"] == "-2"
    register_campaign(instance, "spring")
    assert not evaluate(workspace, instance, NOON + HOUR).dynamic_partitions_requests


def test_a_partition_of_a_campaign_that_is_gone_stays(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    register_campaign(instance, "gone")

    assert not evaluate(workspace, instance, NOON).dynamic_partitions_requests


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (dg.DagsterRunStatus.SUCCESS, "succeeded"),
        (dg.DagsterRunStatus.FAILURE, "failed"),
        (dg.DagsterRunStatus.CANCELED, "failed"),
        (dg.DagsterRunStatus.STARTED, "claimed"),
    ],
)
def test_a_tick_tells_what_became_of_its_run(
    workspace: Workspace, instance: dg.DagsterInstance, status: dg.DagsterRunStatus, state: str
) -> None:
    apply(workspace, "spring", 1, schedule={"harvest": "0 * * * *"})
    (request,) = evaluate(workspace, instance, NOON + HOUR).run_requests or []
    assert request.run_key
    run_id = stored_run(instance, request.run_key, status)
    instance.add_run_tags(run_id, {"dagster/failure_reason": "STEP_FAILURE"})

    again = evaluate(workspace, instance, NOON + HOUR + timedelta(minutes=10))

    assert not again.run_requests, "one tick, one run"
    with workspace.database.read() as connection:
        assert past_ticks(connection, "spring", 1)[0].state == state


def test_a_tick_whose_process_was_lost_has_one_more_run_and_one_whose_step_failed_has_not(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply(workspace, "spring", 1, schedule={"harvest": "0 * * * *"})
    (request,) = evaluate(workspace, instance, NOON + HOUR).run_requests or []
    assert request.run_key
    assert request.tags["dagster/max_retries"] == "0", "two daemons would both do it"
    lost = stored_run(instance, request.run_key, dg.DagsterRunStatus.FAILURE)
    instance.add_run_tags(lost, request.tags | {"dagster/failure_reason": "RUN_EXCEPTION"})
    run = instance.get_run_by_id(lost)
    assert run is not None
    note_lost(workspace, run, NOON)
    with workspace.database.read() as connection:
        assert states_of(connection, "spring") == {}, "the clock has not given it up"

    (again,) = evaluate(workspace, instance, NOON + HOUR).run_requests or []

    assert again.run_key == f"{request.run_key}#1"
    failed = stored_run(instance, again.run_key, dg.DagsterRunStatus.FAILURE)
    instance.add_run_tags(failed, {"dagster/failure_reason": "STEP_FAILURE"})
    assert not evaluate(workspace, instance, NOON + HOUR).run_requests
    with workspace.database.read() as connection:
        assert past_ticks(connection, "spring", 1)[0].state == "failed"


def test_a_run_whose_process_has_ended_is_failed_before_the_clock_looks(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply(workspace, "spring", 1, schedule={"harvest": "0 * * * *"})
    (request,) = evaluate(workspace, instance, NOON + HOUR).run_requests or []
    assert request.run_key
    lost = stored_run(instance, request.run_key, dg.DagsterRunStatus.STARTED)
    instance.add_run_tags(lost, {WORKER_TAG: f"{host_name()}:{2**22 + 1}:0.00"})

    evaluate(workspace, instance, NOON + HOUR)

    run = instance.get_run_by_id(lost)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE


def test_a_run_that_repeats_a_lost_one_is_not_taken_for_lost_before_it_begins(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    """Dagster gives it the tags of the lost one, and so the name of a process that has ended."""
    gone = {WORKER_TAG: f"{host_name()}:{2**22 + 1}:0.00"}
    lost = stored_run(instance, "key", dg.DagsterRunStatus.FAILURE)
    again = stored_run(instance, "key", dg.DagsterRunStatus.STARTING, parent=lost)
    for run_id in (lost, again):
        instance.add_run_tags(run_id, gone)

    evaluate(workspace, instance, NOON)

    run = instance.get_run_by_id(again)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.STARTING


def test_a_run_tells_the_process_it_is_in_though_a_lost_one_left_it_another(
    workspace: Workspace, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AICMO_DATABASE_URL", workspace.settings.database_url)

    @dg.op
    def work(workspace: dg.ResourceParam[Workspace]) -> None:
        """Any."""

    @dg.job(resource_defs={"workspace": WorkspaceResource()})
    def working() -> None:
        work()

    lost = {WORKER_TAG: f"{host_name()}:{2**22 + 1}:0.00"}
    run_id = working.execute_in_process(instance=instance, tags=lost).run_id

    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags[WORKER_TAG] == this_worker()


def test_a_large_campaign_has_a_run_of_its_own_that_counts_as_long(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply(workspace, "spring", 1, schedule={"nurture": "0 * * * *"})
    rows = {"rows_in": 1, "rows_out": 1, "figures": {}, "run_id": "r", "started_at": NOON}
    with workspace.database.write() as connection:
        for stage, share in (("nurture_sends", 0.5), ("routed_leads", 0.6)):
            record_success(connection, "spring", stage, **rows, finished_at=NOON + HOUR * share)

    (request,) = evaluate(workspace, instance, NOON + HOUR).run_requests or []

    assert (request.job_name, request.partition_key) == ("nurture_job", "spring")
    assert request.tags["aicmo/work"] == "long"


def test_a_new_file_is_harvested_by_a_run(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    def seen(at: datetime) -> Any:
        resources = {"workspace": workspace, "clock": Clock(as_of=at.isoformat())}
        context = dg.build_sensor_context(instance=instance, resources=resources)
        return arrival_sensor(context)

    path = apply(workspace, "spring", 1)
    assert isinstance(seen(NOON), dg.SkipReason)
    path.write_text("Email\n", encoding="utf-8")
    os.utime(path, (NOON.timestamp(), NOON.timestamp()))

    (request,) = seen(NOON + HOUR).run_requests

    assert (request.job_name, request.partition_key) == ("lead_pipeline_job", "spring")


def test_a_failed_read_of_the_campaigns_changes_nothing(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    apply(workspace, "spring", 1)
    register_campaign(instance, "spring")
    with workspace.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE campaigns RENAME TO elsewhere")

    with pytest.raises(sa.exc.DBAPIError):
        evaluate(workspace, instance, NOON)

    assert instance.get_dynamic_partitions("campaigns") == ["spring"]


def test_many_small_harvests_are_one_run_and_few_have_one_each(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    for number in range(FEW):
        apply(workspace, f"c{number}", 1, schedule={"harvest": "0 13 * * *"})
    few = evaluate(workspace, instance, NOON + HOUR).run_requests or []
    for number in range(FEW + 1):
        apply(workspace, f"m{number}", 1, schedule={"harvest": "0 15 * * *"})

    many = evaluate(workspace, instance, NOON + 3 * HOUR).run_requests or []

    assert [request.partition_key for request in few] == [f"c{n}" for n in range(FEW)]
    assert {request.job_name for request in few} == {"lead_pipeline_job"}
    (shared,) = [request for request in many if request.job_name == "shared_harvest_job"]
    told = shared.run_config["ops"]["harvest_campaigns"]["config"]["campaigns"]
    assert sorted(told) == [f"m{n}" for n in range(FEW + 1)]
    assert shared.partition_key is None


def test_many_campaigns_nurture_in_one_run_and_fail_alone(
    workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    for key in ("a", "b"):
        apply(workspace, key, 2)
        for stage in (harvest, score_leads, qualify_leads, route_leads):
            stage(workspace, key, NOON)
    config = {"ops": {"nurture_campaigns": {"config": {"campaigns": ["a", "missing", "b"]}}}}

    result = shared_nurture_job.execute_in_process(
        instance=instance,
        run_config=config,
        resources={"workspace": workspace, "clock": Clock(as_of=NOON.isoformat())},
        raise_on_error=False,
    )

    assert not result.success
    key = dg.AssetKey("nurture_sends")
    assert set(instance.get_materialized_partitions(key)) == {"a", "b"}
    with workspace.database.read() as connection:
        assert state_counts(connection, "a") == {"accepted": 2}
        states = states_of(connection, "missing")["nurture_sends"]
    assert states.has_failed
    assert "no campaign 'missing'" in states.failure
