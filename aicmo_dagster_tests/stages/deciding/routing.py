"""A campaign whose leads are routed, and what is sent to them; for tests of what happens then."""

from datetime import timedelta
from typing import Any

from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.ledger import state_counts
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply

DAY = timedelta(days=1)


def route(workspace: Workspace, leads: int, *steps: Any) -> None:
    """The campaign `spring` of these steps is applied, and so many leads are in its sequence."""
    apply(workspace, "spring", leads, sequences={"everyone": {"steps": list(steps)}})
    for stage in (harvest, score_leads, qualify_leads, route_leads):
        stage(workspace, "spring", NOON)


def send(workspace: Workspace, days: float = 0) -> Report:
    """What is due so many days after noon is sent."""
    return nurture(workspace, "spring", lambda: NOON + days * DAY)


def states(workspace: Workspace) -> dict[str, int]:
    """How many of the campaign's sends are in which state."""
    with workspace.database.read() as connection:
        return state_counts(connection, "spring")
