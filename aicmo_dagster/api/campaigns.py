"""Endpoints of campaigns: listing, reading, applying, archiving. Not here: runs of them."""

from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Body, Header, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from aicmo_dagster.api.access import Operator, Principal, Viewer
from aicmo_dagster.api.once import Once, answered
from aicmo_dagster.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, decode_cursor, page_of
from aicmo_dagster.api.problems import Fault, Refusal, answers
from aicmo_dagster.api.service import BASE, Now, Work
from aicmo_dagster.domain.sections.sources import CsvSource
from aicmo_dagster.sources.campaign_files import check_sent_document
from aicmo_dagster.stages.operating import by_hand
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import (
    StoredCampaign,
    list_campaigns,
    lock_campaign,
)

router = APIRouter(prefix="/campaigns", tags=["campaigns"])

_LIST = "campaigns"


class CampaignLine(BaseModel):
    """A campaign as lists show it."""

    key: str = Field(examples=["nordic-revops"])
    name: str
    version: int = Field(description="The document's version in force.")
    state: str = Field(examples=["active", "archived"])
    updated_at: datetime


class CampaignDetail(BaseModel):
    """A campaign with its document."""

    key: str
    version: int
    state: str = Field(examples=["active", "archived"])
    applied_at: datetime
    document: dict[str, Any] = Field(description="The campaign document, with defaults.")


WHERE = "document"
_EXAMPLE = {
    "campaign": "nordic-revops",
    "name": "Nordic RevOps, autumn",
    "owner": "growth@acme.example",
    "sources": [],
    "routing": {"sequences": [{"sequence": "everyone"}]},
    "sequences": {
        "everyone": {"steps": [{"id": "intro", "subject": "Hello", "body": "Good day."}]}
    },
    "nurture": {
        "sender": {
            "name": "Ida Berg",
            "address": "ida@acme.example",
            "postal_address": "Kai 7, 5003 Bergen",
        }
    },
}

Document = Annotated[
    dict[str, Any],
    Body(
        description="A campaign document, as `aicmo campaign apply` takes it.",
        examples=[_EXAMPLE],
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1_000,
        description="The ETag that was read: 412 if the campaign changed since. "
        "Without it, the last one to write wins.",
    ),
]


@router.get("")
def list_(
    principal: Viewer, work: Work, cursor: Cursor = None, limit: Limit = DEFAULT_PAGE
) -> Page[CampaignLine]:
    """The campaigns within the token's limit, by key, archived ones too."""
    (after,) = decode_cursor(_LIST, cursor, str) or (None,)
    with work.database.read() as connection:
        rows = list_campaigns(connection, after=after, limit=limit + 1, among=principal.campaigns)
    return page_of(
        _LIST,
        rows,
        limit,
        lambda row: [row.key],
        lambda row: CampaignLine.model_validate(row, from_attributes=True),
    )


@router.get("/{key}", responses=answers(404))
def read(key: str, _: Viewer, work: Work, response: Response) -> CampaignDetail:
    """One campaign; its ETag is its version."""
    stored = work.campaign(key)
    response.headers["ETag"] = etag(stored)
    return detail(stored)


@router.post("", status_code=201, response_model=CampaignDetail, responses=answers(404, 409))
def add(document: Document, principal: Operator, work: Work, now: Now, once: Once) -> Response:
    """A new campaign; its bodies are texts, and its leads come by search or import."""
    key = check_sent_document(document, WHERE, {}, ())[0].campaign
    principal.require_campaign(key)

    def apply(connection: sa.Connection) -> JSONResponse:
        if lock_campaign(connection, key) is not None:
            raise Refusal(409, f"there is a campaign {key!r}; PUT changes it")
        stored = _applied(connection, work, document, None, principal, now)
        headers = {"ETag": etag(stored), "Location": f"{BASE}/campaigns/{key}"}
        return answered(detail(stored), 201, headers)

    return once.write(principal, apply)


@router.put("/{key}", response_model=CampaignDetail, responses=answers(404, 412))
def replace(
    key: str,
    document: Document,
    principal: Operator,
    work: Work,
    now: Now,
    once: Once,
    if_match: IfMatch = None,
) -> Response:
    """The campaign is active in just this form; a document that says the same changes nothing."""
    if document.get("campaign") != key:
        fault = Fault(pointer="campaign", detail=f"expected {key!r}, as in the path")
        raise Refusal(422, "the document is of another campaign", errors=[fault])

    def apply(connection: sa.Connection) -> JSONResponse:
        before = campaign_to_change(connection, key, if_match)
        stored = _applied(connection, work, document, before, principal, now)
        return answered(detail(stored), headers={"ETag": etag(stored)})

    return once.write(principal, apply)


@router.post("/{key}/archive", response_model=CampaignDetail, responses=answers(404, 412))
def archive(
    key: str, principal: Operator, now: Now, once: Once, if_match: IfMatch = None
) -> Response:
    """The campaign runs no more and keeps its history; PUT with its document brings it back."""

    def stop(connection: sa.Connection) -> JSONResponse:
        campaign_to_change(connection, key, if_match)
        stored = by_hand.archive(connection, key, who=principal.who, now=now)
        return answered(detail(stored), headers={"ETag": etag(stored)})

    return once.write(principal, stop)


def campaign_to_change(connection: sa.Connection, key: str, if_match: str | None) -> StoredCampaign:
    """The campaign as it is, which nobody else changes before the transaction ends.

    Raises:
        Refusal: 404, or 412 if it is not the one that was read.
    """
    stored = lock_campaign(connection, key)
    if stored is None:
        raise Refusal(404, f"there is no campaign {key!r}")
    wanted = [tag.strip() for tag in if_match.split(",")] if if_match is not None else ["*"]
    if "*" not in wanted and etag(stored) not in wanted:
        detail = f"the campaign changed since: it is at {etag(stored)} now"
        raise Refusal(412, detail, headers={"ETag": etag(stored)})
    return stored


def _applied(
    connection: sa.Connection,
    work: Workspace,
    document: dict[str, Any],
    before: StoredCampaign | None,
    principal: Principal,
    now: datetime,
) -> StoredCampaign:
    """The document is in force, and on record if that changed anything."""
    sources = before.campaign.sources if before else []
    paths = {source.path for source in sources if isinstance(source, CsvSource)}
    known = before.templates if before else {}
    campaign, templates = check_sent_document(document, WHERE, known, paths)
    folder = before.folder if before else work.settings.home
    who = principal.who
    return by_hand.apply(connection, campaign, templates, folder, who=who, now=now)[0]


def etag(stored: StoredCampaign) -> str:
    """The entity tag of the version in force and of whether it is."""
    return f'"{stored.version}-{stored.state}"'


def detail(stored: StoredCampaign) -> CampaignDetail:
    """A campaign as it is answered."""
    return CampaignDetail(
        key=stored.campaign.campaign,
        version=stored.version,
        state=stored.state,
        applied_at=stored.applied_at,
        document=stored.campaign.model_dump(mode="json", by_alias=True),
    )
