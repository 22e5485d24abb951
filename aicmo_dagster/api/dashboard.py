"""The dashboard's pages: all campaigns, one campaign, signing in and out.

Rendered here and kept for a moment; the browser asks again and changes what has changed. Not here:
who is signed in (`sessions`), what charts show (`charts`), or files (`files`).
"""

import re
from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

import jinja2
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from aicmo_dagster.api.charts import FUNNEL, HARM, charts
from aicmo_dagster.api.figures import Answers, records
from aicmo_dagster.api.files import PLOTLY_STYLE, address
from aicmo_dagster.api.kept import Body, body
from aicmo_dagster.api.service import Now, Service, Serving
from aicmo_dagster.api.sessions import (
    COOKIE,
    Session,
    form_of,
    is_from_here,
    session_of,
    set_cookie,
    sign_in,
)
from aicmo_dagster.domain.figures import Figures
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.errors import NotFound
from aicmo_dagster.stages.operating.figures import Records, campaign_figures, overall_figures
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import CampaignSummary, find_campaigns

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

HTML = "text/html; charset=utf-8"
MOST_LISTED = 50
_NOTHING = "\N{EN DASH}"
_OURS = re.compile(r"/dashboard(/[a-z0-9-]{1,64})?")

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self'; style-src 'self' '{PLOTLY_STYLE}'; "
        "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""What every page says to the browser: our own files only, no script or style within the page."""


@router.get("/dashboard")
def overview(
    request: Request, serving: Serving, now: Now, answers: Answers, find: str = ""
) -> Response:
    """All campaigns that the session may see, together, and a list of them."""
    session = session_of(request, serving, now)
    if session is None:
        return _to_login(request)
    scope, work = session.principal.campaigns, serving.workspace
    text = find[:64].replace("\x00", "")
    found: Body = answers.answer(
        ("page", scope, None, text),
        lambda: _overview(work, scope, now, text, records(answers, work)),
    )
    return _answered(request, found.response(request, HTML), serving, session, now)


@router.get("/dashboard/{key}")
def of_campaign(
    key: str, request: Request, serving: Serving, now: Now, answers: Answers
) -> Response:
    """One campaign."""
    session = session_of(request, serving, now)
    if session is None:
        return _to_login(request)
    work = serving.workspace
    try:
        if "\x00" in key or not session.principal.reaches(key):
            raise NotFound(key)
        found: Body = answers.answer(
            ("page", key), lambda: _campaign(work, key, now, records(answers, work))
        )
    except NotFound:
        return _page("missing.html", 404)
    return _answered(request, found.response(request, HTML), serving, session, now)


@router.get("/login")
def ask(request: Request) -> Response:
    """The page that asks for a token."""
    return _page("login.html", 200, next=_next(request.query_params.get("next", "")), failed=False)


@router.post("/login")
async def enter(request: Request, serving: Serving, now: Now) -> Response:
    """Signed in, if the token stands; then on to the page that was asked for."""
    form = await form_of(request.stream())
    onwards = _next(form.get("next", ""))
    session = None
    if is_from_here(request):
        session = await run_in_threadpool(sign_in, serving, form.get("token", "").strip(), now)
    if session is None:
        return _page("login.html", 401, next=onwards, failed=True)
    response = RedirectResponse(onwards, 303, headers={"Cache-Control": "no-store"})
    set_cookie(request, response, serving, session, now)
    return response


@router.post("/logout")
def leave(request: Request) -> Response:
    """Signed out."""
    if not is_from_here(request):
        return _page("login.html", 403, next="/dashboard", failed=False)
    response = RedirectResponse("/login", 303, headers={"Cache-Control": "no-store"})
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _answered(
    request: Request, response: Response, serving: Service, session: Session, now: datetime
) -> Response:
    response.headers.update(HEADERS)
    if session.is_to_renew(now):
        set_cookie(request, response, serving, session, now)
    return response


def _to_login(request: Request) -> Response:
    headers = {"Cache-Control": "no-store"}
    return RedirectResponse(f"/login?next={_next(request.url.path)}", 303, headers=headers)


def _next(path: str) -> str:
    """`path` if it is a page of ours: a link that signs in must lead nowhere else."""
    return path if _OURS.fullmatch(path) else "/dashboard"


def _overview(
    workspace: Workspace,
    scope: Collection[str] | None,
    now: datetime,
    find: str,
    senders: Records,
) -> Body:
    figures = overall_figures(workspace, scope, now, senders)
    with workspace.database.read() as connection:
        campaigns, number = find_campaigns(connection, find, scope, MOST_LISTED)
    return _dashboard(workspace, figures, None, campaigns=campaigns, number=number, find=find)


def _campaign(workspace: Workspace, key: str, now: datetime, senders: Records) -> Body:
    figures = campaign_figures(workspace, key, now, senders)
    with workspace.database.read() as connection:
        found, _ = find_campaigns(connection, "", {key}, 1)
    return _dashboard(workspace, figures, found[0])


def _dashboard(
    workspace: Workspace, figures: Figures, campaign: CampaignSummary | None, **more: Any
) -> Body:
    told = {
        "figures": figures,
        "campaign": campaign,
        "charts": charts(figures),
        "funnel": FUNNEL | HARM,
        "stages": STAGES,
        "dagster": workspace.settings.dagster_url,
    }
    return body(_templates().get_template("dashboard.html").render(told | more).encode())


def _page(name: str, status: int, **told: Any) -> Response:
    html = _templates().get_template(name).render(told)
    return HTMLResponse(html, status, headers=HEADERS | {"Cache-Control": "no-store"})


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("aicmo_dagster.api"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["address"] = address
    environment.filters |= {"count": _count, "percent": _percent, "decimal": _decimal}
    return environment


def _count(number: float | None) -> str:
    return _NOTHING if number is None else f"{number:,}"


def _percent(share: float | None) -> str:
    return _NOTHING if share is None else f"{share:.1%}"


def _decimal(number: float | None) -> str:
    return _NOTHING if number is None else f"{number:,.2f}"
