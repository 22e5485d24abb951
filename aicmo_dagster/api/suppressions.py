"""Endpoints of people who get no mail: suppressions and erasure.

An address comes in a body, never in a URL, and goes out as its keyed hash alone.
"""

from datetime import datetime
from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from aicmo_dagster.api.access import Admin, Operator
from aicmo_dagster.api.leads import Reason
from aicmo_dagster.api.once import Once, answered
from aicmo_dagster.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, decode_cursor, page_of
from aicmo_dagster.api.problems import Fault, Refusal, answers
from aicmo_dagster.api.service import Now, Work
from aicmo_dagster.domain.tokens import suppression_key, valid_address
from aicmo_dagster.stages.leads.erase import erase
from aicmo_dagster.stages.operating import by_hand
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.suppressions import (
    ERASED,
    list_suppressions,
    withdraw_suppression,
)

router = APIRouter(tags=["suppressions"])

_LIST = "suppressions"

Kind = Literal["address", "domain"]
Hash = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The keyed hash.")]


class SuppressionLine(BaseModel):
    """An address or a domain that gets no mail."""

    kind: Kind
    key: str = Field(description="Its keyed hash; which address it is of, nobody can tell.")
    reason: str
    decided_by: str
    since: datetime


class Suppress(BaseModel):
    """Whom never to write to again."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(
        max_length=320, description="An address or a domain.", examples=["rival.example"]
    )
    reason: Reason = "by hand"


class SuppressedNow(BaseModel):
    """What is suppressed now."""

    kind: Kind
    key: str
    new: bool = Field(description="False if it was suppressed already.")


class Erase(BaseModel):
    """Who is to be forgotten."""

    model_config = ConfigDict(extra="forbid")

    address: str = Field(max_length=320, examples=["ada@acme.example"])


class Erased(BaseModel):
    """What was removed."""

    campaigns: int = Field(description="In how many campaigns the person was a lead.")
    removed: dict[str, int] = Field(description="Rows by table, files and lines by place.")
    handed_to: list[str] = Field(description="Where erasure must be asked for.")


@router.get("/suppressions")
def list_(
    principal: Operator, work: Work, cursor: Cursor = None, limit: Limit = DEFAULT_PAGE
) -> Page[SuppressionLine]:
    """Whom nobody writes to, in any campaign."""
    principal.require_all_campaigns()
    place = decode_cursor(_LIST, cursor, str, str)
    with work.database.read() as connection:
        rows = list_suppressions(connection, limit + 1, (place[0], place[1]) if place else None)
    return page_of(
        _LIST,
        rows,
        limit,
        lambda row: [row.kind, row.key],
        lambda row: SuppressionLine.model_validate(row, from_attributes=True),
    )


@router.post("/suppressions", response_model=SuppressedNow)
def add(asked: Suppress, principal: Operator, work: Work, now: Now, once: Once) -> Response:
    """The address, or the whole domain, gets no more mail in any campaign."""
    principal.require_all_campaigns()
    if asked.reason == ERASED:
        fault = Fault(pointer="reason", detail=f"{ERASED!r} is said of erased people alone")
        raise Refusal(422, "what was sent is not in order", errors=[fault])
    kind, key = suppression_key(work.settings.secret_key(), asked.target, "target")

    def act(connection: sa.Connection) -> JSONResponse:
        who = principal.who
        new = by_hand.suppress(connection, kind, key, reason=asked.reason, by=who, who=who, now=now)
        return answered(SuppressedNow(kind=kind, key=key, new=new))

    return once.write(principal, act)


@router.delete("/suppressions/{kind}/{digest}", status_code=204, responses=answers(404, 409))
def withdraw(kind: Kind, digest: Hash, principal: Admin, work: Work, now: Now) -> None:
    """The address or domain may get mail again; not those whose person was erased."""
    principal.require_all_campaigns()
    with work.database.write() as connection:
        was = withdraw_suppression(connection, kind, digest)
        before = {"kind": was.kind, "since": was.since.isoformat()}
        who = principal.who
        record_change(connection, who, "suppression.withdraw", now, subject=digest, before=before)


@router.post("/erasures", response_model=Erased, responses=answers(409))
def forget(asked: Erase, principal: Admin, work: Work, now: Now, once: Once) -> Response:
    """The person is in nothing that AICMO keeps; only a keyed hash stays, to suppress them."""
    principal.require_all_campaigns()
    if not valid_address(asked.address):
        fault = Fault(pointer="address", detail="expected an e-mail address")
        raise Refusal(422, "what was sent is not in order", errors=[fault])

    def act() -> JSONResponse:
        done = erase(work, asked.address, principal.who, now, who=principal.who)
        return answered(
            Erased(campaigns=done.campaigns, removed=done.removed, handed_to=list(done.handed_to))
        )

    return once.answer(principal, act)
