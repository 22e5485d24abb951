"""What the sensors ask Dagster about its runs. Not here: starting any."""

from collections.abc import Iterable

import dagster as dg

from aicmo_dagster.defs.runs import UNFINISHED
from aicmo_dagster.stages.clock import Ended

GOING = [*UNFINISHED, dg.DagsterRunStatus.QUEUED]
RUN_KEY = "dagster/run_key"
WILL_RETRY = "dagster/will_retry"


def busy_campaigns(instance: dg.DagsterInstance) -> dict[str, str]:
    """Campaign to the run of it that has not ended."""
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
    found: dict[str, list[dg.DagsterRun]] = {}
    for run in instance.get_runs(dg.RunsFilter(tags={RUN_KEY: wanted})):
        found.setdefault(run.tags[RUN_KEY], []).append(run)
    return {key: _end(runs) for key, runs in found.items()}


def is_tried_again(run: dg.DagsterRun) -> bool:
    """Whether the run, which did not go well, is going to be started once more."""
    return run.tags.get(WILL_RETRY) == "true"


def _end(runs: list[dg.DagsterRun]) -> Ended | None:
    """How the runs of one key ended: the newest counts, unless it is going to be tried again."""
    latest = runs[0]
    if not latest.is_finished or (is_tried_again(latest) and not latest.is_success):
        return None
    return Ended(latest.run_id, latest.is_success)
