"""What an attempt at a stage came to, written down for whoever asks how a campaign stands."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from aicmo_dagster.stages.operating.freshness import JOBS_OF
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.results import record_failure, record_success, states_of


@dataclass(frozen=True)
class Attempt:
    """An attempt of a run at one stage of one campaign."""

    workspace: Workspace
    campaign: str
    stage: str
    run_id: str
    begun_at: datetime

    def succeeded(self, report: Report, now: datetime) -> None:
        """The stage was done."""
        with self.workspace.database.write() as connection:
            record_success(
                connection,
                self.campaign,
                self.stage,
                run_id=self.run_id,
                started_at=self.begun_at,
                finished_at=now,
                rows_in=report.rows_in,
                rows_out=report.rows_out,
                figures=report.figures,
            )

    def failed(self, failure: str, now: datetime) -> None:
        """The stage failed, for a reason free of personal data."""
        with self.workspace.database.write() as connection:
            record_failure(
                connection,
                self.campaign,
                self.stage,
                run_id=self.run_id,
                started_at=self.begun_at,
                finished_at=now,
                failure=failure,
            )


def note_lost_run(
    workspace: Workspace, campaign: str, stages: Collection[str], run_id: str, now: datetime
) -> None:
    """The failure of a run that could not say why it failed is that of the stage it was at.

    Nothing changes where a stage did say why, or where the run did all of its `stages`.
    """
    with workspace.database.write() as connection:
        states = states_of(connection, campaign)
        done = {stage for stage, state in states.items() if state.succeeded_in == run_id}
        undone = [stage for stage in JOBS_OF if stage in stages and stage not in done]
        if not undone or any(state.failed_in == run_id for state in states.values()):
            return
        times = {"started_at": now, "finished_at": now}
        failure = f"run {run_id} ended before it was done"
        record_failure(connection, campaign, undone[0], run_id=run_id, failure=failure, **times)
