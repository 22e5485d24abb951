"""`aicmo migrate-from` and `aicmo restored`: going on in another database."""

import json
from datetime import UTC, datetime

import click

from aicmo_dagster.cli.operator import operator
from aicmo_dagster.defs.partitions import add_partitions
from aicmo_dagster.defs.runs import open_instance
from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.operating.relocate import go_on_from_backup, move_from
from aicmo_dagster.stages.workspace import open_workspace

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command("migrate-from")
@click.argument("url")
@AS_JSON
def migrate_from(url: str, as_json: bool) -> None:
    """Move all that the database at URL holds into AICMO_DATABASE_URL, which must be empty.

    The database at URL stays as it is, and nothing is sent from it any more.
    """
    settings = load_settings()
    with open_workspace(settings) as workspace:
        moved = move_from(workspace, url, datetime.now(UTC))
    with open_instance(settings) as instance:
        add_partitions(instance, moved.campaigns)
    if as_json:
        click.echo(json.dumps({"tables": moved.tables, "campaigns": moved.campaigns}))
        return
    for table, rows in moved.tables.items():
        click.echo(f"{rows:10} {table}")
    click.echo(
        f"{sum(moved.tables.values()):10} rows, the same on both sides; "
        f"{len(moved.campaigns)} campaigns are partitions"
    )


@click.command()
@click.option("--lost-at", default="", help="When the database was used last; now if not given.")
@AS_JSON
def restored(lost_at: str, as_json: bool) -> None:
    """Go on from a restored backup: what may have been sent since is not sent again."""
    now = datetime.now(UTC)
    last = _instant(lost_at) if lost_at else now
    with open_workspace(load_settings()) as workspace:
        doubtful = go_on_from_backup(workspace, last, who=operator(), now=now)
    if as_json:
        click.echo(json.dumps({"unknown": doubtful}))
        return
    click.echo(f"{doubtful} sends may have been made since the backup and are not repeated")
    click.echo("Each campaign's next run asks the outbox and the replies what became of them.")


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        expected = "an ISO 8601 instant with an offset, such as 2026-03-02T09:00:00+01:00"
        raise BadInput(Problem("--lost-at", "", repr(text), expected))
    return instant.astimezone(UTC)
