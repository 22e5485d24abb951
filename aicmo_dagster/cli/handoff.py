"""`aicmo handoff`: what was handed to sales, and what has to be done about it by hand."""

import json
from datetime import UTC, datetime
from getpass import getuser

import click

from aicmo_dagster.cli.operator import operator
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.operating import by_hand
from aicmo_dagster.stages.workspace import Workspace, open_workspace
from aicmo_dagster.store import handoffs
from aicmo_dagster.store.leads import find_lead


@click.group()
def handoff() -> None:
    """Leads handed to sales."""


@handoff.command("list")
@click.argument("key")
@click.option("--state", type=click.Choice([handoffs.DUE, handoffs.DELIVERED, handoffs.DEAD]))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(key: str, state: str | None, as_json: bool) -> None:
    """The handoffs of campaign KEY; those that are dead were given up after days of trying."""
    with open_workspace(load_settings()) as workspace:
        workspace.campaign(key)
        with workspace.database.read() as connection:
            found = handoffs.list_handoffs(connection, key, state)
    if as_json:
        click.echo(json.dumps(found, default=lambda value: value.isoformat()))
        return
    for row in found:
        taken = f"taken up by {row['acknowledged_by']}" if row["acknowledged_by"] else ""
        told = " ".join(filter(None, (row["error"], taken)))
        click.echo(
            f"{row['key']}  {row['lead_id']}  {row['state']:<10} {row['destination']:<8} "
            f"{row['created_at']:%Y-%m-%d %H:%M} UTC  {row['reason']}  {told}".rstrip()
        )


@handoff.command()
@click.argument("key")
@click.argument("lead")
def resend(key: str, lead: str) -> None:
    """Deliver the handoff of LEAD again, under the same key."""
    with open_workspace(load_settings()) as workspace, workspace.database.write() as connection:
        lead_id = find_lead(connection, key, lead)
        by_hand.resend(connection, key, lead_id, who=operator(), now=datetime.now(UTC))
    click.echo(f"{lead_id}: due now")


@handoff.command()
@click.argument("key")
@click.argument("lead")
@click.option("--by", default=getuser, show_default="you", help="Who has taken it up.")
def acknowledge(key: str, lead: str, by: str) -> None:
    """Say that LEAD was taken up, so that nobody is reminded of it."""
    with open_workspace(load_settings()) as workspace:
        with workspace.database.read() as connection:
            lead_id = find_lead(connection, key, lead)
        _acknowledge(workspace, key, lead_id, by)


@handoff.command()
@click.argument("handoff_id", metavar="ID")
@click.option("--by", default=getuser, show_default="you", help="Who has taken it up.")
def ack(handoff_id: str, by: str) -> None:
    """Say that the handoff ID was taken up: the id that its webhook and its reminders carry."""
    with open_workspace(load_settings()) as workspace:
        with workspace.database.read() as connection:
            key, lead_id = handoffs.find_handoff(connection, handoff_id)
        _acknowledge(workspace, key, lead_id, by)


@handoff.command()
def secret() -> None:
    """Print what webhooks are signed with, for their receiver (Standard Webhooks)."""
    click.echo(load_settings().webhook_secret())


def _acknowledge(workspace: Workspace, key: str, lead_id: str, by: str) -> None:
    with workspace.database.write(durable=True) as connection:
        first = by_hand.acknowledge(
            connection, key, lead_id, by=by, who=operator(), now=datetime.now(UTC)
        )
    click.echo(f"{lead_id}: {'taken up' if first else 'was taken up before'}")
