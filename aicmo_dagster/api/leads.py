"""Endpoints of leads: listing, one lead's account and activity, what is decided by hand.

Leads are named by their ids, so that no address stands in a URL. Not here: import and export.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from aicmo_dagster.api.access import Operator, Viewer
from aicmo_dagster.api.once import Once, answered
from aicmo_dagster.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, decode_cursor, page_of
from aicmo_dagster.api.problems import Fault, Refusal, answers
from aicmo_dagster.api.service import Now, Work
from aicmo_dagster.stages.deciding.overriding import decide, require_action
from aicmo_dagster.stages.engaging.activity import activities
from aicmo_dagster.stages.leads.explain import explain_lead
from aicmo_dagster.store.lead_lists import Narrowed, lead_rows, list_leads
from aicmo_dagster.store.leads import find_lead

router = APIRouter(prefix="/campaigns/{key}", tags=["leads"], responses=answers(404))

LeadId = Annotated[
    str, Path(pattern=r"^[0-9a-f]{20}$", examples=["0d9f1c52a7b3e4860d9f"], description="Its id.")
]
_END = datetime(9999, 1, 1, tzinfo=UTC)
"""Later than this, an instant may be none in another time zone."""

Reason = Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"^[^\x00]*$")]


class LeadFilters(BaseModel):
    """What a list of leads may be narrowed by."""

    model_config = ConfigDict(extra="forbid")

    stage: (
        Literal["raw_leads", "scored_leads", "qualified_leads", "routed_leads", "nurture_sends"]
        | None
    ) = Field(default=None, description="Those that have come at least this far.")
    decision: Literal["qualified", "not_qualified"] | None = Field(
        default=None, description="Those whose latest decision at qualification is this."
    )
    band: Literal["A", "B", "C", "D"] | None = None
    min_score: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    max_score: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    sequence: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    cursor: Cursor = None
    limit: Limit = DEFAULT_PAGE

    def narrowed(self) -> Narrowed:
        """The same for the store."""
        return Narrowed(
            self.stage, self.decision, self.band, self.min_score, self.max_score, self.sequence
        )


class LeadLine(BaseModel):
    """A lead as lists show it."""

    lead_id: str
    email: str | None
    first_name: str | None
    last_name: str | None
    title: str | None
    company: str | None
    domain: str | None
    country: str | None
    source: str
    first_seen_at: datetime
    last_seen_at: datetime
    score: float | None = Field(description="None before it was scored.")
    band: str | None
    qualified: bool = Field(description="Whether it goes on; false before it was judged, too.")
    sequence: str | None = Field(description="None before it was routed.")


class LeadDetail(BaseModel):
    """A lead: its row at each stage that it has come to, and everything decided about it."""

    campaign: str
    lead_id: str
    stages: dict[str, dict[str, Any]]
    score: dict[str, Any] | None = Field(description="What makes the score up, in words.")
    entries: list[dict[str, Any]] = Field(description="What happened, oldest first, with reasons.")


class ActivityLine(BaseModel):
    """One thing that a lead did, or that was done with it at sales."""

    at: datetime
    stage: str
    outcome: str
    reason: str


class Activities(BaseModel):
    """Everything a lead did, oldest first."""

    items: list[ActivityLine]


class Override(BaseModel):
    """A decision by hand."""

    model_config = ConfigDict(extra="forbid")

    action: str = Field(
        max_length=100,
        description="qualify, reject, route:SEQUENCE, pause, resume, withdraw, or, for a part of "
        "it, withdraw:verdict, withdraw:route or withdraw:pace.",
        examples=["qualify"],
    )
    reason: Reason = Field(description="Why, for who asks later.", examples=["met her"])
    until: AwareDatetime | None = Field(default=None, description="When it ends; else never.")


class Overridden(BaseModel):
    """What holds from the next run on."""

    lead_id: str
    action: str
    until: datetime | None
    withdrawn: int | None = Field(description="How many were taken back, if that was asked.")


@router.get("/leads")
def list_(
    key: str, _: Viewer, work: Work, wanted: Annotated[LeadFilters, Query()]
) -> Page[LeadLine]:
    """The campaign's leads by id, with where each stands."""
    work.campaign(key)
    narrowed = wanted.narrowed()
    name = f"leads of {key}: {narrowed}"
    (after,) = decode_cursor(name, wanted.cursor, str) or (None,)
    with work.database.read() as connection:
        rows = list_leads(connection, key, narrowed, wanted.limit + 1, after)
    return page_of(
        name, rows, wanted.limit, lambda row: [row["lead_id"]], lambda row: LeadLine(**row)
    )


@router.get("/leads/{lead}")
def read(key: str, lead: LeadId, _: Viewer, work: Work, now: Now) -> LeadDetail:
    """Everything known and decided about a lead."""
    account = explain_lead(work, key, lead, now).as_document()
    with work.database.read() as connection:
        rows = lead_rows(connection, key, account["lead_id"])
    return LeadDetail(stages=rows, **account)


@router.get("/leads/{lead}/activity")
def activity(key: str, lead: LeadId, _: Viewer, work: Work) -> Activities:
    """What the lead did, with what it was judged to be, and what came of it at sales."""
    work.campaign(key)
    with work.database.read() as connection:
        found = activities(connection, key, find_lead(connection, key, lead))
    return Activities(items=[ActivityLine(**vars(each)) for each in found])


@router.post("/leads/{lead}/override", response_model=Overridden)
def override(
    key: str,
    lead: LeadId,
    asked: Override,
    principal: Operator,
    work: Work,
    now: Now,
    once: Once,
) -> Response:
    """The decision outlives every re-run, until it ends or is withdrawn."""
    require_action(work.campaign(key).campaign, asked.action, "action")
    if asked.until is not None and not now < asked.until < _END:
        fault = Fault(pointer="until", detail="expected an instant to come")
        raise Refusal(422, "what was sent is not in order", errors=[fault])

    def act(connection: sa.Connection) -> JSONResponse:
        lead_id = find_lead(connection, key, lead)
        who = principal.who
        told = (asked.action, asked.reason, who, now, asked.until)
        count = decide(connection, key, lead_id, *told, who=who)
        return answered(
            Overridden(lead_id=lead_id, action=asked.action, until=asked.until, withdrawn=count)
        )

    return once.write(principal, act)
