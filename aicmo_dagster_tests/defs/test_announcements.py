"""Runs that end are noticed by the sensor, from when somebody asks, each once."""

from typing import Any

import dagster as dg

from aicmo_dagster.definitions import defs
from aicmo_dagster.defs.announcements import ended_runs_sensor
from aicmo_dagster.defs.jobs import full_pipeline_job
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.defs.shared_runs import shared_nurture_job
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import webhooks
from aicmo_dagster.store.webhooks import ACTIVE, EVENTS, Webhook
from aicmo_dagster_tests.samples import NOON


def told(workspace: Workspace) -> list[tuple[str, str | None]]:
    with workspace.database.read() as connection:
        rows = webhooks.list_deliveries(connection, "wh_1", None, "", 100)
    return sorted((row["event"], row["campaign"]) for row in rows)


def test_runs_that_end_after_somebody_asked_are_told_once(workspace: Workspace) -> None:
    hook = Webhook("wh_1", "https://x.example", EVENTS, None, ACTIVE, "", "test", NOON, NOON)
    ended = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
    cursor: Any = None

    def evaluate() -> str:
        resources = {"workspace": workspace, "clock": Clock()}
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
        result: Any = ended_runs_sensor(context)
        return str(result.cursor)

    with dg.DagsterInstance.ephemeral() as instance:
        cursor = evaluate()
        with workspace.database.write() as connection:
            webhooks.add_webhook(connection, hook)
        for status in (*ended, dg.DagsterRunStatus.STARTED):
            tags = {"dagster/partition": "spring"}
            instance.create_run_for_job(_of(full_pipeline_job), tags=tags, status=status)
        instance.create_run_for_job(shared_nurture_job, status=ended[0], run_config=_NOBODY)
        cursor = evaluate()
        cursor = evaluate()

    assert told(workspace) == [("run.failed", "spring"), ("run.finished", "spring")]


_NOBODY = {"ops": {"nurture_campaigns": {"config": {"campaigns": []}}}}


def _of(job: Any) -> Any:

    return defs.resolve_job_def(job.name)
