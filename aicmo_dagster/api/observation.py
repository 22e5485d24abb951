"""Every request is given an id, measured, and told of in the log.

Not here: how the log is written (`logs`), or who scrapes the measures (`metrics`).
"""

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from aicmo_dagster.api.metrics import REQUEST_SECONDS
from aicmo_dagster.api.service import BASE

REQUEST_ID = "X-Request-ID"
UNMATCHED = "unmatched"
"""The route of requests that no endpoint takes."""

_OURS = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SUBJECT = re.compile(r"/(campaigns|runs)/([a-z0-9-]{1,64})(?=[/:]|$)")
_RECIPIENTS = ("/t/", "/u/")
"""What recipients call: often, and nothing that an operator asks after."""

_log = logging.getLogger("aicmo_dagster.api.access")


class Observed:
    """Middleware that gives ids, measures and logs; the innermost exception goes on outwards."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _OURS.fullmatch(given) else secrets.token_hex(8)
        begun, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        with bound_contextvars(request_id=request_id, **_subject(scope["path"])):
            try:
                await self._app(scope, receive, answer)
            finally:
                _observe(scope, status, time.perf_counter() - begun)


def _subject(path: str) -> dict[str, str]:
    """The campaign or run that a path names."""
    found = _SUBJECT.search(path)
    return {found[1].removesuffix("s"): found[2]} if found else {}


def _observe(scope: Scope, status: int, seconds: float) -> None:
    # The template, never the path: that may hold a recipient's token.
    route = getattr(scope.get("route"), "path", UNMATCHED)
    method = scope["method"] if route != UNMATCHED else "any"
    if route != UNMATCHED and scope["path"].startswith(BASE):
        route = BASE + route  # an included router does not tell what it was included under
    REQUEST_SECONDS.labels(method, route, str(status)).observe(seconds)
    if status >= 500 or not route.startswith(_RECIPIENTS):
        told = {"method": method, "route": route, "status": status, "seconds": round(seconds, 6)}
        _log.log(logging.ERROR if status >= 500 else logging.INFO, "request", extra=told)
