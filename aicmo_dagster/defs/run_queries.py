"""What the sensors ask Dagster about its runs. Not here: starting any."""

from collections.abc import Iterable

import dagster as dg

from aicmo_dagster.defs.in_turn import RUN_KEY
from aicmo_dagster.defs.runs import UNFINISHED
from aicmo_dagster.stages.operating.clock import Ended

GOING = [*UNFINISHED, dg.DagsterRunStatus.QUEUED]
WILL_RETRY = "dagster/will_retry"
MAX_RETRIES = "dagster/max_retries"


def busy_campaigns(instance: dg.DagsterInstance) -> dict[str, str]:
    """Campaign to the run of it alone that has not ended."""
    runs = instance.get_runs(dg.RunsFilter(statuses=GOING))
    partitions = ((run.tags.get("dagster/partition"), run.run_id) for run in runs)
    return {partition: run_id for partition, run_id in partitions if partition}


def unfinished_runs(instance: dg.DagsterInstance) -> set[str]:
    """The runs that have not ended, and those that they are another try of."""
    runs = instance.get_runs(dg.RunsFilter(statuses=GOING))
    return {each for run in runs for each in (run.run_id, run.parent_run_id) if each}


def runs_of_keys(instance: dg.DagsterInstance, keys: Iterable[str]) -> dict[str, Ended | None]:
    """Run key to how its run ended, or None while it goes; a key without a run is absent."""
    wanted = list(keys)
    if not wanted:
        return {}
    found: dict[str, dg.DagsterRun] = {}
    for run in instance.get_runs(dg.RunsFilter(tags={RUN_KEY: wanted})):
        found.setdefault(run.tags[RUN_KEY], run)  # the newest come first
    return {key: _end(run) if run.is_finished else None for key, run in found.items()}


def is_of_a_tick(run: dg.DagsterRun) -> bool:
    """Whether the clock says what became of the run, and asks for another if it was lost."""
    return RUN_KEY in run.tags and run.tags.get(MAX_RETRIES) == "0"


def is_tried_again(run: dg.DagsterRun) -> bool:
    """Whether the run, which did not go well, is going to be started once more."""
    return run.tags.get(WILL_RETRY) == "true"


def _end(run: dg.DagsterRun) -> Ended:
    failed = run.status == dg.DagsterRunStatus.FAILURE
    lost = failed and run.tags.get("dagster/failure_reason") != "STEP_FAILURE"
    cancelled = run.status == dg.DagsterRunStatus.CANCELED
    return Ended(run.run_id, run.is_success, cancelled, lost)
