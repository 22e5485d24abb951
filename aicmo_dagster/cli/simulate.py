"""`aicmo simulate`: a campaign lived through on a virtual clock; nothing is sent or stored."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click

from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.settings import load_settings
from aicmo_dagster.simulation.behaviour import SOURCES, Behaviour, with_rates
from aicmo_dagster.simulation.history import behaviour_from_history
from aicmo_dagster.simulation.life import Setting, midnight
from aicmo_dagster.simulation.rehearsal import Rehearsal, rehearse
from aicmo_dagster.simulation.report import lines, side_by_side
from aicmo_dagster.sources.campaign_files import CampaignFile, read_campaign_file
from aicmo_dagster.stages.workspace import open_workspace


@dataclass(frozen=True)
class Asked:
    """What is to be simulated, as the command line says it."""

    campaign: str
    leads: int | None
    days: int
    seed: int
    lives: int
    start: str
    rates: tuple[str, ...]
    from_history: bool


@click.command()
@click.argument("campaign")
@click.option("--leads", type=click.IntRange(1, 100_000), help="Invented people, not its own.")
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of all chance.")
@click.option("--seeds", "lives", type=click.IntRange(1, 100), default=1, help="How many lives.")
@click.option("--start", default="", help="The first day (ISO 8601); today unless given.")
@click.option("--rate", "rates", multiple=True, help="NAME=VALUE: how recipients are; --rates.")
@click.option("--rates", "show_rates", is_flag=True, help="Show the rates and where they are from.")
@click.option("--from-history", is_flag=True, help="Rates by what its recipients did so far.")
@click.option("--compare", type=click.Path(path_type=Path), help="A document beside it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def simulate(
    campaign: str,
    leads: int | None,
    days: int,
    seed: int,
    lives: int,
    start: str,
    rates: tuple[str, ...],
    show_rates: bool,
    from_history: bool,
    compare: Path | None,
    as_json: bool,
) -> None:
    """Live through a campaign, a FILE or a KEY, before a mail is sent.

    The same seed, start and document give the same result.
    """
    asked = Asked(campaign, leads, days, seed, lives, start, rates, from_history)
    setting = _setting(asked)
    if show_rates:
        return _show_rates(setting.behaviour)
    seeds = range(seed, seed + lives)
    rehearsals = [rehearse(setting, seeds)]
    if compare is not None:
        other = replace(setting, document=read_campaign_file(compare))
        rehearsals.append(rehearse(other, seeds))
    return _echo(rehearsals) if as_json else _print(rehearsals, campaign, compare)


def _setting(asked: Asked) -> Setting:
    path = Path(asked.campaign)
    is_file = path.suffix in (".yaml", ".yml", ".json") or path.exists()
    behaviour = Behaviour()
    document = read_campaign_file(path) if is_file else _stored(asked.campaign)
    if asked.from_history:
        with open_workspace(load_settings()) as workspace:
            key = document.campaign.campaign
            behaviour, told = behaviour_from_history(workspace, key, behaviour)
        click.echo(f"rates by {told.messages} messages and {told.answers} answers", err=True)
    behaviour = with_rates(behaviour, dict(map(_rate, asked.rates)))
    return Setting(document, _start(asked.start), asked.days, asked.leads, behaviour)


def _stored(key: str) -> CampaignFile:
    with open_workspace(load_settings()) as workspace:
        stored = workspace.campaign(key)
    return CampaignFile(stored.campaign, stored.templates, stored.folder)


def _rate(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise BadInput(
            Problem("--rate", "", repr(text), "NAME=VALUE, such as replies=0.05")
        ) from None


def _start(text: str) -> datetime:
    if not text:
        return midnight(datetime.now(UTC))
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        expected = "a day such as 2026-03-02, or an instant with an offset"
        raise BadInput(Problem("--start", "", repr(text), expected)) from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _show_rates(behaviour: Behaviour) -> None:
    for name, value in vars(behaviour).items():
        click.echo(f"{name:<16}{value:>9g}  {SOURCES[name]}")


def _echo(rehearsals: list[Rehearsal]) -> None:
    told = [rehearsal.as_document() for rehearsal in rehearsals]
    click.echo(json.dumps(told[0] if len(told) == 1 else told, ensure_ascii=False, sort_keys=True))


def _print(rehearsals: list[Rehearsal], campaign: str, compare: Path | None) -> None:
    if compare is None:
        for line in lines(rehearsals[0]):
            click.echo(line)
        return
    names = (Path(campaign).name, compare.name)
    for line in side_by_side(rehearsals, names):
        click.echo(line)
