"""What an attempt at a stage came to, written down for whoever asks how a campaign stands."""

from dataclasses import dataclass
from datetime import datetime

from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.results import record_failure, record_success


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
