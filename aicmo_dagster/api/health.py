"""Endpoints of health: a cheap one, whether this process lives, and a thorough one.

Not here: what is looked at (`operating.health`).
"""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from aicmo_dagster.api.access import Viewer
from aicmo_dagster.api.problems import answers
from aicmo_dagster.api.service import Now, Work
from aicmo_dagster.stages.operating.health import State, examine

router = APIRouter(tags=["operation"])
live_router = APIRouter(tags=["operation"])


class CheckDetail(BaseModel):
    """How one part fares."""

    state: State = Field(description="`warn`: it works, and somebody should look.")
    age_seconds: float = Field(description="How old that is.")
    detail: str = Field(examples=["the daemon looks at the schedules"])
    advice: str = Field(description="What to do; empty where there is nothing to do.")
    figures: dict[str, float]


class HealthDetail(BaseModel):
    """How everything fares; its state is that of the part that fares worst."""

    state: State
    at: datetime
    checks: dict[str, CheckDetail] = Field(
        description="By part: database, scheduler, mail, dead_letters, apollo, dropcontact, "
        "memory, disk, spool, dagster, settings."
    )


class Life(BaseModel):
    """A sign of life."""

    state: Literal["pass"] = "pass"


@live_router.get("/health/live")
async def live() -> Life:
    """This process answers; nothing else is looked at, and no token is needed."""
    return Life()


@router.get("/health", responses={503: {**answers(503)[503], "model": HealthDetail}})
def health(_: Viewer, work: Work, now: Now, response: Response) -> HealthDetail:
    """Every part with its state and age, as `aicmo doctor` tells; 503 if one does not work."""
    found = examine(work.settings, work.database, now)
    if found.state == "fail":
        response.status_code = 503
    return HealthDetail.model_validate(found.as_document())
