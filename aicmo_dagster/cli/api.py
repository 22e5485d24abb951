"""`aicmo api`: the REST API and the public service, until they are stopped."""

import os
import shutil
from pathlib import Path

import click
import uvicorn

from aicmo_dagster.api.app import trusted_proxies
from aicmo_dagster.api.logs import log_as_json
from aicmo_dagster.api.rates import Rates
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.workspace import open_workspace


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option("--port", default=8000, show_default=True, help="Where it listens.")
@click.option("--workers", default=1, show_default=True, help="Processes that serve.")
def api(host: str, port: int, workers: int) -> None:
    """Serve the REST API, open pixels, links and the unsubscribe page; Ctrl-C stops."""
    settings = load_settings()
    trusted_proxies(settings.trusted_proxies)
    Rates(settings.api_rate)
    settings.secret_key()
    with open_workspace(settings):  # so that workers find it made, and a fault is told once
        pass
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


def _share_measures(folder: Path) -> None:
    """Workers measure into files there, which each of them tells of; those of before are gone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
