"""The sensor that notices runs that ended.

Not here: who is told of them (`stages`), or what a lost run is to its campaign (`incidents`).
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from aicmo_dagster.defs.evaluations import evaluation
from aicmo_dagster.defs.incidents import note_lost
from aicmo_dagster.stages.operating.announcements import EndedRun, announce_runs, wants_runs

STATES = {
    dg.DagsterRunStatus.SUCCESS: "finished",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "canceled",
}
SECONDS = 60
MOST = 500
"""Runs in one look; each is told once, however often it is seen."""

_OVERLAP = timedelta(minutes=2)
"""Looked at again: a run may be stored this much later than it says it ended."""


@dg.sensor(
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def ended_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Notes runs that were lost, and tells whoever subscribed of those that ended; starts none."""
    with evaluation(context) as look:
        now = datetime.now(UTC)  # Dagster's records carry real time, whatever the clock says
        if context.cursor is None:
            started = dg.SkipReason("runs are looked at from now on")
            return dg.SensorResult(skip_reason=started, cursor=now.isoformat())
        asked = wants_runs(look.workspace)
        found = look.instance.get_run_records(
            dg.RunsFilter(
                statuses=list(STATES) if asked else [dg.DagsterRunStatus.FAILURE],
                updated_after=datetime.fromisoformat(context.cursor) - _OVERLAP,
            ),
            limit=MOST,
            order_by="update_timestamp",
            ascending=True,
        )
        runs = [record.dagster_run for record in found]
        for run in runs:
            if run.status == dg.DagsterRunStatus.FAILURE:
                note_lost(look.workspace, run, look.clock.now())
        added = announce_runs(look.workspace, [_ended(run) for run in runs], now) if asked else 0
        # A full page goes on right after its last run, else it might be the same page for ever.
        seen = found[-1].update_timestamp.astimezone(UTC) + _OVERLAP if len(found) == MOST else now
        return dg.SensorResult(
            skip_reason=dg.SkipReason(f"{added} events of {len(found)} runs"),
            cursor=seen.isoformat(),
        )


def _ended(run: dg.DagsterRun) -> EndedRun:
    return EndedRun(run.run_id, run.job_name, run.tags.get("dagster/partition"), STATES[run.status])


ANNOUNCEMENT_SENSORS = [ended_runs_sensor]
