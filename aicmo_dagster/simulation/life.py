"""One life of one campaign: a scratch workspace, its leads, a world, and what became of it.

Nothing of the user's is written, and nothing leaves the machine. Not here: several lives held
against each other (`rehearsal`).
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.sections.sources import ApolloSource, CsvSource
from aicmo_dagster.settings import Settings
from aicmo_dagster.simulation.behaviour import Behaviour
from aicmo_dagster.simulation.clock import VirtualClock
from aicmo_dagster.simulation.funnel import Funnel, read_funnel
from aicmo_dagster.simulation.market import FIELDS, Market, latent_fits
from aicmo_dagster.simulation.post import Journal
from aicmo_dagster.simulation.recipients import Fit
from aicmo_dagster.simulation.world import World
from aicmo_dagster.sources.campaign_files import CampaignFile
from aicmo_dagster.stages.workspace import Workspace, open_workspace
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.frames import read_frame

MOST_SEARCHED = 1_000
"""People of the market that stand in for those that a search of Apollo would find."""

HARVEST, NURTURE = "0 6 * * *", "*/15 * * * *"
"""The schedule of a campaign that states none."""

PUBLIC_URL = "https://rehearsal.invalid"


@dataclass(frozen=True)
class Setting:
    """What is to be lived.

    Args:
        document: The campaign.
        start: When it begins.
        days: How many days it lasts.
        leads: How many people of the market stand in for the document's own; none for its own.
        behaviour: How recipients are.
    """

    document: CampaignFile
    start: datetime
    days: int
    leads: int | None
    behaviour: Behaviour


@dataclass(frozen=True)
class Life:
    """What became of a campaign.

    Args:
        seed: Of all chance.
        funnel: Its figures.
        credits: What each provider would have been paid.
    """

    seed: int
    funnel: Funnel
    credits: dict[str, int]


def live(setting: Setting, seed: int) -> Life:
    """The campaign is lived through once."""
    with scratch(seed) as workspace:
        credits = settle_in(workspace, setting, seed)
        world = open_world(workspace, setting, seed)
        world.run(setting.start + timedelta(days=setting.days))
        campaign = setting.document.campaign
        funnel = read_funnel(workspace, campaign, world.passes, setting.start, setting.days)
        world.close()
    return Life(seed, funnel, dict(sorted(credits.items())))


@contextmanager
def scratch(seed: int) -> Iterator[Workspace]:
    """A workspace of its own, which vanishes; its keys are those of the seed."""
    with tempfile.TemporaryDirectory(prefix="aicmo-simulation-") as folder:
        home = Path(folder)
        settings = Settings(
            home=home,
            database_url=f"sqlite:///{home / 'aicmo.db'}",
            dagster_home=home / "dagster",
            public_url=PUBLIC_URL,
            configured_secret_key=f"simulation {seed}",
        )
        with open_workspace(settings) as workspace:
            yield workspace


def settle_in(workspace: Workspace, setting: Setting, seed: int) -> Counter[str]:
    """The campaign is applied over leads that are at hand; tells the credits they would cost."""
    document, home = setting.document, workspace.settings.home
    credits: Counter[str] = Counter()
    sources = list(_sources(setting, seed, home, credits))
    campaign = _harmless(document.campaign).model_copy(update={"sources": sources, "enrich": None})
    with workspace.database.write() as connection:
        apply_campaign(connection, campaign, document.templates, document.folder, setting.start)
    return credits


def open_world(workspace: Workspace, setting: Setting, seed: int) -> World:
    """The world of a campaign that was settled in, or of one that a kill has ended."""
    campaign = setting.document.campaign
    return World(
        workspace,
        setting.behaviour,
        seed,
        VirtualClock(setting.start),
        Journal(workspace.settings.home / "journal"),
        _fit(workspace, campaign, seed),
        still=True,
    )


def notes_on(setting: Setting) -> list[str]:
    """What a rehearsal does otherwise than the campaign would, in words."""
    campaign, notes = setting.document.campaign, []
    if setting.leads is not None:
        notes.append(f"{setting.leads} people of the market stand in for the campaign's sources")
    elif any(isinstance(source, ApolloSource) for source in campaign.sources):
        notes.append(f"the market stands in for Apollo's search, up to {MOST_SEARCHED} people")
    if campaign.enrich is not None:
        notes.append("no provider is asked; each address found counts as one credit")
    if campaign.nurture.graduate is not None and campaign.nurture.graduate.to != "csv":
        notes.append(f"handoffs go to a file and not to {campaign.nurture.graduate.to}")
    if campaign.nurture.escalate:
        notes.append("nobody is reminded of handoffs")
    if _scheduled(campaign) is not campaign:
        notes.append(f"no schedule: harvest '{HARVEST}', nurture '{NURTURE}' are taken")
    if campaign.scoring.model != "scorecard":
        notes.append("scores are the scorecard's, and no model is trained meanwhile")
    return notes


def _sources(setting: Setting, seed: int, home: Path, credits: Counter[str]) -> Iterator[CsvSource]:
    """Where the leads are from: the document's own files, and lists of the market."""
    campaign, folder = setting.document.campaign, setting.document.folder
    if setting.leads is not None:
        yield _list_of(Market(campaign, setting.leads, seed, credits=credits), home / "market.csv")
        return
    for position, source in enumerate(campaign.sources):
        if isinstance(source, CsvSource) and source.is_remote:
            yield source
        elif isinstance(source, CsvSource):
            yield source.model_copy(update={"path": str(folder / source.path)})
        else:
            size = min(source.max_leads, MOST_SEARCHED)
            market = Market(campaign, size, seed + 1000 * position, unlisted=True, credits=credits)
            yield _list_of(market, home / f"searched-{position}.csv")


def _list_of(market: Market, path: Path) -> CsvSource:
    market.write(path)
    columns = {name: name for name in FIELDS}
    return CsvSource.model_validate({"type": "csv", "path": str(path), "columns": columns})


def _harmless(campaign: Campaign) -> Campaign:
    """The campaign with its ticks, and nothing in it that leads out of the machine."""
    campaign = _scheduled(campaign)
    schedule = campaign.schedule.model_copy(update={"train": None})
    graduate = campaign.nurture.graduate
    if graduate is not None:
        graduate = graduate.model_copy(update={"to": "csv", "url": None})
    nurture = campaign.nurture.model_copy(update={"graduate": graduate, "escalate": []})
    scoring = campaign.scoring.model_copy(update={"model": "scorecard"})
    return campaign.model_copy(
        update={"schedule": schedule, "nurture": nurture, "scoring": scoring}
    )


def _scheduled(campaign: Campaign) -> Campaign:
    """`campaign` itself where it has ticks, else with the usual ones."""
    given = campaign.schedule
    if given.full_pipeline or (given.harvest and given.nurture):
        return campaign
    ticks = {"harvest": given.harvest or HARVEST, "nurture": given.nurture or NURTURE}
    return campaign.model_copy(update={"schedule": given.model_copy(update=ticks)})


def _fit(workspace: Workspace, campaign: Campaign, seed: int) -> Fit:
    """The latent fit of an address, looked up in the leads as they are when first asked for."""
    known: dict[str, float] = {}

    def fit(address: str) -> float:
        if address not in known:
            names = ["email", "title", "seniority", "industry", "country", "employees"]
            with workspace.database.read() as connection:
                leads = read_frame(connection, "raw_leads", campaign.campaign, names)
            known.update(latent_fits(leads, campaign.scoring.fit, seed))
            known.setdefault(address, 0.5)
        return known[address]

    return fit


def midnight(now: datetime) -> datetime:
    """The midnight, in UTC, that the day of `now` began with."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
