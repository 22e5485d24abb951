"""Engagement in Dagster: two assets a campaign, jobs over all, and sensors that start them.

Not here: the five stages (`assets`), or what any of it does (`stages`).
"""

from collections.abc import Callable
from datetime import datetime

import dagster as dg
import pandas as pd

from aicmo_dagster.defs.assets import OWNERS, nurture_sends
from aicmo_dagster.defs.evaluations import evaluation
from aicmo_dagster.defs.in_turn import Metadata, Work, failure_text, materialise
from aicmo_dagster.defs.metadata import table
from aicmo_dagster.defs.partitions import campaign_partitions
from aicmo_dagster.defs.resources import RESOURCES, Clock
from aicmo_dagster.mail.inbound.mailboxes import open_mailbox
from aicmo_dagster.settings import has_mailbox
from aicmo_dagster.stages.engaging.engage import engage, mark
from aicmo_dagster.stages.engaging.graduate import graduate
from aicmo_dagster.stages.engaging.hand_over import deliver_handoffs
from aicmo_dagster.stages.engaging.judge import judge_engagement
from aicmo_dagster.stages.engaging.listen import MOST_MESSAGES, listen
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace

SECONDS = 60
"""How often is looked whether anything happened; a run is started only if something did."""

Stage = Callable[[Workspace, str, datetime], Report]


@dg.asset(
    partitions_def=campaign_partitions,
    group_name="pipeline",
    kinds={"table"},
    owners=OWNERS,
    deps=[nurture_sends],
)
def engagement(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> None:
    """A verdict, human or machine, on every open and click; pending until it is settled."""
    _run(judge_engagement, context, workspace, clock)


@dg.asset(
    partitions_def=campaign_partitions,
    group_name="pipeline",
    kinds={"table"},
    owners=OWNERS,
    deps=[engagement],
)
def sales_handoffs(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> None:
    """Leads of real interest, handed to sales once and delivered until they have arrived."""
    _run(graduate, context, workspace, clock)
    deliver_handoffs(workspace, clock.now)


@dg.op
def engage_campaigns(
    context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> None:
    """Judges and graduates in every active campaign, then delivers and escalates what is due."""
    reports, failures = engage(workspace, clock.now)
    for report in reports:
        if report.campaign:
            context.log_event(
                dg.AssetMaterialization(
                    report.stage, partition=report.campaign, metadata=_metadata(report)
                )
            )
        elif report.rows_in:
            context.log.info(f"{report.stage}: {report.figures} {report.reasons}")
    if failures:
        told = "\n".join(f"{key}: {failure_text(error)}" for key, error in failures.items())
        raise dg.Failure(told) from None


@dg.op
def read_inbound(
    context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> None:
    """Handles what arrived in the mailbox, each message once."""
    while True:
        report = listen(workspace, clock.now())
        context.log.info(f"{report.rows_in} messages: {report.reasons}")
        if report.rows_in < MOST_MESSAGES:
            return


@dg.job(resource_defs=RESOURCES)
def engagement_job() -> None:
    """What recipients did is judged, and whoever showed real interest is handed to sales."""
    engage_campaigns()


@dg.job(resource_defs=RESOURCES)
def inbound_job() -> None:
    """Replies, bounces and complaints are read from the mailbox."""
    read_inbound()


@dg.sensor(
    job=engagement_job,
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def engagement_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Starts a run when someone did something, or when the time has come to judge or retry."""
    with evaluation(context) as look:
        found = mark(look.workspace, look.clock.now())
        same = found is not None and found == (context.cursor or "0")
        if same and _went_well(look.instance, engagement_job.name):
            return dg.SkipReason("nothing happened")
        return dg.SensorResult([dg.RunRequest()], cursor=found or context.cursor)


@dg.sensor(
    job=inbound_job,
    minimum_interval_seconds=SECONDS,
    # Each evaluation costs a tenth of a CPU second, also where there is nothing to ask.
    default_status=(
        dg.DefaultSensorStatus.RUNNING if has_mailbox() else dg.DefaultSensorStatus.STOPPED
    ),
)
def inbound_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Starts a run when the mailbox has changed; asking it costs one command, a run two seconds."""
    with evaluation(context) as look:
        url = look.workspace.settings.inbound_url
        if url is None:
            return dg.SkipReason("AICMO_INBOUND_URL is not set")
        found = open_mailbox(url).mark()
        if found == context.cursor and _went_well(look.instance, inbound_job.name):
            return dg.SkipReason("no new mail")
        return dg.SensorResult([dg.RunRequest()], cursor=found)


def _went_well(instance: dg.DagsterInstance, job: str) -> bool:
    """Whether the last run of the job that ended did what there was to do."""
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    runs = instance.get_runs(dg.RunsFilter(job_name=job, statuses=ended), limit=1)
    return not runs or runs[0].is_success


ENGAGEMENT_ASSETS = [engagement, sales_handoffs]
ENGAGEMENT_JOBS = [engagement_job, inbound_job]
ENGAGEMENT_SENSORS = [engagement_sensor, inbound_sensor]


def _run(
    stage: Stage, context: dg.AssetExecutionContext, workspace: Workspace, clock: Clock
) -> None:
    """Runs `stage` for each campaign of the run; the failure of one is its own."""

    def perform(key: str) -> tuple[Report, Metadata]:
        report = stage(workspace, key, clock.now())
        return report, _metadata(report)

    # Not recorded: the job that does it for all campaigns each minute would fill the history.
    work = Work(context.asset_key.to_user_string(), perform, recorded=False)
    materialise(context, work, workspace)


def _metadata(report: Report) -> dict[str, dg.MetadataValue]:
    """Counts only, of one campaign."""
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(report.rows_out),
        "rows_in": dg.MetadataValue.int(report.rows_in),
        **{name: dg.MetadataValue.float(float(n)) for name, n in report.figures.items()},
    }
    if report.reasons:
        counts = {"reason": report.reasons.keys(), "rows": report.reasons.values()}
        metadata["reasons"] = table(pd.DataFrame(counts))
    return metadata
