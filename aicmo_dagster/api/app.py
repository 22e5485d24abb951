"""The application: its endpoints, and what runs beside them while it serves.

Not here: the endpoints (`public` and one module a subject), or listening on a port (`cli.serving`).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
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
from aicmo_dagster.store.database import open_or_await

CACHE_KIB = 2_000
"""What a connection to SQLite keeps of the file: there is one for each request being answered."""


@dataclass(frozen=True)
class _Parts:
    """What runs while the application serves."""

    workspace: Workspace
    recorder: Recorder
    targets: Targets
    service: PublicService
    uses: Uses
    runs: Runs
    kept: Kept

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """From its start to its end; nothing that was noted is lost."""
        self.recorder.start()
        self.targets.start()
        yield
        self.service.objecting.shutdown(wait=True)
        self.uses.stop()
        self.runs.close()
        self.kept.stop()
        self.targets.stop()
        self.recorder.stop()
        self.workspace.database.close()


def serve_from_environment() -> FastAPI:
    """The application of the environment's settings, as each worker process makes it."""
    log_as_json()
    return create_app(load_settings())


def create_app(settings: Settings) -> FastAPI:
    """The application; its threads run while it serves, also while its database is away.

    Raises:
        BadInput: If AICMO_TRUSTED_PROXIES holds what is no address or network.
    """
    proxies = trusted_proxies(settings.trusted_proxies)
    parts = _parts(settings)
    app = Described(
        title="AICMO",
        version=version("aicmo_dagster"),
        docs_url=None,
        redoc_url=None,
        lifespan=parts.lifespan,
    )
    app.state.service = Service(parts.workspace, parts.uses, Rates(settings.api_rate))
    app.state.runs, app.state.kept = parts.runs, parts.kept
    app.state.gauges = Gauges(parts.workspace.database)
    recipients = parts.service.router()
    _add_endpoints(app, recipients)
    add_problem_handlers(app)
    app.add_middleware(Shortcut, routes=parts.service.often(recipients))
    _surround(app, settings.api_origins.split(), proxies)
    return app


def _parts(settings: Settings) -> _Parts:
    limits = replace(settings.database_limits, cache_kib=CACHE_KIB)
    database = open_or_await(settings.database_url, limits)
    workspace = Workspace(settings, database)
    recorder, targets = Recorder(workspace), Targets(database)
    return _Parts(
        workspace=workspace,
        recorder=recorder,
        targets=targets,
        service=PublicService(workspace, recorder, targets, settings.secret_key()),
        uses=Uses(workspace),
        runs=Runs(settings),
        kept=Kept(Changes(database)),
    )


def _add_endpoints(app: FastAPI, recipients: APIRouter) -> None:
    public = (recipients, hooks.router, health.live_router, metrics.router)
    for router in (*public, rest_router(), dashboard.router, files.router):
        app.include_router(router)


def _surround(app: FastAPI, origins: list[str], proxies: list[str]) -> None:
    """The middleware of every request; what is added last comes first."""
    app.add_middleware(Guard)
    app.add_middleware(Observed)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-Match"],
            expose_headers=["ETag", "Location", "RateLimit", "Retry-After"],
        )
    if proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)


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
