"""The application: its endpoints, and what runs beside them while it serves.

Not here: the endpoints (`public` and one module a subject), or listening on a port (`cli.api`).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from ipaddress import ip_network

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from aicmo_dagster.api import (
    audit,
    auth,
    campaigns,
    dashboard,
    executions,
    figures,
    files,
    handoffs,
    health,
    hooks,
    leads,
    metrics,
    models,
    standing,
    suppressions,
    transfers,
    webhooks,
)
from aicmo_dagster.api.description import Described
from aicmo_dagster.api.guard import LARGEST_BODY, Guard
from aicmo_dagster.api.kept import Kept
from aicmo_dagster.api.logs import log_as_json
from aicmo_dagster.api.metrics import Gauges
from aicmo_dagster.api.observation import Observed
from aicmo_dagster.api.problems import add_problem_handlers, answers
from aicmo_dagster.api.public import PublicService
from aicmo_dagster.api.rates import Rates
from aicmo_dagster.api.recorder import Recorder
from aicmo_dagster.api.runs import Runs
from aicmo_dagster.api.service import BASE, Service, Uses
from aicmo_dagster.api.shortcut import Shortcut
from aicmo_dagster.api.targets import Targets
from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.settings import Settings, load_settings
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.changes import Changes
from aicmo_dagster.store.database import open_database


def serve_from_environment() -> FastAPI:
    """The application of the environment's settings, as each worker process makes it."""
    log_as_json()
    return create_app(load_settings())


def create_app(settings: Settings) -> FastAPI:
    """The application; its database is open and its threads run while it serves.

    Raises:
        BadInput: If AICMO_TRUSTED_PROXIES holds what is no address or network.
    """
    proxies = trusted_proxies(settings.trusted_proxies)
    workspace = Workspace(settings, open_database(settings.database_url, settings.database_limits))
    recorder, targets = Recorder(workspace), Targets(workspace.database)
    service = PublicService(workspace, recorder, targets, settings.secret_key())

    uses, runs, kept = Uses(workspace), Runs(settings), Kept(Changes(workspace.database))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        recorder.start()
        targets.start()
        yield
        service.objecting.shutdown(wait=True)
        uses.stop()
        runs.close()
        kept.stop()
        targets.stop()
        recorder.stop()
        workspace.database.close()

    app = Described(
        title="AICMO",
        version=version("aicmo_dagster"),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = Service(workspace, uses, Rates(settings.api_rate))
    app.state.runs, app.state.kept = runs, kept
    app.state.gauges = Gauges(workspace.database)
    recipients = service.router()
    app.include_router(recipients)
    for public in (hooks.router, health.live_router, metrics.router):
        app.include_router(public)
    app.include_router(rest_router())
    app.include_router(dashboard.router)
    app.include_router(files.router)
    add_problem_handlers(app)
    app.add_middleware(Shortcut, routes=service.often(recipients))
    app.add_middleware(Guard)
    app.add_middleware(Observed)
    if settings.api_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.api_origins.split(),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-Match"],
            expose_headers=["ETag", "Location", "RateLimit", "Retry-After"],
        )
    if proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
    return app


def rest_router() -> APIRouter:
    """The REST API: one router a subject, all of them behind a token."""
    rest = APIRouter(
        prefix=BASE,
        responses=answers(401, 403, 413, 422, 429, 503),
        max_body_size=LARGEST_BODY,
    )
    subjects = (auth, campaigns, figures, executions, standing, transfers, leads)
    others = (handoffs, models, suppressions, webhooks, audit, health)
    for subject in (*subjects, *others):
        rest.include_router(subject.router)
    return rest


def trusted_proxies(text: str) -> list[str]:
    """The addresses and networks that `text` lists, separated by commas."""
    listed = [part.strip() for part in text.split(",") if part.strip()]
    for part in listed:
        try:
            ip_network(part)
        except ValueError as error:
            expected = "addresses or networks, such as 10.0.0.1,10.1.0.0/16"
            raise BadInput(Problem("AICMO_TRUSTED_PROXIES", "", repr(part), expected)) from error
    return listed
