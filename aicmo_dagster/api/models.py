"""Endpoints of a campaign's models: listing, promoting, rolling back. Training is a run."""

import json
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from aicmo_dagster.api.access import Operator, Viewer
from aicmo_dagster.api.leads import Reason
from aicmo_dagster.api.once import Once, answered
from aicmo_dagster.api.problems import answers
from aicmo_dagster.api.service import Now, Work
from aicmo_dagster.stages.operating import by_hand
from aicmo_dagster.store.models import list_models

router = APIRouter(prefix="/campaigns/{key}", tags=["models"], responses=answers(404))

Version = Annotated[
    str, Path(pattern=r"^[0-9a-z-]{1,64}$", description="A model's version, or how it begins.")
]


class ModelLine(BaseModel):
    """A model of a campaign."""

    version: str
    kind: str
    state: str = Field(examples=["candidate", "promoted", "retired"])
    trained_at: datetime
    metrics: dict[str, Any]


class ModelList(BaseModel):
    """The campaign's models, the newest first."""

    items: list[ModelLine]


class Why(BaseModel):
    """Why something is decided."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = Field(examples=["better within cohorts"])


class InCharge(BaseModel):
    """What scores the campaign from the next run on."""

    version: str | None = Field(description="None: the scorecard.")


@router.get("/models")
def list_(key: str, _: Viewer, work: Work) -> ModelList:
    """The campaign's models; there are few, so they come in one page."""
    work.campaign(key)
    with work.database.read() as connection:
        rows = list_models(connection, key)
    return ModelList(
        items=[
            ModelLine(
                version=row.version,
                kind=row.kind,
                state=row.state,
                trained_at=row.trained_at,
                metrics=json.loads(row.metrics),
            )
            for row in rows
        ]
    )


@router.post("/models/{version}/promote", response_model=InCharge, responses=answers(409))
def promote_(
    key: str, version: Version, why: Why, principal: Operator, work: Work, now: Now, once: Once
) -> Response:
    """The model is in charge, whatever its gate said."""
    work.campaign(key)

    def act(connection: sa.Connection) -> JSONResponse:
        who = principal.who
        named = by_hand.promote(
            connection, key, version, reason=why.reason, by=who, who=who, now=now
        )
        return answered(InCharge(version=named))

    return once.write(principal, act)


@router.post("/models:rollback", response_model=InCharge, responses=answers(409))
def rollback(key: str, why: Why, principal: Operator, work: Work, now: Now, once: Once) -> Response:
    """The latest promotion is undone: the model before it is in charge again."""
    work.campaign(key)

    def act(connection: sa.Connection) -> JSONResponse:
        who = principal.who
        _, below = by_hand.roll_back(connection, key, reason=why.reason, by=who, who=who, now=now)
        return answered(InCharge(version=below))

    return once.write(principal, act)
