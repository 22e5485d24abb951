"""`aicmo api`: the REST API and the public service, until they are stopped.

Not here: serving them (`serving`), which imports Arrow.
"""

import os

import click

FRUGAL = {"ARROW_DEFAULT_MEMORY_POOL": "system"}
"""What Arrow frees is there for others: its own pools keep it. Arrow reads it when imported."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option("--port", default=8000, show_default=True, help="Where it listens.")
@click.option("--workers", default=1, show_default=True, help="Processes that serve.")
def api(host: str, port: int, workers: int) -> None:
    """Serve the REST API, open pixels, links and the unsubscribe page; Ctrl-C stops."""
    os.environ.update(FRUGAL)
    from aicmo_dagster.cli.serving import serve

    serve(host, port, workers)
