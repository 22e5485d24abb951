"""The endpoint that tells who changed what. Not here: putting changes on record (`store.audit`)."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from aicmo_dagster.api.access import Admin
from aicmo_dagster.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, decode_cursor, page_of
from aicmo_dagster.api.service import Work
from aicmo_dagster.store.audit import list_changes

router = APIRouter(tags=["access"])


class AuditLine(BaseModel):
    """One change."""

    id: int
    at: datetime
    who: str = Field(examples=["token:3f0a9c2d7b1e", "cli:ida"])
    action: str = Field(examples=["campaign.apply"])
    campaign: str | None
    subject: str | None = Field(description="The id of what it is about, unless of the campaign.")
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@router.get("/audit")
def list_(
    principal: Admin,
    work: Work,
    campaign: Annotated[str | None, Query(pattern=r"^[a-z0-9-]{1,64}$")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Page[AuditLine]:
    """Every change made through the API, the latest first, within the token's campaigns."""
    name = f"audit of {campaign}"
    (before,) = decode_cursor(name, cursor, int) or (None,)
    with work.database.read() as connection:
        rows = list_changes(
            connection,
            limit + 1,
            before_id=before,
            campaign=campaign,
            campaigns=principal.campaigns,
        )
    return page_of(
        name,
        rows,
        limit,
        lambda row: [row.id],
        lambda row: AuditLine.model_validate(row, from_attributes=True),
    )
