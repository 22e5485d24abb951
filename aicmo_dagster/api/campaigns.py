"""Endpoints of campaigns: listing, reading, applying, archiving. Not here: runs of them."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from aicmo_dagster.api.access import Viewer
from aicmo_dagster.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, decode_cursor, page_of
from aicmo_dagster.api.problems import answers
from aicmo_dagster.api.service import Work
from aicmo_dagster.store.campaigns import StoredCampaign, list_campaigns

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
    document: dict[str, Any] = Field(description="The campaign document, without its defaults.")


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
        document=stored.campaign.model_dump(mode="json", by_alias=True, exclude_unset=True),
    )
