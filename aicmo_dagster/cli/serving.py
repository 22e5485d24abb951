"""Serving the REST API and the public service, as `aicmo api` does.

Not here: the command itself (`api`), which is imported before anything large is.
"""

import os
import shutil
from pathlib import Path

import click
import uvicorn

from aicmo_dagster.api.app import trusted_proxies
from aicmo_dagster.api.logs import log_as_json
from aicmo_dagster.api.rates import Rates
from aicmo_dagster.errors import Transient
from aicmo_dagster.settings import Settings, load_settings
from aicmo_dagster.stages.workspace import open_workspace

_WITHOUT = (
    "Links, the pixel and unsubscribing are served meanwhile, and everything once it can be used."
)


def serve(host: str, port: int, workers: int) -> None:
    """The REST API and the public service listen there until they are stopped."""
    settings = load_settings()
    trusted_proxies(settings.trusted_proxies)
    Rates(settings.api_rate)
    settings.secret_key()
    make_database(settings)
    os.environ.update(settings.process_environment())
    log_as_json()
    if workers > 1:
        _share_measures(settings.home / "measures")
    click.echo(f"Serving http://{host}:{port} for {settings.public_url}    Ctrl-C stops")
    uvicorn.run(
        "aicmo_dagster.api.app:serve_from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        http="h11",  # it bounds the headers it takes; httptools does not
        proxy_headers=False,  # whom to trust is ours to say
        server_header=False,
        access_log=False,  # it would hold addresses of recipients
        log_config=None,  # the application's own holds for all
        log_level="warning",
    )


def make_database(settings: Settings) -> None:
    """The workers find the database made; that it cannot be used now is told once."""
    try:
        with open_workspace(settings):
            pass
    except Transient as error:
        click.echo(f"aicmo: {error}\n{_WITHOUT}", err=True)


def _share_measures(folder: Path) -> None:
    """Workers measure into files there, which each of them tells of; those of before are gone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
