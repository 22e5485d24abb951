"""Dagster runs from the command line: the instance they are kept in, one campaign's run.

Not here: runs started over GraphQL (the API's), or what they do (`assets`).
"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from aicmo_dagster.defs.jobs import full_pipeline_job
from aicmo_dagster.defs.resources import WORKER_TAG
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.settings import Settings
from aicmo_dagster.stages.operating.dagster_home import prepare_dagster_home
from aicmo_dagster.store.workers import has_ended, this_worker

UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class StageOutcome:
    """What one stage of a run did.

    Args:
        stage: The stage.
        rows_in: What came in, where it succeeded.
        rows_out: What its frame holds.
        reasons: What did not go on, by reason.
        seconds: How long the step took.
    """

    stage: str
    rows_in: int
    rows_out: int
    reasons: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class RunOutcome:
    """A finished run.

    Args:
        run_id: Dagster's id of it.
        stages: The stages that succeeded.
        failure: The text of what failed, if something did.
        exit_code: What the command ends with: 0, 1, or 2 where an input is at fault.
    """

    run_id: str
    stages: list[StageOutcome]
    failure: str | None
    exit_code: int


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of `settings`, its folder made and configured on first use."""
    prepare_dagster_home(settings)
    os.environ.update(settings.process_environment())
    with dg.DagsterInstance.get() as instance:
        yield instance


def selected_stages(first: str | None, last: str | None) -> list[str]:
    """The stages from `first` to `last`, both included."""
    start = STAGES.index(first) if first else 0
    end = STAGES.index(last) if last else len(STAGES) - 1
    if start > end:
        expected = f"a stage before it; the order is {', '.join(STAGES)}"
        raise BadInput(Problem("--from", "", f"{first}, which comes after --to {last}", expected))
    return list(STAGES[start : end + 1])


def run_campaign(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    key: str,
    stages: list[str],
    *,
    as_of: str,
    on_stage: Callable[[str], None],
) -> RunOutcome:
    """Runs `stages` of the campaign `key` in this process, as a run that the web UI shows.

    Args:
        defs: The system.
        instance: Where the run is kept.
        key: The campaign, which must be a partition.
        stages: The stages to run.
        as_of: The instant to take as now, ISO 8601; empty for the real one.
        on_stage: Told each stage as it starts.
    """
    fail_abandoned_runs(instance)
    run_id = str(uuid.uuid4())
    instance.add_event_listener(run_id, lambda entry: _tell_start(entry, on_stage))
    result = defs.resolve_job_def(full_pipeline_job.name).execute_in_process(
        instance=instance,
        partition_key=key,
        asset_selection=[dg.AssetKey(stage) for stage in stages],
        run_config={
            "resources": {"clock": {"config": {"as_of": as_of}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        tags={WORKER_TAG: this_worker()},
        raise_on_error=False,
        run_id=run_id,
    )
    done = [_outcome(result, stage) for stage in stages if _succeeded(result, stage)]
    if result.success:
        return RunOutcome(result.run_id, done, None, 0)
    return RunOutcome(result.run_id, done, *run_failure(result))


def fail_abandoned_runs(instance: dg.DagsterInstance) -> None:
    """Runs whose process has ended are marked as failed, so that they block nothing."""
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        worker = run.tags.get(WORKER_TAG)
        if worker and has_ended(worker) and not _is_of_its_parent(instance, run):
            instance.report_run_failed(run, "The process of this run ended before it was done.")
        elif run.status == dg.DagsterRunStatus.STARTING and _is_lost(instance, run):
            instance.report_run_failed(run, "The worker that took this run is gone.")


def _is_lost(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """What the launcher says, if it is one that can tell (`celery_launcher`)."""
    is_lost: Callable[[dg.DagsterRun], bool] | None
    is_lost = getattr(instance.run_launcher, "is_lost", None)
    return is_lost is not None and is_lost(run)


def _is_of_its_parent(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the worker is that of the lost run that `run` repeats: Dagster copies its tags."""
    parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    return parent is not None and parent.tags.get(WORKER_TAG) == run.tags[WORKER_TAG]


def _tell_start(entry: dg.EventLogEntry, on_stage: Callable[[str], None]) -> None:
    event = entry.dagster_event
    if event and event.event_type == dg.DagsterEventType.STEP_START and event.step_key in STAGES:
        on_stage(event.step_key)


def _succeeded(result: dg.ExecuteInProcessResult, stage: str) -> bool:
    return any(e.is_step_success and e.step_key == stage for e in result.all_events)


def _outcome(result: dg.ExecuteInProcessResult, stage: str) -> StageOutcome:
    metadata: dict[str, Any] = {}
    seconds = 0.0
    for event in result.all_events:
        if event.step_key != stage:
            continue
        if event.is_step_materialization:
            metadata = dict(event.step_materialization_data.materialization.metadata)
        if event.is_step_success:
            seconds = event.step_success_data.duration_ms / 1000
    reasons = metadata.get("not_going_on")
    return StageOutcome(
        stage,
        int(metadata["rows_in"].value),
        int(metadata["rows_out"].value),
        {str(r.data["reason"]): int(r.data["rows"]) for r in reasons.records} if reasons else {},
        seconds,
    )


def run_failure(result: dg.ExecuteInProcessResult) -> tuple[str, int]:
    """The text of what failed, and the exit code it asks for."""
    for event in result.get_step_failure_events():
        told = event.step_failure_data.user_failure_data
        if told and told.description:
            code = told.metadata.get("exit_code") if told.metadata else None
            return f"{event.step_key}: {told.description}", int(str(code.value)) if code else 1
        if event.step_failure_data.error:
            return f"{event.step_key}: {event.step_failure_data.error.cls_name}", 1
    return "the run failed before its first stage", 1
