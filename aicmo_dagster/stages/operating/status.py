"""How a campaign stands: what each stage did last, what is late, and what comes next.

Not here: where its leads are (`summary`), or how this is shown.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from aicmo_dagster.domain.schedules import SCHEDULED, in_words, next_ticks
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.domain.sections.schedule import Schedule
from aicmo_dagster.stages.operating.freshness import JOBS_OF, fresh_until, late_by
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.incidents import open_incidents
from aicmo_dagster.store.results import StageState, states_of
from aicmo_dagster.store.ticks import dealt_until, past_ticks

RECENT = 10


@dataclass(frozen=True)
class StageStatus:
    """A stage, until when it counts as fresh, and by how much it is late, if it is.

    Both go by the campaign's schedule.
    """

    stage: str
    state: StageState | None
    fresh_until: datetime | None
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
class OpenIncident:
    """What is wrong, since when, and why."""

    kind: str
    subject: str
    reason: str
    opened_at: datetime


@dataclass(frozen=True)
class Status:
    """How a campaign stands."""

    campaign: str
    stages: list[StageStatus]
    jobs: list[JobStatus]
    ticks: list[PastRun]
    incidents: list[OpenIncident]

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
        standing = open_incidents(connection, key)
    known_since = {job: at for (campaign, job), at in since.items() if campaign == key}
    made = [stage for stage in JOBS_OF if stage in STAGES or stage in states]
    stages = [_stage(stage, states, schedule, known_since, now) for stage in made]
    jobs = scheduled_jobs(schedule, now)
    ticks = [PastRun(tick.tick.job, tick.tick.at, tick.state, tick.reason) for tick in past]
    wrong = [
        OpenIncident(each.fault.kind, each.fault.subject, each.fault.reason, each.opened_at)
        for each in standing
    ]
    return Status(key, stages, jobs, ticks, wrong)


def scheduled_jobs(schedule: Schedule, now: datetime) -> list[JobStatus]:
    """The jobs that the schedule starts, and when."""
    return [
        JobStatus(job, cron, in_words(cron), next_ticks(schedule, job, now))
        for job in SCHEDULED
        if (cron := getattr(schedule, job))
    ]


def _stage(
    stage: str,
    states: dict[str, StageState],
    schedule: Schedule,
    since: dict[str, datetime],
    now: datetime,
) -> StageStatus:
    state = states.get(stage)
    done = state.succeeded_at if state else None
    until = fresh_until(stage, schedule, done) if done else None
    return StageStatus(stage, state, until, late_by(stage, states, schedule, since, now))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value
