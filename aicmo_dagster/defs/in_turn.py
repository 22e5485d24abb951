"""Campaigns of one step, each in its turn: one that fails does not stop the others.

Not here: what is done for a campaign (`assets`, `models`), or which faults pass by themselves
(`operating.faults`).
"""

import random
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.operating.attempts import Attempt
from aicmo_dagster.stages.operating.faults import is_transient, wait_before
from aicmo_dagster.stages.operating.freshness import fresh_until
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.ticks import schedule_of

Metadata = Mapping[str, dg.MetadataValue]
Context = dg.AssetExecutionContext | dg.OpExecutionContext

RETRIES_TAG = "aicmo/retries"
"""On a run: how often a step is tried again after a fault that may pass by itself."""

RUN_KEY = "dagster/run_key"
"""On a run that a sensor asked for: Dagster's tag for what stands for the request."""

LONG = {"aicmo/work": "long"}
"""On runs that may take hours: the queue leaves slots for the others, however many these are."""


@dataclass(frozen=True)
class Work:
    """What an asset does for one campaign.

    Args:
        stage: The asset's name.
        perform: Takes the campaign's key; gives its counts and its materialisation's metadata.
        recorded: Whether what came of it is how the campaign stands, and part of its history.
    """

    stage: str
    perform: Callable[[str], tuple[Report, Metadata]]
    recorded: bool = True


def materialise(
    context: dg.AssetExecutionContext, work: Work, workspace: Workspace
) -> dg.MaterializeResult:
    """Does `work` for each campaign of the run.

    Dagster records nothing for a step that fails. So where some campaigns fail, the others'
    materialisations are logged one by one, and only then the step fails.
    """
    done, failures = run_campaigns(work, context.partition_keys, workspace, context)
    if failures:
        log_done(context, work.stage, done)
        raise failure_of(failures, context) from None
    return told(context, done)


def told(context: dg.AssetExecutionContext, done: Mapping[str, Metadata]) -> dg.MaterializeResult:
    """The result of a step in which no campaign failed."""
    for key, metadata in done.items():
        context.add_asset_metadata(metadata, partition_key=key)
    return dg.MaterializeResult()


def run_campaigns(
    work: Work, keys: Sequence[str], workspace: Workspace, context: Context
) -> tuple[dict[str, Metadata], dict[str, Exception]]:
    """The metadata of the campaigns that succeed, and the errors of those that fail.

    Raises:
        dg.Failure: If the run was cancelled; nothing is done then.
    """
    require_wanted(context)
    done: dict[str, Metadata] = {}
    failures: dict[str, Exception] = {}
    for key in keys:
        try:
            done[key] = attempted(work, key, workspace, context)
        except Exception as error:  # the boundary: whatever it is, the next campaign has its turn
            failures[key] = error
    return done, failures


def attempted(
    work: Work,
    key: str,
    workspace: Workspace,
    context: Context,
    tell: Callable[[Metadata], None] = lambda _: None,
) -> Metadata:
    """Does `work` for one campaign and gives its metadata, told before it is recorded as done.

    So what a killed run has recorded was told, too; what it told and did not record is done again.

    Raises:
        Exception: Whatever it was that failed; that it did is recorded.
    """
    attempt = Attempt(workspace, key, work.stage, context.run.run_id, begun_at=datetime.now(UTC))
    try:
        report, metadata = work.perform(key)
        if work.recorded:
            metadata = {**metadata, **_freshness(workspace, key, work.stage)}
        tell(metadata)
        if work.recorded:
            attempt.succeeded(report, datetime.now(UTC))
        return metadata
    except Exception as error:
        if work.recorded:
            with suppress(Exception):  # the database may be what failed
                attempt.failed(failure_text(error), datetime.now(UTC))
        raise


def require_wanted(context: Context) -> None:
    """A run that is cancelled just as it leaves the queue is begun by Dagster all the same."""
    run_id, cancelled = context.run.run_id, dg.DagsterEventType.RUN_CANCELED
    if context.instance.get_records_for_run(run_id, of_type=cancelled, limit=1).records:
        raise dg.Failure("the run was cancelled before this step", allow_retries=False)


def _freshness(workspace: Workspace, key: str, stage: str) -> Metadata:
    """Until when what was made now counts as fresh, by the campaign's schedule."""
    with workspace.database.read() as connection:
        schedule = schedule_of(connection, key)
    until = fresh_until(stage, schedule, datetime.now(UTC)) if schedule else None
    return {"fresh_until": dg.MetadataValue.timestamp(until)} if until else {}


def failure_of(failures: Mapping[str, Exception], context: Context) -> Exception:
    """What a step ends with: another try where each fault may pass by itself, else a failure.

    Only runs that ask for it are tried again: whoever waits for a run wants to know now.
    """
    retry = context.retry_number + 1
    retries = int(context.run.tags.get(RETRIES_TAG, "0"))
    if retry <= retries and all(is_transient(error) for error in failures.values()):
        # Dagster's event of it tells no reason.
        context.log.warning(
            f"This is tried again, since it may pass by itself:\n{failures_text(failures)}"
        )
        return dg.RetryRequested(retries, seconds_to_wait=wait_before(retry, random.random()))
    return failure_for_good(failures)


def failure_for_good(failures: Mapping[str, Exception]) -> dg.Failure:
    """What a step ends with that is not tried again."""
    codes = {e.exit_code if isinstance(e, AicmoError) else 1 for e in failures.values()}
    metadata = {"exit_code": min(codes)}
    return dg.Failure(failures_text(failures), metadata=metadata, allow_retries=False)


def failures_text(failures: Mapping[str, Exception]) -> str:
    """What may be logged of each campaign's error, a line each."""
    return "\n".join(f"{key}: {failure_text(error)}" for key, error in failures.items())


def log_done(context: Context, stage: str, done: Mapping[str, Metadata]) -> None:
    """Each campaign that is done has its materialisation."""
    for key, metadata in done.items():
        context.log_event(dg.AssetMaterialization(stage, partition=key, metadata=metadata))


def failure_text(error: Exception) -> str:
    """What may be logged of `error`: our own words, else its type and place.

    The texts of others may quote a lead.
    """
    if isinstance(error, AicmoError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name} ({frame.filename}, line {frame.lineno})"
