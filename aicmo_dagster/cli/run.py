"""`aicmo run`: a Dagster run for one campaign, in this process, with progress shown."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from aicmo_dagster.cli.rehearse import Asked, rehearse
from aicmo_dagster.definitions import defs
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.runs import RunOutcome, open_instance, run_campaign, selected_stages
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.errors import AicmoError, BadInput, Problem, RunFailed
from aicmo_dagster.settings import Settings, load_settings
from aicmo_dagster.stages.summary import dispositions
from aicmo_dagster.stages.workspace import open_workspace

STAGE = click.Choice(STAGES)


@click.command()
@click.argument("key")
@click.option("--from", "first", type=STAGE, help="The first stage to run.")
@click.option("--to", "last", type=STAGE, help="The last stage to run.")
@click.option("--as-of", default="", help="Take this instant as now (ISO 8601 with an offset).")
@click.option(
    "--dry-run", is_flag=True, help="Tell who would come and go by --to, and change nothing."
)
@click.option("--document", type=click.Path(path_type=Path), help="Rehearse by this document.")
@click.option("--model", help="Rehearse with scores by this version, 'scorecard' or 'auto'.")
@click.option("--afresh", is_flag=True, help="Rehearse as if nobody were in a sequence yet.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def run(
    key: str,
    first: str | None,
    last: str | None,
    as_of: str,
    dry_run: bool,
    document: Path | None,
    model: str | None,
    afresh: bool,
    as_json: bool,
) -> None:
    """Run the stages of campaign KEY, all of them unless told otherwise."""
    _check_instant(as_of)
    if dry_run or document or model or afresh:
        now = datetime.fromisoformat(as_of) if as_of else datetime.now(UTC)
        asked = Asked(key, last, document, now, dry_run=dry_run, afresh=afresh, model=model)
        return rehearse(asked, as_json=as_json)
    return _run(key, selected_stages(first, last), as_of, as_json)


def _run(key: str, stages: list[str], as_of: str, as_json: bool) -> None:
    settings = load_settings()
    outcome = run_stages(settings, key, stages, as_of=as_of, quiet=as_json)
    with open_workspace(settings) as workspace:
        places = dispositions(workspace, key)
    if as_json:
        click.echo(json.dumps({**asdict(outcome), "leads": places}))
    else:
        print_outcome(outcome, places)
    if outcome.failure:
        raise RunFailed(outcome.failure, outcome.exit_code)


def run_stages(
    settings: Settings, key: str, stages: Sequence[str], *, as_of: str = "", quiet: bool = False
) -> RunOutcome:
    """Runs `stages` of the campaign `key` and shows which one is under way."""
    with open_workspace(settings) as workspace:
        stored = workspace.campaign(key)
    if stored.state != "active":
        raise AicmoError(f"campaign '{key}' is {stored.state}; apply its document to bring it back")
    console = Console(stderr=True, quiet=quiet)
    with open_instance(settings) as instance, console.status(f"{key}: starting") as status:
        register_campaign(instance, key)

        def show(stage: str) -> None:
            status.update(f"{key}: {stage}")
            if not console.is_terminal:
                console.print(f"{key}: {stage}", highlight=False)

        return run_campaign(defs, instance, key, list(stages), as_of=as_of, on_stage=show)


def print_outcome(outcome: RunOutcome, places: dict[str, int]) -> None:
    """The stages of a run and where the leads are, as two tables."""
    table = Table("stage", box=None)
    for heading in ("rows in", "rows out", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("not going on, by reason", overflow="fold")
    for stage in outcome.stages:
        reasons = "\n".join(f"{count} {reason}" for reason, count in stage.reasons.items())
        counts = (str(stage.rows_in), str(stage.rows_out), f"{stage.seconds:.1f}")
        table.add_row(stage.stage, *counts, reasons)
    console = Console()
    console.print(table, highlight=False)
    shown = ", ".join(f"{count} {place}" for place, count in places.items())
    console.print(f"In all: {shown}", highlight=False, soft_wrap=True)


def _check_instant(as_of: str) -> None:
    if not as_of:
        return
    try:
        aware = datetime.fromisoformat(as_of).tzinfo is not None
        datetime.fromisoformat(as_of).astimezone(UTC)
    except (ValueError, OverflowError):
        aware = False
    if not aware:
        expected = "an ISO 8601 instant with an offset, such as 2026-03-02T09:00:00+01:00"
        raise BadInput(Problem("--as-of", "", repr(as_of), expected))
