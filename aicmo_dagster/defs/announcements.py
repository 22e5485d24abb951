"""The sensor that notices runs that ended. Not here: who is told of them (`stages`)."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from aicmo_dagster.stages.announcements import EndedRun, announce_runs, wants_runs
from aicmo_dagster.stages.workspace import Workspace

STATES = {
    dg.DagsterRunStatus.SUCCESS: "finished",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "canceled",
}
SECONDS = 30
MOST = 500
"""Runs in one look; each is told once, however often it is seen."""

_OVERLAP = timedelta(minutes=2)
"""Looked at again: a run may be stored this much later than it says it ended."""


@dg.sensor(minimum_interval_seconds=SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
def ended_runs_sensor(
    context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]
) -> dg.SensorResult | dg.SkipReason:
    """Tells whoever subscribed that runs of campaigns ended; starts nothing."""
    now = datetime.now(UTC)
    if not wants_runs(workspace) or context.cursor is None:
        return dg.SensorResult(
            skip_reason=dg.SkipReason("nobody asks, or nobody has until now"),
            cursor=now.isoformat(),
        )
    since = datetime.fromisoformat(context.cursor) - _OVERLAP
    found = context.instance.get_run_records(
        dg.RunsFilter(statuses=list(STATES), updated_after=since),
        limit=MOST,
        order_by="update_timestamp",
        ascending=True,
    )
    runs = [_ended(record.dagster_run) for record in found]
    added = announce_runs(workspace, runs, now)
    # A full page goes on right after its last run, else it might be the same page for ever.
    seen = found[-1].update_timestamp.astimezone(UTC) + _OVERLAP if len(found) == MOST else now
    return dg.SensorResult(
        skip_reason=dg.SkipReason(f"{added} events of {len(found)} runs"), cursor=seen.isoformat()
    )


def _ended(run: dg.DagsterRun) -> EndedRun:
    return EndedRun(run.run_id, run.job_name, run.tags.get("dagster/partition"), STATES[run.status])


ANNOUNCEMENT_SENSORS = [ended_runs_sensor]
