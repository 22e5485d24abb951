"""Opens, clicks and unsubscribing: the endpoints that messages point to, open to everyone.

No token, header or body makes any of them fail. Not here: keeping what happened (`recorder`), the
pages' text (`pages`), or judging who it was (`domain.nurture.engagement`).
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from python_multipart.exceptions import FormParserError
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute

from aicmo_dagster.api import pages
from aicmo_dagster.api.recorder import Recorder
from aicmo_dagster.api.shortcut import Answer
from aicmo_dagster.api.targets import Targets, Unavailable
from aicmo_dagster.domain.clients import address, agent
from aicmo_dagster.domain.links import (
    Place,
    read_click_token,
    read_open_token,
    read_unsubscribe_token,
)
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.engaging.record import UNSUBSCRIBE, Scope, unsubscribe
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.events import CLICK, LOOK, OPEN
from aicmo_dagster.store.spool import Record

HTML = "text/html"
LARGEST_FORM = 16_384
PATIENCE_SECONDS = 3.0
"""How long an objection waits for the database before it is kept on disk instead."""

PIXEL_PATH, CLICK_PATH = "/t/o/{token}", "/t/c/{token}"

_PREFETCHES = (b"purpose", b"sec-purpose", b"x-purpose", b"x-moz")
_PIXEL_HEADERS = {"Cache-Control": "no-cache, no-store, max-age=0, must-revalidate, private"}
_REDIRECT_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}

Token = Annotated[str, Path(description="Made by AICMO, signed with the installation's key.")]


@dataclass
class PublicService:
    """What the endpoints work with."""

    workspace: Workspace
    recorder: Recorder
    targets: Targets
    key: bytes = field(repr=False)
    objecting: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(4, thread_name_prefix="unsubscribe")
    )

    def often(self, router: APIRouter) -> dict[str, tuple[BaseRoute, Answer]]:
        """What `Shortcut` answers: opens and clicks, as routes of `router`."""
        routes = {route.path: route for route in router.routes if isinstance(route, APIRoute)}
        answers = {PIXEL_PATH: self.opened, CLICK_PATH: self.clicked}
        return {path.removesuffix("{token}"): (routes[path], at) for path, at in answers.items()}

    def router(self) -> APIRouter:
        """The endpoints."""
        router = APIRouter(tags=["public"], default_response_class=Response)
        pixel, click, page = PIXEL_PATH, CLICK_PATH, "/u/{token}"
        add = router.add_api_route
        for path, answer in ((pixel, self.opened), (click, self.clicked), (page, self.asked)):
            add(path, answer, methods=["HEAD"], include_in_schema=False)
        read = ["GET"]
        add(pixel, self.opened, methods=read, responses=_answers("image/gif", 200))
        add(click, self.clicked, methods=read, status_code=302, responses=_answers(HTML, 404, 503))
        add(page, self.asked, methods=read, responses=_answers(HTML, 200, 404))
        add(page, self.objected, methods=["POST"], responses=_answers(HTML, 200, 404, 503))
        return router

    async def opened(self, request: Request, token: Token) -> Response:
        """An image, whatever the token: a proxy keeps a failure for long."""
        place = read_open_token(self.key, token)
        if place:
            await self.recorder.keep(_event(request, OPEN, place))
        return Response(pages.PIXEL, media_type="image/gif", headers=_PIXEL_HEADERS)

    async def clicked(self, request: Request, token: Token) -> Response:
        """To where the link leads; the URL is never taken from the request."""
        place = read_click_token(self.key, token)
        if place is None:
            return _page(pages.unknown(), 404)
        kept = self.recorder.keep(_event(request, CLICK, place))
        try:
            url = await self.targets.find(place.campaign, str(place.link))
        except Unavailable:
            return _page(pages.later(), 503)
        finally:
            await kept
        if url is None:
            return _page(pages.unknown(), 404)
        return RedirectResponse(url, 302, headers=_REDIRECT_HEADERS)

    async def asked(self, request: Request, token: Token) -> Response:
        """The page with the button; looking at it unsubscribes nobody, since scanners look too."""
        place = read_unsubscribe_token(self.key, token)
        if place is None:
            return _page(pages.unknown(), 404)
        await self.recorder.keep(_event(request, LOOK, place))
        return _page(pages.ask(token), 200)

    async def objected(self, request: Request, token: Token) -> Response:
        """Unsubscribed, by the page or by one click (RFC 8058); again is fine."""
        place = read_unsubscribe_token(self.key, token)
        if place is None:
            return _page(pages.unknown(), 404)
        scope = await _scope(request)
        event = _event(request, UNSUBSCRIBE, place) | {"scope": scope}
        if await self._object(place, scope) or await self.recorder.keep(event):
            return _page(pages.done(scope == "everything"), 200)
        return _page(pages.later(), 503)

    async def _object(self, place: Place, scope: Scope) -> bool:
        """Whether the objection is in the database."""
        loop = asyncio.get_running_loop()
        acting = loop.run_in_executor(self.objecting, self._unsubscribe, place, scope)
        try:
            await asyncio.wait_for(acting, PATIENCE_SECONDS)
        except (TimeoutError, sa.exc.SQLAlchemyError, AicmoError):
            return False
        return True

    def _unsubscribe(self, place: Place, scope: Scope) -> None:
        with self.workspace.database.write(durable=True) as connection:
            unsubscribe(
                connection,
                self.key,
                place.campaign,
                place.lead_id,
                scope=scope,
                now=datetime.now(UTC),
            )


def _answers(kind: str, *statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"content": {kind: {}}} for status in statuses}


def _event(request: Request, kind: str, place: Place) -> Record:
    headers: dict[bytes, bytes] = dict(request.scope["headers"])
    early = any(headers.get(name, b"").lower().startswith(b"pre") for name in _PREFETCHES)
    return {
        "campaign": place.campaign,
        "lead_id": place.lead_id,
        "step": place.step,
        "link": place.link,
        "kind": kind,
        "happened_at": datetime.now(UTC).isoformat(),
        "key": f"{kind}:{secrets.token_hex(12)}",
        "method": "PREFETCH" if early else request.method,
        "agent": agent(headers.get(b"user-agent", b"").decode("latin-1")),
        "client": address(request.client.host if request.client else None),
    }


async def _scope(request: Request) -> Scope:
    """What the form asks for; without a form, or with one that cannot be read, everything."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            form = await MultiPartParser(
                request.headers, _beginning(request), max_files=0, max_fields=10
            ).parse()
        elif kind == "application/x-www-form-urlencoded":
            form = await FormParser(request.headers, _beginning(request)).parse()
        else:
            return "everything"
    except (MultiPartException, FormParserError, ClientDisconnect, KeyError, ValueError):
        return "everything"
    return "campaign" if form.get("scope") == "campaign" else "everything"


async def _beginning(request: Request) -> AsyncGenerator[bytes, None]:
    """The body as far as a form of ours may go."""
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read > LARGEST_FORM:
            return
        yield chunk


def _page(html: str, status: int) -> HTMLResponse:
    return HTMLResponse(html, status, headers=pages.HEADERS)
