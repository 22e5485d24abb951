"""Endpoints of figures: one campaign's, and those of all within a token's limit, as JSON.

Not here: the figures (`domain.figures`), or their pages (`dashboard`).
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from aicmo_dagster.api.access import Viewer
from aicmo_dagster.api.kept import Kept, kept
from aicmo_dagster.api.problems import answers
from aicmo_dagster.api.service import Now, Work
from aicmo_dagster.domain.figures import Figures
from aicmo_dagster.stages.figures import WINDOW_DAYS, campaign_figures, overall_figures

router = APIRouter(tags=["figures"])

JSON = "application/json"
LONGEST_DAYS = 366

Answers = Annotated[Kept, Depends(kept)]
Days = Annotated[
    int, Query(ge=1, le=LONGEST_DAYS, description="How many days back are told by day.")
]

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
    found = answers.answer(
        ("json", key, days),
        lambda: campaign_figures(work, key, now, days).model_dump_json().encode(),
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
    found = answers.answer(
        ("json", scope, None, days),
        lambda: overall_figures(work, scope, now, days).model_dump_json().encode(),
    )
    return found.response(request, JSON)
