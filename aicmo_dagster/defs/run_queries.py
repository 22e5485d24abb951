"""What the sensors ask Dagster about its runs. Not here: starting any."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg

from aicmo_dagster.defs.runs import UNFINISHED
from aicmo_dagster.stages.clock import Ended

GOING = [*UNFINISHED, dg.DagsterRunStatus.QUEUED]
RUN_KEY = "dagster/run_key"
WILL_RETRY = "dagster/will_retry"

PATIENCE = timedelta(minutes=2)
"""After this, a lost run that is said to be started again is not waited for any more."""


def busy_campaigns(instance: dg.DagsterInstance) -> dict[str, str]:
    """Campaign to the run of it that has not ended."""
    runs = instance.get_runs(dg.RunsFilter(statuses=GOING))
    partitions = ((run.tags.get("dagster/partition"), run.run_id) for run in runs)
    return {partition: run_id for partition, run_id in partitions if partition}


def unfinished_runs(instance: dg.DagsterInstance) -> set[str]:
    """The runs that have not ended, and those that they are another try of."""
    runs = instance.get_runs(dg.RunsFilter(statuses=GOING))
    return {each for run in runs for each in (run.run_id, run.parent_run_id) if each}


def runs_of_keys(
    instance: dg.DagsterInstance, keys: Iterable[str], patience: timedelta = PATIENCE
) -> dict[str, Ended | None]:
    """Run key to how its run ended, or None while it goes; a key without a run is absent.

    A lost run that is said to be started again is not waited for longer than `patience`.
    """
    wanted = list(keys)
    if not wanted:
        return {}
    found: dict[str, dg.RunRecord] = {}
    for record in instance.get_run_records(dg.RunsFilter(tags={RUN_KEY: wanted})):
        found.setdefault(record.dagster_run.tags[RUN_KEY], record)  # the newest come first
    return {key: _end(record, patience) for key, record in found.items()}


def is_tried_again(run: dg.DagsterRun) -> bool:
    """Whether the run, which did not go well, is going to be started once more."""
    return run.tags.get(WILL_RETRY) == "true"


def _end(record: dg.RunRecord, patience: timedelta) -> Ended | None:
    """How the newest run of a key ended, unless it goes or is going to be tried again.

    A daemon that dies may take note of a lost run and never start it again. Dagster's own records
    carry real time, whatever the clock says.
    """
    run = record.dagster_run
    waited = datetime.now(UTC) - record.update_timestamp.astimezone(UTC)
    if not run.is_finished:
        return None
    if is_tried_again(run) and not run.is_success and waited < patience:
        return None
    cancelled = run.status == dg.DagsterRunStatus.CANCELED
    return Ended(run.run_id, run.is_success, cancelled)
