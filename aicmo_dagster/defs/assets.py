"""The five assets, each a thin shell over its stage. Not here: what a stage does (`stages`)."""

import traceback
from collections.abc import Callable
from datetime import datetime
from typing import Any

import dagster as dg

from aicmo_dagster.defs.columns import column_schema
from aicmo_dagster.defs.metadata import of_report
from aicmo_dagster.defs.partitions import campaign_partitions
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.harvest import harvest
from aicmo_dagster.stages.nurture import nurture
from aicmo_dagster.stages.qualify import qualify_leads
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.route import route_leads
from aicmo_dagster.stages.score import score_leads
from aicmo_dagster.stages.workspace import Workspace

StageFunction = Callable[[Workspace, str, datetime], Report]

OWNERS = ["team:revenue-operations"]


def stage_arguments(stage: str, *, kinds: set[str]) -> dict[str, Any]:
    """What all five assets have in common."""
    return {
        "name": stage,
        "partitions_def": campaign_partitions,
        "group_name": "pipeline",
        "kinds": {"table", *kinds},
        "owners": OWNERS,
        "metadata": {"dagster/column_schema": column_schema(stage), "dagster/table_name": stage},
    }


@dg.asset(**stage_arguments("raw_leads", kinds={"csv", "pandas"}))
def raw_leads(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.MaterializeResult:
    """Everyone the campaign's sources name, normalised, each person once.

    Records that cannot be leads stand in `rejects` with their file, row and reason. Leads that
    a source no longer names stay, with the instant they were last seen.
    """
    return run_stage(context, workspace, clock, harvest)


@dg.asset(**stage_arguments("scored_leads", kinds={"pandas"}), deps=[raw_leads])
def scored_leads(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.MaterializeResult:
    """Every raw lead with its score from 0 to 100 and the contributions that sum to it."""
    return run_stage(context, workspace, clock, score_leads)


@dg.asset(**stage_arguments("qualified_leads", kinds={"pandas"}), deps=[scored_leads])
def qualified_leads(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.MaterializeResult:
    """Leads that pass the threshold, every rule, the tree and the overrides.

    `decisions` holds the outcome and its reason for every lead, those that do not go on included.
    """
    return run_stage(context, workspace, clock, qualify_leads)


@dg.asset(**stage_arguments("routed_leads", kinds={"pandas"}), deps=[qualified_leads])
def routed_leads(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.MaterializeResult:
    """Qualified leads in a sequence: fair by weight, within capacity, and there for good."""
    return run_stage(context, workspace, clock, route_leads)


@dg.asset(**stage_arguments("nurture_sends", kinds={"email"}), deps=[routed_leads])
def nurture_sends(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> dg.MaterializeResult:
    """The ledger of messages: what is due and allowed is sent, each send at most once.

    Safe to materialise at any time, also twice at once: the ledger is advanced and never replaced.
    """
    return run_stage(context, workspace, clock, nurture)


ASSETS = [raw_leads, scored_leads, qualified_leads, routed_leads, nurture_sends]
"""The five stages in order."""


def run_stage(
    context: dg.AssetExecutionContext, workspace: Workspace, clock: Clock, stage: StageFunction
) -> dg.MaterializeResult:
    """Runs `stage` for each campaign of the run; one that fails does not stop the others.

    Where some fail, the others' materialisations are logged one by one before the step fails, since
    Dagster records none for a failed step.
    """
    now, failures, done = clock.now(), {}, {}
    exit_codes = set()
    for key in context.partition_keys:
        try:
            report = stage(workspace, key, now)
        except Exception as error:  # the boundary: whatever it is, the next campaign has its turn
            failures[key] = failure_text(error)
            exit_codes.add(error.exit_code if isinstance(error, AicmoError) else 1)
            continue
        done[key] = of_report(workspace, report)
        context.log.info(f"{key}: {report.rows_in} in, {report.rows_out} out")
    if failures:
        for key, metadata in done.items():
            asset = context.asset_key
            context.log_event(dg.AssetMaterialization(asset, partition=key, metadata=metadata))
        description = "\n".join(f"{key}: {text}" for key, text in failures.items())
        raise dg.Failure(description, metadata={"exit_code": min(exit_codes)}) from None
    for key, metadata in done.items():
        context.add_asset_metadata(metadata, partition_key=key)
    return dg.MaterializeResult()


def failure_text(error: Exception) -> str:
    """What may be logged of `error`: our own words, else its type and place.

    The texts of others may quote a lead.
    """
    if isinstance(error, AicmoError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name} ({frame.filename}, line {frame.lineno})"
