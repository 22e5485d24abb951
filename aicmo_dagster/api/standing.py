"""Endpoints of how a campaign stands and when it runs. Not here: starting runs (`executions`)."""

from datetime import datetime

from cronsim import CronSim
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from aicmo_dagster.api.access import Operator, Viewer
from aicmo_dagster.api.campaigns import IfMatch, campaign_to_change, etag
from aicmo_dagster.api.executions import Dagster
from aicmo_dagster.api.problems import Refusal, answers
from aicmo_dagster.api.runs import Run
from aicmo_dagster.api.service import Now, Work
from aicmo_dagster.domain.schedules import SCHEDULED, next_ticks
from aicmo_dagster.domain.sections.schedule import Schedule
from aicmo_dagster.stages.operating.inputs import StageInputs, inputs_of
from aicmo_dagster.stages.operating.status import StageStatus, status
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.results import StageState

router = APIRouter(prefix="/campaigns/{key}", tags=["campaigns"])


class StageStanding(BaseModel):
    """How a stage stands."""

    stage: str = Field(examples=["scored_leads"])
    succeeded_at: datetime | None
    succeeded_in: str | None = Field(description="The run that did it.")
    failed_at: datetime | None
    failed_in: str | None
    failure: str = Field(description="Why it last failed, without personal data.")
    rows_in: int | None
    rows_out: int | None
    made_from: str | None = Field(description="The stage before it.")
    made_from_at: datetime | None = Field(description="Which state of that it has seen.")
    fresh: bool = Field(description="Neither late by the schedule nor older than its input.")
    late_by_seconds: float | None = Field(description="By how much it is late by the schedule.")


class RunningRun(BaseModel):
    """A run that is queued or goes."""

    run_id: str
    job: str
    state: str = Field(examples=["queued", "starting", "running", "canceling"])
    created_at: datetime
    started_at: datetime | None
    progress: float = Field(ge=0, le=1)
    stage: str | None = Field(description="The stage it is at.")
    dagster_url: str


class ScheduledJob(BaseModel):
    """A job that the schedule starts."""

    job: str = Field(examples=["harvest"])
    cron: str = Field(examples=["0 6 * * 1-5"])
    words: str = Field(examples=["At 06:00 on every day-of-week from Monday through Friday"])
    next_ticks: list[datetime] = Field(description="The next five, in the schedule's time zone.")


class PastTick(BaseModel):
    """A tick of the past and what became of it."""

    job: str
    due_at: datetime
    state: str = Field(examples=["claimed", "succeeded", "failed", "skipped"])
    reason: str


class CampaignStatus(BaseModel):
    """How a campaign stands."""

    campaign: str
    state: str = Field(examples=["active", "archived"])
    stages: list[StageStanding]
    running: list[RunningRun]
    schedule: list[ScheduledJob]
    ticks: list[PastTick]


class Scheduled(BaseModel):
    """The schedule that counts from now on."""

    campaign: str
    version: int = Field(description="The document's version that holds it.")
    changed: bool
    enabled: bool
    timezone: str
    jobs: list[ScheduledJob]


@router.get("/status", responses=answers(404))
def campaign_status(key: str, _: Viewer, work: Work, dagster: Dagster, now: Now) -> CampaignStatus:
    """Each stage's last run and what it was made from, what goes now, and what comes next."""
    state = work.campaign(key).state
    standing, inputs = status(work, key, now), inputs_of(work, key)
    return CampaignStatus(
        campaign=key,
        state=state,
        stages=[_stage(each, inputs[each.stage]) for each in standing.stages],
        running=[_running(dagster, run) for run in dagster.unfinished(key)],
        schedule=[ScheduledJob.model_validate(vars(job)) for job in standing.jobs],
        ticks=[PastTick.model_validate(vars(tick)) for tick in standing.ticks],
    )


@router.post("/schedule", responses=answers(404, 409, 412))
def change_schedule(
    key: str,
    given: Schedule,
    principal: Operator,
    work: Work,
    now: Now,
    response: Response,
    if_match: IfMatch = None,
) -> Scheduled:
    """What is given of the schedule takes the place of what stood there; null takes a cron away.

    The document gets a new version, and ticks count from now on.
    """
    with work.database.write() as connection:
        stored = campaign_to_change(connection, key, if_match)
        before = stored.campaign.schedule
        if stored.state != "active":
            raise Refusal(409, f"campaign {key!r} is archived; apply its document to bring it back")
        schedule = Schedule.model_validate({**dict(before), **given.model_dump(exclude_unset=True)})
        campaign = stored.campaign.model_copy(update={"schedule": schedule})
        stored, changed = apply_campaign(connection, campaign, stored.templates, stored.folder, now)
        if changed:
            record_change(
                connection,
                principal.who,
                "campaign.schedule",
                now,
                campaign=key,
                before=before.model_dump(mode="json"),
                after=schedule.model_dump(mode="json"),
            )
    response.headers["ETag"] = etag(stored)
    return Scheduled(
        campaign=key,
        version=stored.version,
        changed=changed,
        enabled=schedule.enabled,
        timezone=schedule.timezone,
        jobs=_jobs(schedule, now),
    )


def _jobs(schedule: Schedule, now: datetime) -> list[ScheduledJob]:
    return [
        ScheduledJob(
            job=job,
            cron=cron,
            words=CronSim(cron, now).explain(),
            next_ticks=next_ticks(schedule, job, now),
        )
        for job in SCHEDULED
        if (cron := getattr(schedule, job))
    ]


_NEVER = StageState(None, None, None, None, "")


def _stage(each: StageStatus, inputs: StageInputs) -> StageStanding:
    state, done = each.state or _NEVER, inputs.done
    return StageStanding(
        stage=each.stage,
        succeeded_at=state.succeeded_at,
        succeeded_in=state.succeeded_in,
        failed_at=state.failed_at,
        failed_in=state.failed_in,
        failure=state.failure,
        rows_in=done.rows_in if done else None,
        rows_out=done.rows_out if done else None,
        made_from=inputs.upstream,
        made_from_at=inputs.upstream_at,
        fresh=done is not None and not inputs.outdated and each.late_by is None,
        late_by_seconds=each.late_by.total_seconds() if each.late_by else None,
    )


def _running(dagster: Dagster, run: Run) -> RunningRun:
    found = dagster.read(run.id)
    steps = found[1] if found else []
    done = sum(step.state in ("finished", "failed") for step in steps)
    at = next((step.stage for step in steps if step.state == "running"), None)
    return RunningRun(
        run_id=run.id,
        job=run.job,
        state=run.state,
        created_at=run.created_at,
        started_at=run.started_at,
        progress=done / max(len(steps), 1),
        stage=at,
        dagster_url=dagster.link(run.id),
    )
