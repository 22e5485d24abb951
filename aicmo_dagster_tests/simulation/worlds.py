"""Worlds for tests: a campaign over people of the market, without limits unless it says some."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.simulation.behaviour import Behaviour
from aicmo_dagster.simulation.clock import VirtualClock
from aicmo_dagster.simulation.market import FIELDS, Market
from aicmo_dagster.simulation.post import Journal
from aicmo_dagster.simulation.world import World
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster_tests.samples import campaign

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
LIVELY = Behaviour(replies=0.15, away=0.08, unsubscribes=0.05, complains=0.01, dead=0.08)
"""People who do much, so that a small world holds everything."""

FIT = {"titles": ["revenue operations"], "countries": ["NO", "SE"], "employees": [51, 500]}
TWO_STEPS = {
    "everyone": {
        "steps": [
            {"id": "intro", "subject": "Hello", "body": "Hi {{ first_name | default('there') }}."},
            {"id": "nudge", "wait": {"days": 2}, "body": "And?"},
        ]
    }
}
SENDER = {"name": "Ida", "address": "ida@acme.example", "postal_address": "Kai 7, 5003 Bergen"}
ALWAYS = {
    "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    "hours": "00:00-24:00",
    "jitter_minutes": 0,
}


def living(key: str = "spring", **changes: Any) -> Campaign:
    """A campaign of two messages with crons, which hands over to a file."""
    csv = {"type": "csv", "path": "market.csv", "columns": {name: name for name in FIELDS}}
    document = {
        "sources": [csv],
        "schedule": {"harvest": "0 6 * * 1", "nurture": "*/30 * * * *"},
        "scoring": {"fit": FIT},
        "sequences": TWO_STEPS,
        "nurture": nurture(),
    }
    return campaign(key, **(document | changes))


def nurture(**changes: Any) -> dict[str, Any]:
    """The part of a document that says how mail is sent."""
    when = {"replied": True, "clicks": 2}
    return {"sender": SENDER, "window": ALWAYS, "graduate": {"when": when, "to": "csv"}} | changes


def settle(workspace: Workspace, document: Campaign, at: datetime = MONDAY) -> None:
    """The campaign is applied; its files lie in the workspace's home."""
    with workspace.database.write() as connection:
        apply_campaign(connection, document, {}, workspace.settings.home, at)


def market(folder: Path, people: int, seed: int = 1) -> None:
    """The list that campaigns of `living` read."""
    Market(living(), people, seed).write(folder / "market.csv")


def world(
    workspace: Workspace, start: datetime = MONDAY, behaviour: Behaviour = LIVELY, seed: int = 1
) -> World:
    """A world over the workspace's campaigns, which goes on where one before it ended."""
    journal = Journal(workspace.settings.home / "journal")
    return World(workspace, behaviour, seed, VirtualClock(start), journal)
