"""The sensors: what Dagster's daemon asks again and again. Thin shells over stages.

Not here: what is due (`domain.schedules`), or which ticks were taken (`operating.clock`).
"""

from typing import Any

import dagster as dg

from aicmo_dagster.defs.evaluations import evaluation
from aicmo_dagster.defs.in_turn import LONG, RETRIES_TAG
from aicmo_dagster.defs.jobs import full_pipeline_job, lead_pipeline_job, nurture_job
from aicmo_dagster.defs.models import train_job
from aicmo_dagster.defs.partitions import campaign_partitions
from aicmo_dagster.defs.reports import report_job
from aicmo_dagster.defs.run_queries import MAX_RETRIES, busy_campaigns, runs_of_keys
from aicmo_dagster.defs.runs import fail_abandoned_runs
from aicmo_dagster.defs.shared_runs import (
    SHARED_JOBS,
    shared_config,
    shared_harvest_job,
    shared_nurture_job,
)
from aicmo_dagster.stages.operating import clock as stage_clock
from aicmo_dagster.stages.operating.arrivals import ANSWERS, NEW_FILES, look_for_arrivals
from aicmo_dagster.stages.operating.clock import Request
from aicmo_dagster.stages.operating.faults import RETRIES

SECONDS = 20
"""How often the clock is looked at, which is how soon an edited cron counts."""

JOB_OF: dict[str, Any] = {
    "full_pipeline": full_pipeline_job,
    "harvest": lead_pipeline_job,
    stage_clock.FOLLOW: lead_pipeline_job,
    NEW_FILES: lead_pipeline_job,
    ANSWERS: lead_pipeline_job,
    "nurture": shared_nurture_job,
    "large_nurture": nurture_job,
    "train": train_job,
    "report": report_job,
}
SHARED_JOB_OF: dict[str, Any] = {"nurture": shared_nurture_job, "harvest": shared_harvest_job}
"""Of requests that are several campaigns'."""

PRIORITIES = {
    **{"nurture": -1, "large_nurture": -1, "report": -1},
    **{"full_pipeline": -2, "harvest": -2, "follow": -2, NEW_FILES: -2, ANSWERS: -2, "train": -3},
}
"""Of scheduled runs. Those that people start have 0 and go first."""

ARRIVAL_SECONDS = 120


@dg.sensor(
    jobs=[*{job.name: job for job in (*JOB_OF.values(), shared_harvest_job)}.values()],
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def campaign_clock(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Starts what the schedules of the campaigns ask for, one run a tick, and follows changes."""
    with evaluation(context) as found:
        instance, workspace, now = found.instance, found.workspace, found.clock.now()
        stage_clock.beat(workspace, now)
        fail_abandoned_runs(instance)
        runs = runs_of_keys(instance, stage_clock.open_run_keys(workspace))
        ended = {key: end for key, end in runs.items() if end is not None}
        stage_clock.settle(workspace, ended, now)
        look = stage_clock.look(workspace, busy_campaigns(instance), runs, now)
        for tick, reason in look.skipped.items():
            context.log.info(f"{tick.key} is skipped: {reason}")
        known = set(instance.get_dynamic_partitions(str(campaign_partitions.name)))
        new = sorted(look.campaigns - known)
        return dg.SensorResult(
            run_requests=[_run_request(request) for request in look.requests],
            dynamic_partitions_requests=[campaign_partitions.build_add_request(new)] if new else [],
        )


@dg.sensor(
    jobs=[lead_pipeline_job],
    minimum_interval_seconds=ARRIVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def arrival_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Starts a harvest where files of a source are new, or answers of a provider are due."""
    with evaluation(context) as found:
        busy = busy_campaigns(found.instance).keys()
        requests = look_for_arrivals(found.workspace, busy, found.clock.now())
        if not requests:
            return dg.SkipReason("nothing has arrived")
        return dg.SensorResult([_run_request(request) for request in requests])


def _run_request(request: Request) -> dg.RunRequest:
    tags = {
        RETRIES_TAG: str(RETRIES),
        # Two daemons would both start the run of a tick again, so that the clock does it alone.
        MAX_RETRIES: str(stage_clock.LOSSES if request.job == stage_clock.FOLLOW else 0),
        "dagster/priority": str(PRIORITIES[request.job]),
        "aicmo/tick": request.due_at.isoformat(),
    }
    if request.job == stage_clock.LARGE_NURTURE:
        tags |= LONG
    several = len(request.campaigns) > 1
    job = (SHARED_JOB_OF if several else JOB_OF)[request.job]
    shared = job in SHARED_JOBS
    return dg.RunRequest(
        run_key=request.run_key,
        job_name=job.name,
        partition_key=None if shared else request.campaigns[0],
        run_config=shared_config(job.name, request.campaigns) if shared else {},
        asset_selection=[dg.AssetKey(stage) for stage in request.stages] or None,
        tags=tags,
    )


SENSORS = [campaign_clock, arrival_sensor]
