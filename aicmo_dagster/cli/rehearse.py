"""`aicmo run KEY --to STAGE --dry-run`: what a run would decide, printed; nothing is written."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import click
import pandas as pd
from rich.console import Console
from rich.table import Table

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.settings import load_settings
from aicmo_dagster.sources.campaign_files import read_campaign_file
from aicmo_dagster.stages.deciding.rehearse import (
    QualificationRehearsal,
    RoutingRehearsal,
    rehearse_qualification,
    rehearse_routing,
)
from aicmo_dagster.stages.deciding.score import Comparison, compare_scores
from aicmo_dagster.stages.workspace import open_workspace

REHEARSED = ("scored_leads", "qualified_leads", "routed_leads")


@dataclass(frozen=True)
class Asked:
    """What is to be rehearsed, as the command line says it."""

    key: str
    stage: str | None
    document: Path | None
    now: datetime
    dry_run: bool
    afresh: bool
    model: str | None


def rehearse(asked: Asked, *, as_json: bool) -> None:
    """Prints what the run would decide.

    Raises:
        BadInput: If that stage is not rehearsed, or the document is another campaign's.
    """
    document = _document(asked)
    key, now, model = asked.key, asked.now, asked.model
    with open_workspace(load_settings()) as workspace:
        if asked.stage == "scored_leads":
            campaign = document or workspace.campaign(key).campaign
            named = model or campaign.scoring.model
            compared = compare_scores(workspace, key, named, now, document)
            return _echo(asdict(compared)) if as_json else print_comparison(compared)
        if asked.stage == "qualified_leads":
            judged = rehearse_qualification(workspace, key, document, now, model=model)
            told = _qualification_document(judged)
            return _echo(told) if as_json else _print_qualification(judged)
        routed = rehearse_routing(workspace, key, document, now, afresh=asked.afresh, model=model)
    return _echo(_routing_document(routed)) if as_json else _print_routing(routed)


def print_comparison(found: Comparison) -> None:
    """What another model, or the scorecard, would change."""
    click.echo(f"{found.leads} leads of {found.campaign}, threshold {found.threshold:g}")
    click.echo(f"{found.above_now:>8} reach it with {found.now}")
    click.echo(f"{found.above_then:>8} would with {found.then}; nothing was written")
    over, under = len(found.over), len(found.under)
    click.echo(f"{over:>8} would move over it, {under} would fall below it")
    bands = sorted({*found.bands, *(to for row in found.bands.values() for to in row)})
    table = Table("band now", *(f"then {band}" for band in bands), box=None)
    for band in bands:
        counts = found.bands.get(band, {})
        table.add_row(band, *(str(counts.get(to, 0)) for to in bands))
    Console().print(table)


def _document(asked: Asked) -> Campaign | None:
    if not asked.dry_run:
        raise BadInput(
            Problem("--document, --model, --afresh", "", "no --dry-run", "--dry-run beside it")
        )
    if asked.stage not in REHEARSED:
        expected = f"one of: {', '.join(REHEARSED)}"
        raise BadInput(Problem("--to", "", f"{asked.stage} with --dry-run", expected))
    if asked.afresh and asked.stage != "routed_leads":
        raise BadInput(Problem("--afresh", "", f"--to {asked.stage}", "--to routed_leads"))
    if asked.document is None:
        return None
    campaign = read_campaign_file(asked.document).campaign
    if campaign.campaign != asked.key:
        found, expected = f"'{campaign.campaign}'", f"'{asked.key}', the campaign to rehearse"
        raise BadInput(Problem(str(asked.document), "campaign", found, expected))
    return campaign


def _qualification_document(judged: QualificationRehearsal) -> dict[str, object]:
    changes = judged.changes
    ids = {
        change: changes["lead_id"][changes["change"] == change].tolist()
        for change in ("enters", "leaves")
    }
    return {"qualified": judged.before, "would_qualify": judged.after, **ids}


def _routing_document(routed: RoutingRehearsal) -> dict[str, object]:
    return {
        "sequences": _records(routed.distribution),
        "fairness": _records(routed.fairness),
        "waiting": routed.waiting,
        "changes": _records(routed.changes.drop(columns="reason")),
    }


def _print_qualification(judged: QualificationRehearsal) -> None:
    click.echo(f"{judged.before} qualify now, {judged.after} would; nothing was written")
    changes = judged.changes
    counts = changes.groupby(["change", "cause"]).size().reset_index(name="leads")
    _print_table("change cause leads", counts)


def _print_routing(routed: RoutingRehearsal) -> None:
    click.echo("Each sequence as it would be; nothing was written")
    _print_table("sequence weight capacity per_day active leads", routed.distribution)
    if len(routed.fairness):
        click.echo("Turns by weight, among the same sequences")
        shown = routed.fairness.assign(due=routed.fairness["due"].map("{:.1f}".format))
        _print_table("among sequence had due", shown)
    moves = routed.changes.fillna({"before": "none", "after": "none"})
    click.echo(f"Leads that would be elsewhere than before: {len(moves)}")
    counts = moves.groupby(["before", "after"]).size().reset_index(name="leads")
    _print_table("before after leads", counts)
    for cause, count in routed.waiting.items():
        click.echo(f"{count} without a sequence: {cause}")


def _print_table(columns: str, frame: pd.DataFrame) -> None:
    names = columns.split()
    table = Table(*(name.replace("_", " ") for name in names), box=None)
    for record in _records(frame[names]):
        table.add_row(*("" if value is None else str(value) for value in record.values()))
    if len(frame):
        Console().print(table, highlight=False)


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in plain.to_dict("records")]


def _echo(document: dict[str, object]) -> None:
    click.echo(json.dumps(document, ensure_ascii=False))
