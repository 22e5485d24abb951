"""Jobs whose runs many campaigns share, each campaign in its turn and failing alone.

Not here: which campaigns share a run (`operating.sharing`), or what a stage does (`stages`).
"""

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dagster as dg

from aicmo_dagster.defs.assets import stage_work
from aicmo_dagster.defs.checks import evaluate
from aicmo_dagster.defs.in_turn import (
    LONG,
    RETRIES_TAG,
    RUN_KEY,
    Metadata,
    attempted,
    failure_for_good,
    failures_text,
    log_done,
    require_wanted,
)
from aicmo_dagster.defs.pools import MAIL, PROVIDERS
from aicmo_dagster.defs.resources import RESOURCES, Clock
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.operating.faults import is_transient, wait_before
from aicmo_dagster.stages.operating.sharing import HARVEST, SHARED
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.ticks import finish_turn


class Sharing(dg.Config):
    """Who shares the run.

    Args:
        campaigns: The keys, in order of their turns.
    """

    campaigns: list[str]


@dg.op(pool=MAIL)
def nurture_campaigns(
    context: dg.OpExecutionContext,
    config: Sharing,
    workspace: dg.ResourceParam[Workspace],
    clock: Clock,
) -> None:
    """Sends what is due in each campaign; the failure of one is its own."""
    take_turns(context, config.campaigns, partial(_turn, _nurture, context, workspace, clock))


@dg.op(pool=PROVIDERS)
def harvest_campaigns(
    context: dg.OpExecutionContext,
    config: Sharing,
    workspace: dg.ResourceParam[Workspace],
    clock: Clock,
) -> None:
    """Harvests, scores, qualifies and routes in each campaign; the failure of one is its own."""
    take_turns(context, config.campaigns, partial(_turn, _lead_pipeline, context, workspace, clock))


# Resources are bound here, since Dagster would bind them by copying the sensors that name the jobs.
@dg.job(
    description="Send what is due in many campaigns: a run for each would cost far more.",
    resource_defs=RESOURCES,
)
def shared_nurture_job() -> None:
    """One step for all campaigns."""
    nurture_campaigns()


@dg.job(
    description="Harvest, score, qualify and route in many small campaigns, as lead_pipeline_job "
    "does in one: a run for each would cost far more.",
    resource_defs=RESOURCES,
    tags=LONG,
)
def shared_harvest_job() -> None:
    """One step for all campaigns."""
    harvest_campaigns()


SHARED_JOBS: list[Any] = [shared_nurture_job, shared_harvest_job]
_OPS = {shared_nurture_job.name: "nurture_campaigns", shared_harvest_job.name: "harvest_campaigns"}


def shared_config(job: str, campaigns: Sequence[str]) -> dict[str, Any]:
    """The configuration of a run of the shared job `job` for these campaigns."""
    return {"ops": {_OPS[job]: {"config": {"campaigns": list(campaigns)}}}}


def campaigns_sharing(run: dg.DagsterRun) -> list[str]:
    """The campaigns that share the run; none if it is no run of a shared job."""
    if run.job_name not in _OPS:
        return []
    config: Any = run.run_config
    return list(config["ops"][_OPS[run.job_name]]["config"]["campaigns"])


def take_turns(
    context: dg.OpExecutionContext,
    campaigns: Sequence[str],
    do: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Each campaign has its turn; what may pass by itself is tried again when all others are done.

    Raises:
        dg.Failure: If a campaign failed for good, or the run was cancelled before it began.
    """
    require_wanted(context)
    retries = int(context.run.tags.get(RETRIES_TAG, "0"))
    failures = _round(campaigns, do)
    for retry in range(1, retries + 1):
        again = {key: error for key, error in failures.items() if is_transient(error)}
        if not again:
            break
        told = failures_text(again)
        context.log.warning(f"This is tried again, since it may pass by itself:\n{told}")
        sleep(wait_before(retry, random.random()))
        failures = {k: e for k, e in failures.items() if k not in again} | _round(list(again), do)
    if failures:
        raise failure_for_good(failures) from None


def _round(campaigns: Sequence[str], do: Callable[[str], None]) -> dict[str, Exception]:
    failures: dict[str, Exception] = {}
    for key in campaigns:
        try:
            do(key)
        except Exception as error:  # the boundary: whatever it is, the next campaign has its turn
            failures[key] = error
    return failures


def _turn(
    do: Callable[[dg.OpExecutionContext, Workspace, Clock, str], None],
    context: dg.OpExecutionContext,
    workspace: Workspace,
    clock: Clock,
    key: str,
) -> None:
    """What the campaign is to have done is done, and its tick, lest it wait for slower ones."""
    do(context, workspace, clock, key)
    run_key = context.run.tags.get(RUN_KEY)
    if run_key is not None:
        with workspace.database.write() as connection:
            finish_turn(connection, run_key, key, datetime.now(UTC))


def _lead_pipeline(
    context: dg.OpExecutionContext, workspace: Workspace, clock: Clock, key: str
) -> None:
    """The stages up to the campaign's routed leads, each with the claims about it.

    Raises:
        AicmoError: If a claim that blocks does not hold, which is its stage's failure.
    """
    for stage in SHARED[HARVEST]:

        def tell(metadata: Metadata, stage: str = stage) -> None:
            log_done(context, stage, {key: metadata})
            if held := evaluate(stage, context, workspace, key, clock.now()):
                raise AicmoError("; ".join(held))

        attempted(stage_work(stage, workspace, clock), key, workspace, context, tell)


def _nurture(context: dg.OpExecutionContext, workspace: Workspace, clock: Clock, key: str) -> None:
    """The campaign's mail that is due is sent."""
    stage = "nurture_sends"
    work = stage_work(stage, workspace, clock)
    attempted(work, key, workspace, context, lambda told: log_done(context, stage, {key: told}))
