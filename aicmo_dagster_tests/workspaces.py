"""A whole workspace for tests: settings, database, applied campaigns. Not here: Dagster."""

from pathlib import Path
from typing import Any

from aicmo_dagster.settings import Settings
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.database import open_database
from aicmo_dagster_tests.samples import NOON, campaign, leads_csv


def open_test_workspace(folder: Path, database_url: str, **settings: Any) -> Workspace:
    """A workspace in `folder` on an empty database; close its database at the end."""
    home = Settings(
        home=folder,
        database_url=database_url,
        dagster_home=folder / "dagster",
        configured_secret_key="a key for tests",
        **settings,
    )
    return Workspace(home, open_database(database_url))


def apply(workspace: Workspace, key: str, leads: int | None, **changes: Any) -> Path:
    """The campaign `key` is applied over a CSV of `leads` leads, or over none that exists.

    Returns:
        The CSV's path.
    """
    folder = workspace.settings.home / key
    folder.mkdir(exist_ok=True)
    path = folder / "leads.csv"
    if leads is not None:
        path.write_text(leads_csv(leads), encoding="utf-8")
    columns = {"email": "Email", "first_name": "First", "company": "Account"}
    sources = [{"type": "csv", "path": "leads.csv", "columns": columns}]
    document = campaign(key, **({"sources": sources} | changes))
    with workspace.database.write() as connection:
        apply_campaign(connection, document, {}, folder, NOON)
    return path
