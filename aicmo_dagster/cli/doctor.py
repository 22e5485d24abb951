"""`aicmo doctor`: how the installation fares, and what to do about it."""

import json
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.settings import Settings, load_settings
from aicmo_dagster.stages.operating.health import Health, State, examine
from aicmo_dagster.store.database import open_database

_STYLES: dict[State, str] = {"pass": "green", "warn": "yellow", "fail": "bold red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Say how every part fares and what to do about it; exit code 1 if one does not work."""
    health = _health(load_settings())
    if as_json:
        click.echo(json.dumps(health.as_document()))
    else:
        _print(health)
    if health.state == "fail":
        context.exit(1)


def _health(settings: Settings) -> Health:
    now = datetime.now(UTC)
    try:
        database = open_database(settings.database_url, settings.database_limits)
    except AicmoError as error:
        return examine(settings, error, now)
    try:
        return examine(settings, database, now)
    finally:
        database.close()


def _print(health: Health) -> None:
    table = Table(box=None, show_header=False)
    for check in health.checks:
        detail = Text(check.detail)
        if check.advice:
            detail.append(f"\n→ {check.advice}")
        table.add_row(check.name, Text(check.state, style=_STYLES[check.state]), detail)
    Console().print(table)
