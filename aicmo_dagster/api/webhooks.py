"""Endpoints of webhooks: who is told of which events, and what could not be delivered.

Not here: what is told (`store.webhooks`), or delivering it (`operating.webhooks`).
"""

import re
import secrets
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from aicmo_dagster.api.access import Admin, Principal
from aicmo_dagster.api.once import KEPT_HEADERS, REPLAYED, Once, answered
from aicmo_dagster.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, decode_cursor, page_of
from aicmo_dagster.api.problems import Fault, Refusal, answers
from aicmo_dagster.api.service import BASE, Now, Work
from aicmo_dagster.domain.tokens import subscription_secret
from aicmo_dagster.handoff.connections import is_private_host
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import webhooks
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.webhooks import ACTIVE, Event, Webhook

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


WebhookId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$", examples=["wh_8c1f0b52d1e94b7f"])]
DeliveryKey = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]


def _is_web_address(url: str) -> str:
    parts = urlsplit(url)
    visible = re.fullmatch(r"[!-~]+", url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not visible:
        raise ValueError("an http or https URL")
    if parts.username or parts.password:
        raise ValueError("a URL without a user and a password")
    return url


class WebhookWanted(BaseModel):
    """Who is to be told of what."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, AfterValidator(_is_web_address)] = Field(
        max_length=2_000, examples=["https://crm.acme.example/hooks/aicmo"]
    )
    events: list[Event] = Field(min_length=1, max_length=20)
    campaigns: list[str] | None = Field(
        None, max_length=1_000, description="Only of these campaigns; of all unless given."
    )
    state: Literal["active", "disabled"] = Field(
        "active", description="While it is disabled, nothing is added or delivered."
    )


class WebhookDetail(BaseModel):
    """Who is told of what."""

    id: str = Field(examples=["wh_8c1f0b52d1e94b7f"])
    url: str
    events: list[str]
    campaigns: list[str] | None
    state: str = Field(examples=["active", "disabled"])
    reason: str = Field(description="Why AICMO disabled it; empty otherwise.")
    created_by: str
    created_at: datetime
    updated_at: datetime


class WebhookList(BaseModel):
    """The webhooks; there are few, so they come in one page."""

    items: list[WebhookDetail]


class WebhookCreated(WebhookDetail):
    """A new webhook, with what its events are signed with (Standard Webhooks)."""

    secret: str = Field(examples=["whsec_..."])


class WebhookSecret(BaseModel):
    """What the events to a webhook are signed with."""

    secret: str = Field(examples=["whsec_..."])


class DeliveryLine(BaseModel):
    """An event to a webhook and what became of it."""

    key: str = Field(description="The `webhook-id` that it is sent under, at every attempt.")
    event: str
    campaign: str | None
    state: str = Field(examples=["due", "delivered", "dead"])
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    error: str | None


@router.get("")
def list_(principal: Admin, work: Work) -> WebhookList:
    """All webhooks within the token's limit, the oldest first."""
    with work.database.read() as connection:
        found = webhooks.list_webhooks(connection)
    return WebhookList(items=[_detail(hook) for hook in found if _reaches(principal, hook)])


@router.post("", status_code=201, response_model=WebhookCreated)
def create(
    wanted: WebhookWanted, principal: Admin, work: Work, now: Now, once: Once
) -> JSONResponse:
    """Events are posted to the URL from now on, signed with the secret of the answer."""
    _require_within(principal, wanted)
    _require_public(wanted, work)
    hook = Webhook(
        id=f"wh_{secrets.token_hex(8)}",
        url=wanted.url,
        events=tuple(dict.fromkeys(wanted.events)),
        campaigns=None if wanted.campaigns is None else tuple(wanted.campaigns),
        state=wanted.state,
        reason="",
        created_by=principal.who,
        created_at=now,
        updated_at=now,
    )

    def add(connection: sa.Connection) -> JSONResponse:
        webhooks.add_webhook(connection, hook)
        after = _facts(hook)
        record_change(
            connection, principal.who, "webhook.create", now, subject=hook.id, after=after
        )
        return answered(_detail(hook), 201, {"Location": f"{BASE}/webhooks/{hook.id}"})

    return _with_secret(once.write(principal, add), work)


def _with_secret(kept: Response, work: Workspace) -> JSONResponse:
    """The answer with the webhook's secret, which is not kept with it."""
    told = WebhookDetail.model_validate_json(bytes(kept.body))
    secret = subscription_secret(work.settings.secret_key(), told.id)
    headers = {n: kept.headers[n] for n in (*KEPT_HEADERS, REPLAYED) if n in kept.headers}
    return answered(WebhookCreated(**told.model_dump(), secret=secret), kept.status_code, headers)


@router.get("/{id}", responses=answers(404))
def read(id: WebhookId, principal: Admin, work: Work) -> WebhookDetail:
    """One webhook."""
    return _detail(_known(id, principal, work))


@router.get("/{id}/secret", responses=answers(404))
def read_secret(id: WebhookId, principal: Admin, work: Work) -> WebhookSecret:
    """What the receiver verifies events with."""
    hook = _known(id, principal, work)
    return WebhookSecret(secret=subscription_secret(work.settings.secret_key(), hook.id))


@router.put("/{id}", responses=answers(404))
def change(
    id: WebhookId, wanted: WebhookWanted, principal: Admin, work: Work, now: Now
) -> WebhookDetail:
    """The webhook is as the request says; what is due waits while it is disabled."""
    _require_within(principal, wanted)
    before = _known(id, principal, work)
    if wanted.state == ACTIVE or wanted.url != before.url:
        _require_public(wanted, work)
    after = replace(
        before,
        url=wanted.url,
        events=tuple(dict.fromkeys(wanted.events)),
        campaigns=None if wanted.campaigns is None else tuple(wanted.campaigns),
        state=wanted.state,
        reason="" if wanted.state == ACTIVE else before.reason,
        updated_at=now,
    )
    with work.database.write() as connection:
        webhooks.change_webhook(connection, after)
        record_change(
            connection,
            principal.who,
            "webhook.change",
            now,
            subject=id,
            before=_facts(before),
            after=_facts(after),
        )
    return _detail(after)


@router.delete("/{id}", status_code=204, responses=answers(404))
def remove(id: WebhookId, principal: Admin, work: Work, now: Now) -> None:
    """Nobody is told there any more, and what was due is forgotten."""
    hook = _known(id, principal, work)
    with work.database.write() as connection:
        webhooks.remove_webhook(connection, id)
        before = _facts(hook)
        record_change(connection, principal.who, "webhook.delete", now, subject=id, before=before)


@router.get("/{id}/deliveries", responses=answers(404))
def list_deliveries(
    id: WebhookId,
    principal: Admin,
    work: Work,
    state: Annotated[
        Literal["due", "delivered", "dead"] | None, Query(description="Only those in it.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Page[DeliveryLine]:
    """What was to be delivered there within the last month, and what was given up."""
    _known(id, principal, work)
    name = f"deliveries to {id}, state={state}"
    (after,) = decode_cursor(name, cursor, str) or ("",)
    with work.database.read() as connection:
        rows = webhooks.list_deliveries(connection, id, state, after, limit + 1)
    return page_of(name, rows, limit, lambda row: [row["key"]], DeliveryLine.model_validate)


@router.post("/{id}/deliveries/{delivery}/resend", status_code=202, responses=answers(404))
def resend(
    id: WebhookId, delivery: DeliveryKey, principal: Admin, work: Work, now: Now, once: Once
) -> Response:
    """It is due again at once, under the same id and with all its attempts."""
    _known(id, principal, work)

    def act(connection: sa.Connection) -> JSONResponse:
        if not webhooks.resend(connection, id, delivery, now):
            raise Refusal(404, "there is no such delivery")
        record_change(connection, principal.who, "webhook.resend", now, subject=delivery)
        return JSONResponse(None, 202)

    return once.write(principal, act)


def _known(id: str, principal: Principal, work: Workspace) -> Webhook:
    with work.database.read() as connection:
        hook = webhooks.find_webhook(connection, id)
    if hook is None or not _reaches(principal, hook):
        raise Refusal(404, "there is no such webhook")
    return hook


def _reaches(principal: Principal, hook: Webhook) -> bool:
    """Whether all that the webhook tells is within the principal's limit."""
    if hook.campaigns is None:
        return principal.campaigns is None
    return all(principal.reaches(campaign) for campaign in hook.campaigns)


def _require_within(principal: Principal, wanted: WebhookWanted) -> None:
    if wanted.campaigns is None:
        principal.require_all_campaigns()
    for campaign in wanted.campaigns or ():
        principal.require_campaign(campaign)


def _require_public(wanted: WebhookWanted, work: Workspace) -> None:
    """The URL names no address that nothing would be delivered to."""
    host = urlsplit(wanted.url).hostname or ""
    if is_private_host(host) and not work.settings.allow_private_urls:
        expected = "expected a host on the public internet and not a private address"
        detail = f"{expected}, unless AICMO_ALLOW_PRIVATE_URLS is 1"
        fault = Fault(pointer="body.url", detail=detail)
        raise Refusal(422, "the URL leads to a private address", errors=[fault])


def _detail(hook: Webhook) -> WebhookDetail:
    return WebhookDetail.model_validate(hook, from_attributes=True)


def _facts(hook: Webhook) -> dict[str, object]:
    """What the audit keeps; the URL's host alone, since the rest may be a secret."""
    listed = None if hook.campaigns is None else list(hook.campaigns)
    host = urlsplit(hook.url).hostname
    return {"host": host, "events": list(hook.events), "campaigns": listed, "state": hook.state}
