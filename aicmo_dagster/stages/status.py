"""How a campaign stands: what each stage did last, what is late, and what comes next.

Not here: where its leads are (`summary`), or how this is shown.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from cronsim import CronSim

from aicmo_dagster.domain.campaigns import Schedule
from aicmo_dagster.domain.schedules import SCHEDULED, next_ticks, previous_tick
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.results import StageState, states_of
from aicmo_dagster.store.ticks import dealt_until, past_ticks

GRACE = timedelta(minutes=15)
"""A run may take as long as this before what it makes counts as late."""

RECENT = 10
_JOBS_OF: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(STAGES[:4], ("full_pipeline", "harvest")),
    "nurture_sends": ("full_pipeline",),
}
"""The jobs that make a stage. A nurture tick without mail to send is in order and makes nothing."""


@dataclass(frozen=True)
class StageStatus:
    """A stage, and by how much it is late by the campaign's schedule, if it is."""

    stage: str
    state: StageState | None
    late_by: timedelta | None


@dataclass(frozen=True)
class JobStatus:
    """A scheduled job: its cron expression, in words, and the next instants it is due."""

    job: str
    cron: str
    words: str
    next_ticks: list[datetime]


@dataclass(frozen=True)
class PastRun:
    """A tick of the past and what became of it."""

    job: str
    due_at: datetime
    state: str
    reason: str


@dataclass(frozen=True)
class Status:
    """How a campaign stands."""

    campaign: str
    stages: list[StageStatus]
    jobs: list[JobStatus]
    ticks: list[PastRun]

    def as_document(self) -> dict[str, Any]:
        """Plain values for JSON; spans of time in seconds."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def status(workspace: Workspace, key: str, now: datetime) -> Status:
    """The status of the campaign `key` at `now`."""
    schedule = workspace.campaign(key).campaign.schedule
    with workspace.database.read() as connection:
        states = states_of(connection, key)
        since = dealt_until(connection)
        past = past_ticks(connection, key, RECENT)
    known_since = {job: at for (campaign, job), at in since.items() if campaign == key}
    stages = [
        StageStatus(stage, states.get(stage), _late_by(stage, states, schedule, known_since, now))
        for stage in STAGES
    ]
    jobs = [
        JobStatus(job, cron, _words(cron), next_ticks(schedule, job, now))
        for job in SCHEDULED
        if (cron := getattr(schedule, job))
    ]
    ticks = [PastRun(tick.tick.job, tick.tick.at, tick.state, tick.reason) for tick in past]
    return Status(key, stages, jobs, ticks)


def _late_by(
    stage: str,
    states: dict[str, StageState],
    schedule: Schedule,
    since: dict[str, datetime],
    now: datetime,
) -> timedelta | None:
    """How long ago the stage should have been done, if it was not."""
    expected = [
        tick
        for job in _JOBS_OF[stage]
        if (cron := getattr(schedule, job)) and schedule.enabled and job in since
        if (tick := previous_tick(cron, schedule.timezone, now - GRACE)) >= since[job]
    ]
    if not expected:
        return None
    state = states.get(stage)
    done = state.succeeded_at if state else None
    latest = max(expected)
    return None if done is not None and done >= latest else now - latest


def _words(expression: str) -> str:
    return CronSim(expression, datetime(2000, 1, 1)).explain()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value
