"""Endpoints of leads handed to sales: listing them, taking one up, delivering one again."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from aicmo_dagster.api.access import Operator, Principal, Viewer
from aicmo_dagster.api.leads import LeadId
from aicmo_dagster.api.once import Attempt, Once, answered
from aicmo_dagster.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, decode_cursor, page_of
from aicmo_dagster.api.problems import answers
from aicmo_dagster.api.service import Now, Work
from aicmo_dagster.errors import NotFound
from aicmo_dagster.stages.operating import by_hand
from aicmo_dagster.store import handoffs

router = APIRouter(prefix="/campaigns/{key}/handoffs", tags=["handoffs"], responses=answers(404))

State = Literal["due", "delivered", "dead"]


class HandoffLine(BaseModel):
    """A lead handed to sales."""

    lead_id: str
    destination: str
    state: State
    reason: str
    created_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    error: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None


@router.get("")
def list_(
    key: str,
    _: Viewer,
    work: Work,
    state: Annotated[State | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Page[HandoffLine]:
    """The campaign's handoffs by lead; those that are dead were given up after days of trying."""
    work.campaign(key)
    name = f"handoffs of {key}, {state}"
    (after,) = decode_cursor(name, cursor, str) or (None,)
    with work.database.read() as connection:
        rows = handoffs.page_of_handoffs(connection, key, limit + 1, state, after)
    return page_of(name, rows, limit, lambda row: [row["lead_id"]], lambda row: HandoffLine(**row))


@router.post("/{lead}/acknowledge", response_model=HandoffLine)
def acknowledge(key: str, lead: LeadId, principal: Operator, now: Now, once: Once) -> Response:
    """The lead was taken up: nobody is reminded of it. The first to say so is kept."""

    def act(connection: sa.Connection) -> None:
        who = principal.who
        by_hand.acknowledge(connection, key, lead, by=who, who=who, now=now)

    return _changed(key, lead, act, principal, once)


@router.post("/{lead}/resend", response_model=HandoffLine)
def resend(key: str, lead: LeadId, principal: Operator, now: Now, once: Once) -> Response:
    """The handoff is delivered again, under the same key."""

    def act(connection: sa.Connection) -> None:
        by_hand.resend(connection, key, lead, who=principal.who, now=now)

    return _changed(key, lead, act, principal, once)


def _changed(
    key: str,
    lead: str,
    act: Callable[[sa.Connection], None],
    principal: Principal,
    once: Attempt,
) -> Response:
    """`act` is done; the answer is the handoff after it."""

    def work(connection: sa.Connection) -> JSONResponse:
        act(connection)
        return answered(_line(connection, key, lead))

    return once.write(principal, work)


def _line(connection: sa.Connection, key: str, lead: str) -> HandoffLine:
    row = handoffs.handoff_of_lead(connection, key, lead)
    if row is None:
        raise NotFound(f"campaign {key!r} handed over no such lead")
    return HandoffLine(**row)
