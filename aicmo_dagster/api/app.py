"""The application: its endpoints, and what runs beside them while it serves.

Not here: the endpoints (`public`), or listening on a port (`cli.api`).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from aicmo_dagster.api.public import PublicService
from aicmo_dagster.api.recorder import Recorder
from aicmo_dagster.api.targets import Targets
from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.settings import Settings, load_settings
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import open_database


def serve_from_environment() -> FastAPI:
    """The application of the environment's settings, as each worker process makes it."""
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

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        recorder.start()
        targets.start()
        yield
        service.objecting.shutdown(wait=True)
        targets.stop()
        recorder.stop()
        workspace.database.close()

    app = FastAPI(title="AICMO", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.include_router(service.router())
    if proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
    return app


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
