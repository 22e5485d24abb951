"""`aicmo campaign pause|resume|migrate`: what is under way, held, let go on, or moved.

Each shows what it would do first. Not here: pausing one lead (`overrides`).
"""

from datetime import UTC, datetime
from getpass import getuser

import click
import pandas as pd
from rich.console import Console
from rich.table import Table

from aicmo_dagster.cli.operator import operator
from aicmo_dagster.domain.nurture.lifecycle import MODES, Mode
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.nurturing import lifecycle
from aicmo_dagster.stages.workspace import open_workspace

SEQUENCE = click.option("--sequence", help="One sequence of it only.")
BY = click.option("--by", default=getuser, show_default="you", help="Who decides.")
MODE = click.option(
    "--mode",
    type=click.Choice(MODES),
    help="skip what came due, shift it all by the pause, or spread it over a day.",
)


@click.command()
@click.argument("key")
@SEQUENCE
@click.option("--reason", required=True, help="Why, for everyone who asks later.")
@BY
def pause(key: str, sequence: str | None, reason: str, by: str) -> None:
    """Hold all mail of campaign KEY, or of one sequence, until it is resumed."""
    with open_workspace(load_settings()) as workspace:
        now = datetime.now(UTC)
        new = lifecycle.pause(
            workspace, key, reason=reason, by=by, who=operator(), now=now, sequence=sequence
        )
    click.echo(f"{_what(key, sequence)}: {'paused' if new else 'was paused before'}")


@click.command()
@click.argument("key")
@SEQUENCE
@MODE
@BY
def resume(key: str, sequence: str | None, mode: Mode | None, by: str) -> None:
    """Let campaign KEY, or one sequence, go on; without --mode, show what each would do."""
    with open_workspace(load_settings()) as workspace:
        now = datetime.now(UTC)
        show_modes(lifecycle.preview_resume(workspace, key, now=now, sequence=sequence), mode)
        if mode:
            changed = lifecycle.resume(
                workspace, key, mode, by=by, who=operator(), now=now, sequence=sequence
            )
            click.echo(f"{_what(key, sequence)}: resumed, {changed} sends changed")


@click.command()
@click.argument("key")
@click.option("--version", type=int, help="Of the document; else the current one.")
@click.option("--yes", is_flag=True, help="Do it; else it is only shown.")
def migrate(key: str, version: int | None, yes: bool) -> None:
    """Move leads under way to another version of their sequence, and show who would get what."""
    with open_workspace(load_settings()) as workspace:
        workspace.campaign(key)
        _show_migration(lifecycle.preview_migration(workspace, key, version))
        if yes:
            moved = lifecycle.migrate(workspace, key, datetime.now(UTC), version, who=operator())
            click.echo(f"{key}: {moved} leads moved")
        else:
            click.echo("nothing was changed; --yes moves them")


def show_modes(counts: pd.DataFrame, chosen: str | None) -> None:
    """What each way to resume does, in sends."""
    table = Table("mode", "skipped", "moved", "due at once", "due later", box=None)
    for row in counts.itertuples(index=False):
        table.add_row(*(str(value) for value in row))
    Console().print(table)
    if chosen is None:
        click.echo(f"nothing was changed; --mode {'|'.join(MODES)} resumes")


def _show_migration(leads: pd.DataFrame) -> None:
    table = Table("sequence", "from version", "next", "then", "leads", box=None)
    shown = leads.astype(object).where(leads.notna(), None)
    moves = shown["then"].fillna("the end").where(leads["stays"].isna(), shown["stays"])
    named = shown.assign(next=shown["next"].fillna("-"), then=moves)
    groups = named.groupby(["sequence", "from_version", "next", "then"], sort=True)
    for row in groups.size().reset_index(name="leads").itertuples(index=False):
        table.add_row(*(str(value) for value in row))
    Console().print(table)


def _what(key: str, sequence: str | None) -> str:
    return f"{key}, sequence {sequence}" if sequence else key
