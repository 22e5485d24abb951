"""`aicmo campaign`: checking, applying, listing and archiving campaign documents."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from aicmo_dagster.cli.lifecycle import migrate, pause, resume
from aicmo_dagster.cli.operator import operator
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.runs import open_instance
from aicmo_dagster.errors import AicmoError, BadInput, Problem
from aicmo_dagster.mail.dns import Dns
from aicmo_dagster.settings import Settings, load_settings
from aicmo_dagster.sources.campaign_files import CampaignFile, read_campaign_file
from aicmo_dagster.stages.nurturing.rehearsal import fault_texts, rehearse_file
from aicmo_dagster.stages.operating import by_hand
from aicmo_dagster.stages.operating.freshness import span
from aicmo_dagster.stages.operating.status import JobStatus, Status, scheduled_jobs, status
from aicmo_dagster.stages.summary import dispositions
from aicmo_dagster.stages.workspace import Workspace, open_workspace
from aicmo_dagster.store.campaigns import list_campaigns

FILES = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.group()
def campaign() -> None:
    """Check, apply, list, show, pause, resume, migrate and archive campaigns."""


for _command in (pause, resume, migrate):
    campaign.add_command(_command)


@campaign.command()
@FILES
@click.option("--rehearse", is_flag=True, help="Write every message to every lead, and send none.")
def check(files: tuple[Path, ...], rehearse: bool) -> None:
    """Say everything that is wrong with campaign documents, and change nothing."""
    documents = _read_all(files)
    settings = load_settings()
    problems = [p for path, document in documents for p in _missing_keys(path, document, settings)]
    if problems:
        raise BadInput(*problems)
    if rehearse:
        _rehearse(documents, settings)
    for path, document in documents:
        click.echo(f"{path}: in order")
        _print_schedule(scheduled_jobs(document.campaign.schedule, datetime.now(UTC)))


@campaign.command()
@FILES
def apply(files: tuple[Path, ...]) -> None:
    """Store campaign documents and register their Dagster partitions."""
    documents = _read_all(files)
    settings = load_settings()
    with open_workspace(settings) as workspace:
        for path, document in documents:
            click.echo(f"{path}: {apply_document(workspace, document)}")
    register(settings, [document.campaign.campaign for _, document in documents])


@campaign.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(as_json: bool) -> None:
    """List the campaigns."""
    with open_workspace(load_settings()) as workspace, workspace.database.read() as connection:
        rows = list_campaigns(connection)
    if as_json:
        click.echo(
            json.dumps([{**vars(row), "updated_at": row.updated_at.isoformat()} for row in rows])
        )
        return
    if not rows:
        click.echo("there are no campaigns; 'aicmo campaign apply FILE' adds one")
        return
    table = Table("campaign", "name", "version", "state", "updated", box=None)
    for row in rows:
        updated = f"{row.updated_at:%Y-%m-%d %H:%M} UTC"
        table.add_row(row.key, row.name, str(row.version), row.state, updated)
    Console().print(table)


@campaign.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(key: str, as_json: bool) -> None:
    """Show a campaign's document and where its leads are."""
    with open_workspace(load_settings()) as workspace:
        stored = workspace.campaign(key)
        places = dispositions(workspace, key)
        standing = status(workspace, key, datetime.now(UTC))
    document = stored.campaign.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if as_json:
        facts = {"version": stored.version, "state": stored.state, "leads": places}
        told = {**facts, "status": standing.as_document(), "document": document}
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    click.echo(f"{key}: {stored.campaign.name}, version {stored.version}, {stored.state}")
    for place, count in places.items():
        click.echo(f"  {place:<24}{count:>8}")
    print_status(standing)
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


@campaign.command()
@click.argument("key")
def archive(key: str) -> None:
    """Stop a campaign for good; its history, and its Dagster partition, stay."""
    with open_workspace(load_settings()) as workspace, workspace.database.write() as connection:
        by_hand.archive(connection, key, who=operator(), now=datetime.now(UTC))
    click.echo(f"{key}: archived; 'aicmo campaign apply' with its document brings it back")


def print_status(standing: Status) -> None:
    """Stages, schedule and latest ticks, a line each."""
    for part in standing.stages:
        done = part.state.succeeded_at if part.state else None
        line = f"  {part.stage:<24}" + (f"done {done:%Y-%m-%d %H:%M} UTC" if done else "never done")
        if part.fresh_until and not part.late_by:
            line += f", fresh until {part.fresh_until:%Y-%m-%d %H:%M} UTC"
        if part.late_by:
            line += f", late by {span(part.late_by)}"
        if part.state and part.state.has_failed:
            line += f", failed {part.state.failed_at:%Y-%m-%d %H:%M} UTC: {part.state.failure}"
        click.echo(line)
    _print_schedule(standing.jobs)
    for incident in standing.incidents:
        begun = f"{incident.opened_at:%Y-%m-%d %H:%M} UTC"
        click.echo(f"  {incident.kind} since {begun}: {incident.reason}")
    for tick in standing.ticks:
        reason = f": {tick.reason}" if tick.reason else ""
        click.echo(f"  {tick.job} of {tick.due_at:%Y-%m-%d %H:%M} UTC {tick.state}{reason}")


def _print_schedule(jobs: list[JobStatus]) -> None:
    """Each job's cron in words, and its next instants."""
    for job in jobs:
        due = ", ".join(f"{at:%a %Y-%m-%d %H:%M %Z}" for at in job.next_ticks)
        click.echo(f"  {job.job}: {job.words} ({job.cron}); next {due or 'never, it is off'}")


def apply_document(workspace: Workspace, document: CampaignFile) -> str:
    """Stores `document` and says what that changed."""
    with workspace.database.write() as connection:
        stored, changed = by_hand.apply(
            connection,
            document.campaign,
            document.templates,
            document.folder,
            who=operator(),
            now=datetime.now(UTC),
        )
    key = document.campaign.campaign
    return f"{key} is at version {stored.version}" + ("" if changed else ", unchanged")


def register(settings: Settings, keys: list[str]) -> None:
    """The campaigns are Dagster partitions."""
    with open_instance(settings) as instance:
        for key in keys:
            register_campaign(instance, key)


def _rehearse(documents: list[tuple[Path, CampaignFile]], settings: Settings) -> None:
    """What a rehearsal finds is printed.

    Raises:
        AicmoError: If a campaign may not start with what was found.
    """
    blocked = []
    with open_workspace(settings) as workspace:
        for path, document in documents:
            faults, leads = rehearse_file(workspace, document, datetime.now(UTC), Dns())
            click.echo(f"{path}: rehearsed over {leads} leads, {len(faults)} faults")
            for text in fault_texts(faults):
                click.echo(f"  {text}")
            if any(fault.blocks for fault in faults):
                blocked.append(str(path))
    if blocked:
        raise AicmoError(f"{', '.join(blocked)}: may not start; mend what is listed above")


def _missing_keys(path: Path, document: CampaignFile, settings: Settings) -> list[Problem]:
    """The providers that the document names and that there is no key for."""
    named: dict[str, str] = {
        f"sources[{position}].type": source.type
        for position, source in enumerate(document.campaign.sources)
    }
    if document.campaign.enrich:
        for position, provider in enumerate(document.campaign.enrich.waterfall):
            named[f"enrich.waterfall[{position}]"] = provider
    providers = {"apollo": settings.apollo, "dropcontact": settings.dropcontact}
    return [
        Problem(
            str(path), at, f"{name!r}, without a key", f"AICMO_{name.upper()}_API_KEY to be set"
        )
        for at, name in named.items()
        if name in providers and providers[name].api_key is None
    ]


def _read_all(files: tuple[Path, ...]) -> list[tuple[Path, CampaignFile]]:
    """Every document, or the problems of all of them together."""
    documents: list[tuple[Path, CampaignFile]] = []
    problems: list[Problem] = []
    for path in files:
        try:
            documents.append((path, read_campaign_file(path)))
        except BadInput as error:
            problems += error.problems
    keys: dict[str, Path] = {}
    for path, document in documents:
        first = keys.setdefault(document.campaign.campaign, path)
        if first != path:
            expected = f"a key of its own: {first} has it too"
            problems.append(
                Problem(str(path), "campaign", repr(document.campaign.campaign), expected)
            )
    if problems:
        raise BadInput(*problems)
    return documents
