"""Incidents in Dagster: a sensor that keeps them, what a lost run is to them, a job that tells.

Not here: what is wrong (`operating.incidents`), or where it is told (`operating.alerts`).
"""

from collections.abc import Collection, Iterator
from datetime import datetime

import dagster as dg

from aicmo_dagster.defs.engagement import engagement_job, inbound_job
from aicmo_dagster.defs.evaluations import evaluation
from aicmo_dagster.defs.housekeeping import housekeeping_job
from aicmo_dagster.defs.jobs import full_pipeline_job, lead_pipeline_job, nurture_job
from aicmo_dagster.defs.models import train_job
from aicmo_dagster.defs.pools import MAIL
from aicmo_dagster.defs.reports import report_job
from aicmo_dagster.defs.resources import RESOURCES, Clock
from aicmo_dagster.defs.run_queries import is_of_a_tick, is_tried_again, unfinished_runs
from aicmo_dagster.defs.shared_runs import (
    campaigns_sharing,
    shared_harvest_job,
    shared_nurture_job,
)
from aicmo_dagster.domain.incidents import LATE, RUN_FAILED, Fault
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.stages.operating.alerts import is_anything_to_tell, tell_incidents
from aicmo_dagster.stages.operating.attempts import note_lost_run
from aicmo_dagster.stages.operating.campaign_report import STAGE
from aicmo_dagster.stages.operating.freshness import late_stages
from aicmo_dagster.stages.operating.incidents import update_incidents
from aicmo_dagster.stages.workspace import Workspace

SECONDS = 120
"""How often is looked for what is wrong; of a run that failed is heard sooner."""

OVER_ALL = (engagement_job.name, inbound_job.name, housekeeping_job.name)
"""Jobs that are no single campaign's."""

STAGES_OF: dict[str, Collection[str]] = {
    lead_pipeline_job.name: STAGES[:4],
    full_pipeline_job.name: STAGES,
    nurture_job.name: STAGES[4:],
    shared_nurture_job.name: STAGES[4:],
    shared_harvest_job.name: STAGES[:4],
    train_job.name: ["score_model"],
    report_job.name: [STAGE],
}
"""Job to what it makes."""

_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


@dg.op(pool=MAIL)
def tell_what_is_wrong(
    context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> None:
    """Tells each incident that nobody was told of, and each that is over."""
    report = tell_incidents(workspace, clock.now)
    context.log.info(f"{report.rows_out} of {report.rows_in} notices arrived: {report.reasons}")


@dg.job(
    description="Tell incidents, and their end, where AICMO_ALERT_URL says.",
    resource_defs=RESOURCES,
    tags={"dagster/priority": "1"},
)
def alert_job() -> None:
    """One step."""
    tell_what_is_wrong()


@dg.sensor(
    job=alert_job,
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def incident_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Opens an incident for what is wrong, closes it when it is over, has both told."""
    with evaluation(context) as found:
        workspace, clock, now = found.workspace, found.clock, found.clock.now()
        running = unfinished_runs(found.instance)
        others = list(_failing_jobs(found.instance))
        opened, closed = update_incidents(workspace, running, others, now)
        for fault in opened:
            context.log.info(f"opened: {fault.kind} {fault.campaign} {fault.subject}")
        for fault in closed:
            context.log.info(f"over: {fault.kind} {fault.campaign} {fault.subject}")
        late = {fault.campaign for fault in opened if fault.kind == LATE}
        requests = [dg.RunRequest()] if is_anything_to_tell(workspace, now) else []
        # A notice is claimed by whoever tells it, so that a second run of the job tells nothing.
        return dg.SensorResult(requests, asset_events=list(_observations(workspace, late, clock)))


def note_lost(workspace: Workspace, run: dg.DagsterRun, now: datetime) -> None:
    """A run that failed before its stages could say why is the failure of the stage it was at.

    Nothing changes if it is going to be tried again, or was noted before, or if the clock notes it.
    """
    if is_tried_again(run) or is_of_a_tick(run):
        return
    for campaign in campaigns_of(run):
        note_lost_run(workspace, campaign, stages_of(run), run.run_id, now)


def campaigns_of(run: dg.DagsterRun) -> list[str]:
    """Whose run it is: a partition's, those of a batch, or those that share it."""
    partition = run.tags.get("dagster/partition")
    return [partition] if partition else campaigns_sharing(run)


def stages_of(run: dg.DagsterRun) -> Collection[str]:
    """The assets that the run was to make."""
    selected = {key.to_user_string() for key in run.asset_selection or ()}
    return selected or STAGES_OF.get(run.job_name, ())


def _failing_jobs(instance: dg.DagsterInstance) -> Iterator[Fault]:
    """The jobs whose last run failed."""
    for job in OVER_ALL:
        ended = dg.RunsFilter(job_name=job, statuses=_ENDED)
        for run in instance.get_runs(ended, limit=1):
            if not run.is_success:
                yield Fault(RUN_FAILED, "", job, "its last run failed", run.run_id)


def _observations(
    workspace: Workspace, campaigns: set[str], clock: Clock
) -> Iterator[dg.AssetObservation]:
    """What the web UI shows of late stages. Its freshness policies know no partitions."""
    if not campaigns:
        return
    with workspace.database.read() as connection:
        late = late_stages(connection, clock.now())
    for campaign in sorted(campaigns):
        for stage, length in late.get(campaign, {}).items():
            minutes = dg.MetadataValue.float(length.total_seconds() / 60)
            metadata = {"late_by_minutes": minutes}
            yield dg.AssetObservation(stage, partition=campaign, metadata=metadata)


INCIDENT_JOBS = [alert_job]
INCIDENT_SENSORS = [incident_sensor]
