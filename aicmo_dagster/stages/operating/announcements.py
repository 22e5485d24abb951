"""Runs that ended are told to whoever asked. Not here: finding them (`defs`), or delivering."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.results import results_of_run
from aicmo_dagster.store.webhooks import Event, Occurrence, announce, any_wants


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended.

    Args:
        run_id: Dagster's id of it.
        job: The job.
        campaign: The one it was for, if its partition tells.
        state: `finished`, `failed` or `canceled`.
    """

    run_id: str
    job: str
    campaign: str | None
    state: str


def wants_runs(workspace: Workspace) -> bool:
    """Whether anybody is told of runs that ended."""
    with workspace.database.read() as connection:
        return any_wants(connection, "run.finished") or any_wants(connection, "run.failed")


def announce_runs(workspace: Workspace, runs: Sequence[EndedRun], now: datetime) -> int:
    """Runs of campaigns that ended are told, each once; tells how many deliveries that adds."""
    added = 0
    with workspace.database.write() as connection:
        for run in runs:
            results = results_of_run(connection, run.run_id)
            campaigns = {each.campaign for each in results}
            campaigns |= {run.campaign} if run.campaign else set()
            if not campaigns:
                continue
            data = {
                "run_id": run.run_id,
                "job": run.job,
                "state": run.state,
                "campaigns": sorted(campaigns),
                "failed_stages": sorted({each.stage for each in results if not each.succeeded}),
            }
            event: Event = "run.finished" if run.state == "finished" else "run.failed"
            told = Occurrence(run.run_id, data, tuple(sorted(campaigns)))
            added += announce(connection, event, [told], now)
    return added
