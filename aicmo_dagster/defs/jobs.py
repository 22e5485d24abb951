"""The jobs: runs of the assets under a name. Not here: when they run (`sensors`)."""

from typing import Any

import dagster as dg

from aicmo_dagster.defs.assets import ASSETS, stage_work
from aicmo_dagster.defs.in_turn import failure_of, log_done, run_campaigns
from aicmo_dagster.defs.resources import RESOURCES, Clock
from aicmo_dagster.stages.workspace import Workspace

LONG = {"aicmo/work": "long"}
"""On runs that may take hours: the queue leaves slots for the others, however many these are."""

lead_pipeline_job = dg.define_asset_job(
    "lead_pipeline_job",
    selection=dg.AssetSelection.assets(*ASSETS[:4]),
    tags=LONG,
    description="Harvest, score, qualify and route the leads of a campaign; nobody is written to.",
)
full_pipeline_job = dg.define_asset_job(
    "full_pipeline_job",
    selection=dg.AssetSelection.assets(*ASSETS),
    tags=LONG,
    description="All five stages of a campaign, from its sources to the mail that is due.",
)
nurture_job = dg.define_asset_job(
    "nurture_job",
    selection=dg.AssetSelection.assets(ASSETS[4]),
    description="Send what is due in a campaign.",
)


class SharedNurture(dg.Config):
    """The campaigns whose mail is due.

    Args:
        campaigns: Their keys.
    """

    campaigns: list[str]


@dg.op(pool="mail")
def nurture_campaigns(
    context: dg.OpExecutionContext,
    config: SharedNurture,
    workspace: dg.ResourceParam[Workspace],
    clock: Clock,
) -> None:
    """Sends what is due in each campaign; the failure of one is its own."""
    work = stage_work("nurture_sends", workspace, clock)
    done, failures = run_campaigns(work, config.campaigns, workspace, context)
    log_done(context, work.stage, done)
    if failures:
        raise failure_of(failures, context) from None


@dg.job(
    description="Send what is due in many campaigns: a run for each would cost far more.",
    # Bound here, since Dagster would bind them by copying the sensors that name this job.
    resource_defs=RESOURCES,
)
def shared_nurture_job() -> None:
    """One step for all campaigns."""
    nurture_campaigns()


JOBS: list[Any] = [lead_pipeline_job, full_pipeline_job, nurture_job, shared_nurture_job]
