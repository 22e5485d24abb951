"""What is answered past the framework, and what is not."""

import asyncio
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from aicmo_dagster.api.app import create_app
from aicmo_dagster.api.shortcut import Shortcut
from aicmo_dagster.domain.links import click_token, open_token
from aicmo_dagster.settings import Settings
from aicmo_dagster_tests.samples import SECRET

PLACE = ("spring", "lead", "intro")
OPENED, CLICKED = open_token(SECRET, *PLACE), click_token(SECRET, *PLACE, "link")
PATHS = [
    *(f"/t/o/{OPENED}", f"/t/o/{OPENED}/", "/t/o/", "/t/o", "/t/o/x?y=1", "/t//o/x", "/t/o/a%00b"),
    *(f"/t/c/{CLICKED}", f"/t/c/{CLICKED}/", "/t/c/x", "/t/c//x", "/t/c/%2F", f"/t/c/{'x' * 9000}"),
]
HEADERS = {"Origin": "https://a.example", "X-Request-ID": "same", "X-Forwarded-For": "192.0.2.1"}

Answers = list[tuple[int, list[tuple[str, str]], bytes]]


async def framework(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("framework")(scope, receive, send)


async def answer(request: Request, rest: str) -> Response:
    return PlainTextResponse(f"{request.method} {rest}")


def asked(method: str, path: str) -> tuple[str, Any]:
    """The body of the answer, and the route that the scope has then."""
    scope: Scope = {"type": "http", "method": method, "path": path, "headers": []}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("no body is read")

    app = Shortcut(framework, {"/t/o/": ("opens", answer), "/t/c/": ("clicks", answer)})
    asyncio.run(app(scope, receive, send))
    return b"".join(each.get("body", b"") for each in sent).decode(), scope.get("route")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_opens_and_clicks_are_answered_at_once_and_known_by_their_route(method: str) -> None:
    assert asked(method, "/t/o/abc.d") == (f"{method} abc.d", "opens")
    assert asked(method, "/t/c/abc.d") == (f"{method} abc.d", "clicks")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/t/c/a"), ("GET", "/t/c/"), ("GET", "/t/c/a/b"), ("GET", "/t/x/a"), ("GET", "/")],
)
def test_all_else_is_the_framework_s(method: str, path: str) -> None:
    assert asked(method, path) == ("framework", None)


async def answers(settings: Settings, *, cut: bool) -> Answers:
    """What each method is answered at each path."""
    app = create_app(settings)
    if not cut:
        app.user_middleware = [each for each in app.user_middleware if each.cls is not Shortcut]
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://aicmo", headers=HEADERS) as client,
    ):
        asked = product(("GET", "HEAD", "POST", "OPTIONS"), PATHS)
        given = [await client.request(method, path, content=b"body") for method, path in asked]
    return [(each.status_code, sorted(each.headers.items()), each.content) for each in given]


def test_the_answers_are_those_that_the_framework_gives(
    tmp_path: Path, new_sqlite: Callable[[], str]
) -> None:
    settings = Settings(
        home=tmp_path,
        database_url=new_sqlite(),
        dagster_home=tmp_path,
        configured_secret_key=SECRET.decode(),
        api_origins="https://a.example",
        trusted_proxies="127.0.0.1",
    )
    short = asyncio.run(answers(settings, cut=True))
    assert short == asyncio.run(answers(settings, cut=False))
    assert {status for status, _, _ in short} == {200, 307, 404, 405}
