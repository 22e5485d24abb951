"""Endpoints of figures: one campaign's, and those of all within a token's limit, as JSON.

Not here: the figures (`domain.figures`), or their pages (`dashboard`).
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from aicmo_dagster.api.access import Viewer
from aicmo_dagster.api.kept import Body, Kept, body, kept
from aicmo_dagster.api.problems import answers
from aicmo_dagster.api.service import Now, Work
from aicmo_dagster.domain.figures import Figures
from aicmo_dagster.domain.nurture.ramp import Record
from aicmo_dagster.stages.operating.figures import (
    WINDOW_DAYS,
    Records,
    campaign_figures,
    overall_figures,
)
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.troubles import records_of

router = APIRouter(tags=["figures"])

JSON = "application/json"
LONGEST_DAYS = 366

Answers = Annotated[Kept, Depends(kept)]
Days = Annotated[
    int, Query(ge=1, le=LONGEST_DAYS, description="How many days back are told by day.")
]


def records(answers: Kept, work: Workspace) -> Records:
    """What tells of senders' last days, each kept apart: many campaigns may share one."""

    def of(senders: Sequence[str], now: datetime) -> dict[str, Record]:
        return {
            sender: answers.answer(("sender", sender), partial(_record, work, sender, now))
            for sender in senders
        }

    return of


def _record(work: Workspace, sender: str, now: datetime) -> Record:
    # In a transaction of its own: it may be made when whoever asked has gone.
    with work.database.read() as connection:
        return records_of(connection, [sender], now)[sender]


_UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "Nothing has changed since the entity tag of `If-None-Match`."}
}


@router.get(
    "/campaigns/{key}/dashboard",
    response_model=Figures,
    responses=_UNCHANGED | answers(404),
)
def of_campaign(
    key: str,
    _: Viewer,
    work: Work,
    now: Now,
    answers: Answers,
    request: Request,
    days: Days = WINDOW_DAYS,
) -> Response:
    """The figures of one campaign, a second old at most where it is small."""
    found: Body = answers.answer(
        ("json", key, days),
        lambda: body(
            campaign_figures(work, key, now, records(answers, work), days)
            .model_dump_json()
            .encode()
        ),
    )
    return found.response(request, JSON)


@router.get("/stats", response_model=Figures, responses=_UNCHANGED)
def overall(
    principal: Viewer,
    work: Work,
    now: Now,
    answers: Answers,
    request: Request,
    days: Days = WINDOW_DAYS,
) -> Response:
    """The figures of all campaigns within the token's limit together."""
    scope = principal.campaigns
    found: Body = answers.answer(
        ("json", scope, None, days),
        lambda: body(
            overall_figures(work, scope, now, records(answers, work), days)
            .model_dump_json()
            .encode()
        ),
    )
    return found.response(request, JSON)
