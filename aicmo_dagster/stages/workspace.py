"""What a stage works on: the settings and the open database. Not here: what a stage does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aicmo_dagster.settings import Settings
from aicmo_dagster.store.campaigns import StoredCampaign, load_campaign
from aicmo_dagster.store.database import Database, open_database


@dataclass(frozen=True)
class Workspace:
    """The settings and the open database."""

    settings: Settings
    database: Database

    def campaign(self, key: str, version: int | None = None) -> StoredCampaign:
        """The campaign `key`, as applied last or in `version`."""
        with self.database.read() as connection:
            return load_campaign(connection, key, version)


@contextmanager
def open_workspace(settings: Settings) -> Iterator[Workspace]:
    """A workspace whose database is brought up to date first and closed at the end."""
    database = open_database(settings.database_url, settings.database_limits)
    try:
        yield Workspace(settings, database)
    finally:
        database.close()
