"""Campaigns that harvest from the stand-in, and what became of their leads and calls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.settings import Provider
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.tables import provider_calls
from aicmo_dagster_tests.providers.accounts import GOOD
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

SEARCH = {"type": "apollo", "search": {"person_locations": ["Norway"]}, "max_leads": 50}
BOTH = {"waterfall": ["apollo", "dropcontact"], "max_credits": 500}

Harvest = Callable[..., Report]


AT_ONCE = 4
"""Requests of one provider in flight, unless a test says otherwise."""


def open_harvest_workspace(
    folder: Path, database_url: str, url: str, at_once: int = AT_ONCE, timeout: float = 60
) -> Workspace:
    """A workspace whose providers are the stand-in at `url`."""
    return open_test_workspace(
        folder,
        database_url,
        apollo=Provider(f"{url}/apollo", GOOD, at_once, timeout),
        dropcontact=Provider(f"{url}/dropcontact", GOOD, at_once, timeout),
    )


def campaign(workspace: Workspace, key: str = "spring", **changes: Any) -> None:
    """A campaign that searches, and completes what it found."""
    apply(workspace, key, 0, **({"sources": [SEARCH], "enrich": BOTH} | changes))


def search(max_leads: int) -> dict[str, Any]:
    """A source that finds that many."""
    return SEARCH | {"max_leads": max_leads}


def leads(workspace: Workspace, key: str = "spring") -> pd.DataFrame:
    """The campaign's leads."""
    with workspace.database.read() as connection:
        return read_frame(connection, "raw_leads", key)


def addresses(workspace: Workspace, key: str = "spring") -> dict[str, str | None]:
    """External id to address of every lead."""
    found = leads(workspace, key)
    plain = found.astype(object).where(found.notna(), None)
    return dict(zip(plain["external_id"], plain["email"], strict=True))


def calls(workspace: Workspace, *columns: str) -> list[tuple[Any, ...]]:
    """Those columns of every paid call, in the order in which they were begun."""
    with workspace.database.read() as connection:
        query = sa.select(*(provider_calls.c[name] for name in columns))
        return [tuple(row) for row in connection.execute(query.order_by(provider_calls.c.id))]


def call_states(workspace: Workspace) -> list[str]:
    """The states of all paid calls, in order of the alphabet."""
    return sorted(state for (state,) in calls(workspace, "state"))
