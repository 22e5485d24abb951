"""The five assets, each a thin shell over its stage. Not here: what a stage does (`stages`)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import dagster as dg

from aicmo_dagster.defs.columns import column_schema
from aicmo_dagster.defs.in_turn import Metadata, Work, failure_of, log_done, run_campaigns, told
from aicmo_dagster.defs.metadata import of_report
from aicmo_dagster.defs.partitions import campaign_partitions
from aicmo_dagster.defs.pools import BULK_WRITES, MAIL, PROVIDERS
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace

StageFunction = Callable[[Workspace, str, Clock], Report]

STAGE_FUNCTIONS: dict[str, StageFunction] = {
    "raw_leads": lambda workspace, key, clock: harvest(workspace, key, clock.now()),
    "scored_leads": lambda workspace, key, clock: score_leads(workspace, key, clock.now()),
    "qualified_leads": lambda workspace, key, clock: qualify_leads(workspace, key, clock.now()),
    "routed_leads": lambda workspace, key, clock: route_leads(workspace, key, clock.now()),
    "nurture_sends": lambda workspace, key, clock: nurture(workspace, key, clock.now),
}

OWNERS = ["team:revenue-operations"]


def stage_arguments(stage: str, *, kinds: set[str], pool: str) -> dict[str, Any]:
    """What all five assets have in common."""
    return {
        "name": stage,
        "partitions_def": campaign_partitions,
        "group_name": "pipeline",
        "kinds": {"table", *kinds},
        "owners": OWNERS,
        "pool": pool,
        "metadata": {"dagster/column_schema": column_schema(stage), "dagster/table_name": stage},
    }


@dg.asset(**stage_arguments("raw_leads", kinds={"csv", "pandas"}, pool=PROVIDERS))
def raw_leads(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.MaterializeResult:
    """Everyone the campaign's sources name, normalised, each person once.

    Records that cannot be leads stand in `rejects` with their file, row and reason. Leads that
    a source no longer names stay, with the instant they were last seen.
    """
    return run_stage(context, workspace, clock)


@dg.asset(
    **stage_arguments("scored_leads", kinds={"pandas"}, pool=BULK_WRITES),
    deps=[raw_leads, "score_model"],
)
def scored_leads(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.MaterializeResult:
    """Every raw lead with its score from 0 to 100 and the contributions that sum to it."""
    return run_stage(context, workspace, clock)


@dg.asset(
    **stage_arguments("qualified_leads", kinds={"pandas"}, pool=BULK_WRITES), deps=[scored_leads]
)
def qualified_leads(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.MaterializeResult:
    """Leads that pass the threshold, every rule, the tree and the overrides.

    `decisions` holds the outcome and its reason for every lead, those that do not go on included.
    """
    return run_stage(context, workspace, clock)


@dg.asset(
    **stage_arguments("routed_leads", kinds={"pandas"}, pool=BULK_WRITES), deps=[qualified_leads]
)
def routed_leads(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.MaterializeResult:
    """Qualified leads in a sequence: fair by weight, within capacity, and there for good."""
    return run_stage(context, workspace, clock)


@dg.asset(**stage_arguments("nurture_sends", kinds={"email"}, pool=MAIL), deps=[routed_leads])
def nurture_sends(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.MaterializeResult:
    """The ledger of messages: what is due and allowed is sent, each send at most once.

    Safe to materialise at any time, also twice at once: the ledger is advanced and never replaced.
    """
    return run_stage(context, workspace, clock)


ASSETS = [raw_leads, scored_leads, qualified_leads, routed_leads, nurture_sends]
"""The five stages in order."""


def run_stage(
    context: dg.AssetExecutionContext, workspace: Workspace, clock: Clock
) -> dg.MaterializeResult:
    """Runs the asset's stage for each campaign of the run; one that fails does not stop the others.

    Dagster records nothing for a step that fails, and ends its run. So where some campaigns fail,
    the others' materialisations are logged one by one, they go on through the later stages of the
    run right here, and only then the step fails.
    """
    stage = context.asset_key.to_user_string()
    work = partial(stage_work, workspace=workspace, clock=clock)
    done, failures = run_campaigns(work(stage), context.partition_keys, workspace, context)
    if not failures:
        return told(context, done)
    log_done(context, stage, done)
    for later in _later_stages(context, stage):
        done, failed_later = run_campaigns(work(later), list(done), workspace, context)
        log_done(context, later, done)
        failures |= failed_later
    raise failure_of(failures, context) from None


def stage_work(stage: str, workspace: Workspace, clock: Clock) -> Work:
    """What `stage` does for one campaign."""

    def perform(key: str) -> tuple[Report, Metadata]:
        report = STAGE_FUNCTIONS[stage](workspace, key, clock)
        return report, of_report(workspace, report, clock.now())

    return Work(stage, perform)


def _later_stages(context: dg.AssetExecutionContext, stage: str) -> list[str]:
    """The stages after `stage` that this run was to materialise."""
    selected = context.job_def.asset_layer.executable_asset_keys
    later = STAGES[STAGES.index(stage) + 1 :]
    return [name for name in later if dg.AssetKey(name) in selected]
