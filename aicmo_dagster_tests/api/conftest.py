"""The public service and the REST API over real HTTP."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from aicmo_dagster.domain.links import click_token, link_name, open_token
from aicmo_dagster.domain.tokens import unsubscribe_token
from aicmo_dagster.domain.tracking import Link
from aicmo_dagster.settings import Settings
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.events import events_of_lead
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.links import keep_links
from aicmo_dagster_tests.api.rest import Rest, running_rest
from aicmo_dagster_tests.api.servers import running
from aicmo_dagster_tests.conftest import NewDatabase
from aicmo_dagster_tests.samples import NOON, SECRET, lead_id, raw_leads

TARGET = "https://acme.example/offer?a=1&b=%20x"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
LEAD = lead_id(1)


@dataclass(frozen=True)
class Served:
    """A running service with a lead of the campaign `spring` and one link."""

    client: httpx.Client
    database: Database
    settings: Settings
    link: str

    def click(self, step: str = "intro") -> str:
        return f"/t/c/{click_token(SECRET, 'spring', LEAD, step, self.link)}"

    def pixel(self, step: str = "intro") -> str:
        return f"/t/o/{open_token(SECRET, 'spring', LEAD, step)}"

    def page(self, lead: str = LEAD) -> str:
        return f"/u/{unsubscribe_token(SECRET, 'spring', lead)}"

    def events(self, count: int, lead: str = LEAD) -> list[dict[str, Any]]:
        """The lead's events, once there are `count` of them in the database."""
        for _ in range(200):
            with self.database.read() as connection:
                found = events_of_lead(connection, "spring", lead)
            if len(found) >= count:
                return found
            time.sleep(0.05)
        return found


Serve = Callable[..., Any]


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory, new_sqlite: NewDatabase) -> Iterator[Rest]:
    """The REST API in this process, one for all tests of a module."""
    with running_rest(tmp_path_factory.mktemp("rest"), new_sqlite()) as started:
        yield started


@pytest.fixture
def serve(tmp_path: Path, database_url: str) -> Iterator[Serve]:
    """Starts a service; settings may be given."""
    opened = open_database(database_url)
    link = link_name(SECRET, "spring", TARGET)
    with opened.write() as connection:
        replace_frame(connection, "raw_leads", "spring", raw_leads(2))
        keep_links(connection, "spring", {link: Link(TARGET)}, NOON)

    @contextmanager
    def start(**changes: Any) -> Iterator[Served]:
        settings = Settings(
            home=tmp_path,
            database_url=database_url,
            dagster_home=tmp_path,
            configured_secret_key=SECRET.decode(),
            **changes,
        )
        headers = {"User-Agent": BROWSER}
        with (
            running(settings) as address,
            httpx.Client(base_url=address, headers=headers, trust_env=False) as client,
        ):
            yield Served(client, opened, settings, link)

    yield start
    opened.close()


@pytest.fixture
def served(serve: Serve) -> Iterator[Served]:
    """A running service."""
    with serve() as running_service:
        yield running_service
