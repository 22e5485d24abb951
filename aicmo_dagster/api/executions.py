"""Endpoints of runs: starting, reading and cancelling them.

Not here: that a run is started once (`starts`), or asking Dagster (`runs`).
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from aicmo_dagster.api.access import Operator, Principal, Viewer
from aicmo_dagster.api.once import IdempotencyKey
from aicmo_dagster.api.problems import Refusal, answers
from aicmo_dagster.api.runs import Action, Run, Runs, Step
from aicmo_dagster.api.service import BASE, Now, Work
from aicmo_dagster.api.starts import Start
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.campaigns import ACTIVE
from aicmo_dagster.store.results import StageResult, results_of_run

router = APIRouter(tags=["runs"])

_LOST = "the run ended before its stages did; its log in Dagster tells more"


def opened_runs(request: Request) -> Runs:
    """The runs of the application's installation."""
    found = request.app.state.runs
    assert isinstance(found, Runs)
    return found


Dagster = Annotated[Runs, Depends(opened_runs)]


class Started(BaseModel):
    """A run that was started."""

    run_id: str = Field(examples=["5c0a4a3e-7ad1-4a52-9a39-5a8f0f0b3a4e"])
    campaign: str
    action: Action
    link: str = Field(description="Where to read it: a path of this API.")
    dagster_url: str = Field(description="Where Dagster's web UI shows it.")


class StageOfRun(BaseModel):
    """What a run has done at one stage of one campaign."""

    stage: str = Field(examples=["scored_leads"])
    campaign: str | None = Field(
        default=None, description="The campaign, once the stage was done for it."
    )
    state: str = Field(examples=["waiting", "running", "finished", "failed", "skipped"])
    started_at: datetime | None = None
    ended_at: datetime | None = None
    rows_in: int | None = None
    rows_out: int | None = None
    failure: str | None = Field(default=None, description="Why it failed, without personal data.")


class RunDetail(BaseModel):
    """A run: its state, its stages and how far it is."""

    run_id: str
    job: str = Field(examples=["full_pipeline_job"])
    campaigns: list[str]
    state: str = Field(
        examples=["queued", "starting", "running", "canceling", "finished", "failed", "canceled"]
    )
    progress: float = Field(ge=0, le=1, description="The share of its stages that are done.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    stages: list[StageOfRun]
    failure: str | None = Field(description="Why it failed, without personal data.")
    dagster_url: str


@router.post("/campaigns/{key}/execute/{action}", status_code=202, responses=answers(404, 409))
def execute(
    key: str,
    action: Action,
    principal: Operator,
    work: Work,
    dagster: Dagster,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Started:
    """Queues a run of a stage or of all five; 409 with its id while another of the campaign goes.

    After a 503 nobody may know whether the run was started: ask again, best with the same
    `Idempotency-Key`, and it is found or started, and never started twice.
    """
    if work.campaign(key).state != ACTIVE:
        raise Refusal(409, f"campaign {key!r} is archived; apply its document to bring it back")
    run_id = Start(work, dagster, principal, key, action).run_once(idempotency_key)
    response.headers["Location"] = link = f"{BASE}/runs/{run_id}"
    return Started(
        run_id=run_id,
        campaign=key,
        action=action,
        link=link,
        dagster_url=dagster.link(run_id),
    )


@router.get("/runs/{run_id}", responses=answers(404))
def read_run(run_id: UUID, principal: Viewer, work: Work, dagster: Dagster) -> RunDetail:
    """A run of whoever started it: this API, the schedule, the web UI or the command line."""
    run, steps, results = _known(str(run_id), principal, work, dagster)
    return _detail(run, steps, results, dagster.link(run.id))


@router.post("/runs/{run_id}/cancel", status_code=202, responses=answers(404, 409))
def cancel_run(
    run_id: UUID, principal: Operator, work: Work, dagster: Dagster, now: Now
) -> RunDetail:
    """Ends a run that is queued or goes; what its stages have written stays."""
    run, steps, results = _known(str(run_id), principal, work, dagster)
    if run.campaign is None or not principal.reaches(run.campaign):
        principal.require_all_campaigns()
    if run.has_ended:
        raise Refusal(409, f"the run has {run.state} already", type="run-ended", run_id=run.id)
    if run.state != "canceling":
        if not dagster.cancel(run.id):
            raise Refusal(409, "Dagster cannot end the run; see it in the web UI", run_id=run.id)
        _tell_of_cancelling(run, principal, work, now)
    found = dagster.read(run.id)
    run, steps = found or (run, steps)
    return _detail(run, steps, results, dagster.link(run.id))


def _tell_of_cancelling(run: Run, principal: Principal, work: Workspace, now: datetime) -> None:
    with work.database.write() as connection:
        record_change(
            connection,
            principal.who,
            "run.cancel",
            now,
            campaign=run.campaign,
            subject=run.id,
            before={"state": run.state},
            after={"state": "canceled"},
        )


def _known(
    run_id: str, principal: Principal, work: Workspace, dagster: Runs
) -> tuple[Run, list[Step], list[StageResult]]:
    """The run with what it did, as far as the principal's campaigns reach."""
    found = dagster.read(run_id)
    if found is None:
        raise Refusal(404, "there is no such run")
    run, steps = found
    with work.database.read() as connection:
        results = results_of_run(connection, run_id)
    theirs = [each for each in results if principal.reaches(each.campaign)]
    if not theirs and not principal.reaches(run.campaign):
        raise Refusal(404, "there is no such run")
    return run, steps, theirs


def _detail(run: Run, steps: list[Step], results: list[StageResult], dagster_url: str) -> RunDetail:
    done = [_stage_done(each) for each in results]
    seen = {each.stage for each in done}
    rest = [
        StageOfRun(
            stage=step.stage,
            state=step.state,
            started_at=step.started_at,
            ended_at=step.ended_at,
        )
        for step in steps
        if step.stage not in seen
    ]
    finished = sum(step.state in ("finished", "failed") for step in steps)
    reasons = [f"{each.stage}: {each.failure}" for each in done if each.failure]
    failure = "; ".join(reasons) or _LOST if run.state == "failed" else None
    campaigns = {each.campaign for each in results} | ({run.campaign} if run.campaign else set())
    return RunDetail(
        run_id=run.id,
        job=run.job,
        campaigns=sorted(campaigns),
        state=run.state,
        progress=1.0 if run.has_ended else finished / max(len(steps), 1),
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        stages=done + rest,
        failure=failure,
        dagster_url=dagster_url,
    )


def _stage_done(each: StageResult) -> StageOfRun:
    return StageOfRun(
        stage=each.stage,
        campaign=each.campaign,
        state="finished" if each.succeeded else "failed",
        started_at=each.started_at,
        ended_at=each.finished_at,
        rows_in=each.rows_in,
        rows_out=each.rows_out,
        failure=each.failure or None,
    )
