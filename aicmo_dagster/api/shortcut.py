"""Opens and clicks past the framework: they are most of the requests, and need none of it.

Not here: what is answered (`public`), or what surrounds every request (`guard`, `observation`).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Answer = Callable[[Request, str], Awaitable[Response]]


class Shortcut:
    """Middleware that answers ``GET`` and ``HEAD`` of some paths itself.

    Args:
        app: What answers all else.
        routes: The framework's routes that it stands in for, by their path's beginning, with what
            answers the rest of the path; all beginnings are equally long.
    """

    def __init__(self, app: ASGIApp, routes: Mapping[str, tuple[Any, Answer]]) -> None:
        self._app = app
        self._routes = routes
        (self._length,) = {len(beginning) for beginning in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            path = scope["path"]
            found, rest = self._routes.get(path[: self._length]), path[self._length :]
            if found and rest and "/" not in rest:
                scope["route"], answer = found
                response = await answer(Request(scope, receive), rest)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)
