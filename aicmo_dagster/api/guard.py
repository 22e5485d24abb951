"""What surrounds every request: its headers, the bound on its body, errors that nobody expected.

Not here: errors that were expected (`problems`), or who is asking (`access`).
"""

import logging
import traceback

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aicmo_dagster.api.problems import Refusal
from aicmo_dagster.api.service import BASE

LARGEST_BODY = 1 << 20
LARGEST_IMPORT = 1 << 28
"""Bytes; the router counts what comes without a declared length."""

IMPORT = "/leads:import"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_log = logging.getLogger(__name__)


class Guard:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer of the application, or a problem document where it has none."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Others add to it: a dependency has no answer yet whose headers it could set.
        told: dict[str, str] = scope.setdefault("state", {}).setdefault("headers", {})
        if scope["path"].startswith(BASE):
            told |= _HEADERS
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(told)
            await send(message)

        try:
            if too_large(scope):
                await Refusal(413, "the body is too large").response()(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
        except Exception as error:  # the boundary to a client, who is to see nothing of it
            if started:
                raise
            _tell(error)
            await Refusal(500, _OUR_FAULT).response()(scope, receive, answer)


_OUR_FAULT = "an error of AICMO's own; its log tells more"


def too_large(scope: Scope) -> bool:
    """Whether the declared length of a body is beyond what the path takes."""
    path = scope["path"]
    length = Headers(scope=scope).get("content-length", "")
    if not path.startswith(BASE) or not length.isdigit():
        return False
    return int(length) > (LARGEST_IMPORT if path.endswith(IMPORT) else LARGEST_BODY)


def _tell(error: Exception) -> None:
    """Where it happened goes to the log; what the error says may be personal data."""
    places = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s\n%s", type(error).__name__, places)
