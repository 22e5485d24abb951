"""`aicmo model`: training, listing, comparing, promoting and rolling back a campaign's models."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from getpass import getuser
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from aicmo_dagster.cli.operator import operator
from aicmo_dagster.cli.rehearse import print_comparison
from aicmo_dagster.definitions import defs
from aicmo_dagster.defs.models import train_campaign
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.runs import open_instance
from aicmo_dagster.errors import RunFailed
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.deciding.score import compare_scores
from aicmo_dagster.stages.operating import by_hand
from aicmo_dagster.stages.workspace import open_workspace
from aicmo_dagster.store.models import StoredModel, changes, list_models

KEY = click.argument("key")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
WHY = click.option("--reason", required=True, help="Why, for everyone who asks later.")
WHO = click.option("--by", default=getuser, show_default="you", help="Who decides.")


@click.group()
def model() -> None:
    """Train, list, compare, promote and roll back the models of a campaign."""


@model.command()
@KEY
@AS_JSON
def train(key: str, as_json: bool) -> None:
    """Learn from the outcomes of campaign KEY; a model that is better takes over.

    It is a Dagster run, whose materialisation of `score_model` holds the model's card.
    """
    settings = load_settings()
    with open_workspace(settings) as workspace:
        workspace.campaign(key)
    with open_instance(settings) as instance:
        register_campaign(instance, key)
        outcome = train_campaign(defs, instance, key)
    if outcome.failure:
        raise RunFailed(outcome.failure, outcome.exit_code)
    click.echo(json.dumps(asdict(outcome)) if as_json else f"{key}: {outcome.summary}")


@model.command("list")
@KEY
@AS_JSON
def list_(key: str, as_json: bool) -> None:
    """List the models of campaign KEY, the newest first, and what was decided about them."""
    with open_workspace(load_settings()) as workspace:
        workspace.campaign(key)
        with workspace.database.read() as connection:
            rows, history = list_models(connection, key), changes(connection, key)
    if as_json:
        events = [{**vars(each), "decided_at": each.decided_at.isoformat()} for each in history]
        click.echo(json.dumps({"models": [_facts(row) for row in rows], "changes": events}))
        return
    if not rows:
        click.echo(f"{key} has no models; the scorecard is in charge")
        return
    table = Table("version", "kind", "state", "trained", "AUC within cohorts", box=None)
    for row in rows:
        facts = _facts(row)
        trained = f"{row.trained_at:%Y-%m-%d %H:%M} UTC"
        table.add_row(row.version, row.kind, row.state, trained, _interval(facts["auc_within"]))
    Console().print(table)
    for each in history:
        told = f"{each.decided_at:%Y-%m-%d %H:%M} UTC  {each.version} {each.state}"
        click.echo(f"{told} by {each.decided_by}: {each.reason}")


@model.command()
@KEY
@click.argument("version")
@AS_JSON
def compare(key: str, version: str, as_json: bool) -> None:
    """Who would move over the threshold if VERSION scored campaign KEY; nothing is changed.

    VERSION may also be "scorecard".
    """
    with open_workspace(load_settings()) as workspace:
        found = compare_scores(workspace, key, version, datetime.now(UTC))
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        print_comparison(found)


@model.command("promote")
@KEY
@click.argument("version")
@WHY
@WHO
def promote_(key: str, version: str, reason: str, by: str) -> None:
    """Put model VERSION in charge of campaign KEY, whatever its gate said."""
    with open_workspace(load_settings()) as workspace:
        workspace.campaign(key)
        with workspace.database.write() as connection:
            now = datetime.now(UTC)
            named = by_hand.promote(
                connection, key, version, reason=reason, by=by, who=operator(), now=now
            )
    click.echo(f"{named} is in charge of {key}; 'aicmo run {key} --from scored_leads' scores anew")


@model.command()
@KEY
@WHY
@WHO
def rollback(key: str, reason: str, by: str) -> None:
    """Undo the latest promotion of campaign KEY: the model before it is in charge again."""
    with open_workspace(load_settings()) as workspace:
        workspace.campaign(key)
        with workspace.database.write() as connection:
            undone, now_in_charge = by_hand.roll_back(
                connection, key, reason=reason, by=by, who=operator(), now=datetime.now(UTC)
            )
    named = now_in_charge or "the scorecard"
    click.echo(f"{undone} is retired, {named} is in charge of {key}")


def _facts(row: StoredModel) -> dict[str, Any]:
    metrics = json.loads(row.metrics)
    return {
        "version": row.version,
        "kind": row.kind,
        "state": row.state,
        "trained_at": row.trained_at.isoformat(),
        **metrics.get("test", {"auc_within": None}),
    }


def _interval(figure: list[float] | None) -> str:
    return "" if figure is None else f"{figure[0]:.3f} ({figure[1]:.3f} to {figure[2]:.3f})"
