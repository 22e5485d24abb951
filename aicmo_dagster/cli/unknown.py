"""`aicmo unknown`: messages of which nobody knows whether they arrived."""

import json
from datetime import UTC, datetime
from getpass import getuser

import click

from aicmo_dagster.cli.operator import operator
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.nurturing.doubtful import resolve as resolve_send
from aicmo_dagster.stages.workspace import open_workspace
from aicmo_dagster.store.unknown_sends import list_unknown


@click.group()
def unknown() -> None:
    """Messages in doubt: presumed sent, until it is known better."""


@unknown.command("list")
@click.argument("key", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(key: str | None, as_json: bool) -> None:
    """Those of campaign KEY, or of all; look for their Message-IDs at the mail server."""
    with open_workspace(load_settings()) as workspace:
        if key:
            workspace.campaign(key)
        with workspace.database.read() as connection:
            found = list_unknown(connection, key)
    if as_json:
        return click.echo(json.dumps(found, default=datetime.isoformat))
    if not found:
        return click.echo("there are none")
    for row in found:
        click.echo(
            f"{row['message_id']}  {row['campaign']}  {row['lead_id']}  {row['step']}  "
            f"{row['since']:%Y-%m-%d %H:%M} UTC  {row['transport'] or ''}  {row['reason'] or ''}"
        )
    return None


@unknown.command()
@click.argument("message_id", metavar="MESSAGE-ID")
@click.argument("outcome", type=click.Choice(["sent", "not-sent"]))
@click.option("--reason", required=True, help="How that is known, for everyone who asks later.")
@click.option("--by", default=getuser, show_default="you", help="Who says so.")
def resolve(message_id: str, outcome: str, reason: str, by: str) -> None:
    """Say what became of MESSAGE-ID; one that was not sent is due again."""
    sent = outcome == "sent"
    with open_workspace(load_settings()) as workspace:
        key, lead_id, step = resolve_send(
            workspace,
            message_id,
            sent=sent,
            reason=reason,
            by=by,
            who=operator(),
            now=datetime.now(UTC),
        )
    click.echo(f"{key} {lead_id} {step}: {'sent' if sent else 'due again'}")
