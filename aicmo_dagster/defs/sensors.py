"""The sensors: what Dagster's daemon asks again and again. Thin shells over stages.

Not here: what is due (`domain.schedules`), or which ticks were taken (`stages.clock`).
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from aicmo_dagster.defs.in_turn import RETRIES_TAG
from aicmo_dagster.defs.jobs import full_pipeline_job, lead_pipeline_job, shared_nurture_job
from aicmo_dagster.defs.models import train_job
from aicmo_dagster.defs.partitions import campaign_partitions
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.defs.runs import UNFINISHED
from aicmo_dagster.stages import clock as stage_clock
from aicmo_dagster.stages.clock import Ended, Request
from aicmo_dagster.stages.faults import RETRIES
from aicmo_dagster.stages.workspace import Workspace

SECONDS = 15
"""How often the clock is looked at, which is how soon an edited cron counts."""

JOB_OF: dict[str, Any] = {
    "full_pipeline": full_pipeline_job,
    "harvest": lead_pipeline_job,
    "follow": lead_pipeline_job,
    "nurture": shared_nurture_job,
    "train": train_job,
}
PRIORITIES = {"nurture": -1, "full_pipeline": -2, "harvest": -2, "follow": -2, "train": -3}
"""Of scheduled runs. Those that people start have 0 and go first."""

_RUN_KEY = "dagster/run_key"
_WORKER_LOSSES = 2
"""How often a run whose process was lost is started again."""


@dg.sensor(
    jobs=[full_pipeline_job, lead_pipeline_job, shared_nurture_job, train_job],
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def campaign_clock(
    context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.SensorResult:
    """Starts what the schedules of the campaigns ask for, one run a tick, and follows changes.

    Args:
        context: Of the daemon.
        workspace: The settings and the database.
        clock: The time.
    """
    instance, now = context.instance, clock.now()
    runs = _runs_of_keys(instance, stage_clock.open_run_keys(workspace))
    ended = {key: end for key, end in runs.items() if end is not None}
    stage_clock.settle(workspace, ended, now)
    look = stage_clock.look(workspace, _busy(instance), runs.keys(), now)
    for tick, reason in look.skipped.items():
        context.log.info(f"{tick.key} is skipped: {reason}")
    known = set(instance.get_dynamic_partitions(str(campaign_partitions.name)))
    new = sorted(look.campaigns - known)
    return dg.SensorResult(
        run_requests=[_run_request(request) for request in look.requests],
        dynamic_partitions_requests=[campaign_partitions.build_add_request(new)] if new else [],
    )


def _run_request(request: Request) -> dg.RunRequest:
    tags = {
        RETRIES_TAG: str(RETRIES),
        "dagster/max_retries": str(_WORKER_LOSSES),
        "dagster/priority": str(PRIORITIES[request.job]),
        "aicmo/tick": request.due_at.isoformat(),
    }
    shared = request.job == stage_clock.SHARED
    config = {"ops": {"nurture_campaigns": {"config": {"campaigns": list(request.campaigns)}}}}
    return dg.RunRequest(
        run_key=request.run_key,
        job_name=JOB_OF[request.job].name,
        partition_key=None if shared else request.campaigns[0],
        run_config=config if shared else {},
        asset_selection=[dg.AssetKey(stage) for stage in request.stages] or None,
        tags=tags,
    )


def _busy(instance: dg.DagsterInstance) -> dict[str, str]:
    """Campaign to the run of it that has not ended."""
    runs = instance.get_runs(dg.RunsFilter(statuses=[*UNFINISHED, dg.DagsterRunStatus.QUEUED]))
    partitions = ((run.tags.get("dagster/partition"), run.run_id) for run in runs)
    return {partition: run_id for partition, run_id in partitions if partition}


def _runs_of_keys(instance: dg.DagsterInstance, keys: Iterable[str]) -> dict[str, Ended | None]:
    """Run key to how its run ended, or None while it goes; a key without a run is absent."""
    wanted = list(keys)
    if not wanted:
        return {}
    found: dict[str, list[dg.DagsterRun]] = {}
    for run in instance.get_runs(dg.RunsFilter(tags={_RUN_KEY: wanted})):
        found.setdefault(run.tags[_RUN_KEY], []).append(run)
    return {key: _end(runs) for key, runs in found.items()}


def _end(runs: list[dg.DagsterRun]) -> Ended | None:
    """How the runs of one key ended: the newest counts, unless it is going to be tried again."""
    latest = runs[0]
    retried = latest.tags.get("dagster/will_retry") == "true"
    if not latest.is_finished or (retried and not latest.is_success):
        return None
    return Ended(latest.run_id, latest.is_success)


SENSORS = [campaign_clock]
