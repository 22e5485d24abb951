"""Leads from Apollo's people search: every page up to the campaign's `max_leads`. Free of charge.

Each page is kept as soon as it is shown, so that a harvest that was interrupted goes on from there.
Not here: addresses, which the search does not give (`enrich`).
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import chain

import pandas as pd
import pyarrow
import sqlalchemy as sa

from aicmo_dagster.domain.records import text_rows
from aicmo_dagster.domain.sections.sources import ApolloSource
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.sources.apollo import LARGEST_PAGE, SearchPage
from aicmo_dagster.sources.csv_files import Harvested
from aicmo_dagster.sources.http import RateLimited
from aicmo_dagster.sources.passages import Passage
from aicmo_dagster.stages.harvesting.in_flight import InFlight
from aicmo_dagster.stages.harvesting.providers import Providers, free_requests, key_of
from aicmo_dagster.store.search_pages import (
    FoundPage,
    forget_old_searches,
    kept_pages,
    put_page,
)

TEXT = pd.ArrowDtype(pyarrow.string())

LAST_PAGE = 500
"""Apollo shows no more of a search than LAST_PAGE * LARGEST_PAGE people."""

RESUMED = timedelta(days=2)
"""How long an interrupted search is gone on with; after that it begins anew."""

_SETBACKS = 20
"""How often a limit is met and waited for in a search before that is taken to be the end."""

_ENDPOINT = "apollo/search"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        harvested: The people, as rows for intake.
        search: What its pages are kept under until the harvest has ended; None if it has not been
            shown to the end, so that the next harvest goes on with it.
        notes: What an operator should know.
    """

    harvested: Harvested
    search: str | None
    notes: list[str]


def search_people(providers: Providers, campaign: str, source: ApolloSource, name: str) -> Found:
    """Whom the search finds; a person on two pages is one row.

    Args:
        providers: With a key for Apollo.
        campaign: The campaign's key.
        source: The source of the campaign document.
        name: The source's type and position, such as apollo-2.

    Raises:
        AicmoError: If nothing at all can be had; else a note says what kept it from the end.
    """
    key_of(providers.workspace.settings, "apollo")
    search = _Search(providers, campaign, source, name)
    notes = []
    try:
        search.run()
    except RateLimited as error:
        notes.append(f"source {name} is harvested up to page {search.last} so far: {error}")
    except AicmoError as error:
        if not search.pages:
            raise
        notes.append(f"source {name} is harvested up to page {search.last} only: {error}")
    rows, told = search.rows()
    harvested = Harvested(rows, _no_rejects(), files=len(search.pages), read=len(rows))
    return Found(harvested, None if notes else search.digest, notes + told)


@dataclass
class _Search:
    providers: Providers
    campaign: str
    source: ApolloSource
    name: str
    pages: dict[int, FoundPage] = field(default_factory=dict)
    truncated: bool = False
    _setbacks: int = 0
    _error: AicmoError | None = None

    @property
    def digest(self) -> str:
        """What makes it this search."""
        wanted = json.dumps([self.source.search, LARGEST_PAGE], sort_keys=True)
        return hashlib.sha256(wanted.encode()).hexdigest()[:32]

    @property
    def last(self) -> int:
        """The last page of those that follow one another from the first on."""
        return next(page for page in range(LAST_PAGE + 1) if page + 1 not in self.pages)

    def run(self) -> None:
        """Every page that is wanted is there."""
        since = self.providers.time.now() - RESUMED
        with self.providers.workspace.database.write() as connection:
            forget_old_searches(connection, self.campaign, since)
            self.pages = kept_pages(connection, self.campaign, self.digest)
        if self.pages:
            _log.info("%s: %s goes on after page %d", self.campaign, self.name, self.last)
        while wanted := self._wanted():
            self._ask(wanted)
            _log.info("%s: %s: %d pages are shown", self.campaign, self.name, len(self.pages))

    def rows(self) -> tuple[pd.DataFrame, list[str]]:
        """The people as rows for intake, and what to know of them."""
        people = self._people()
        wanted = people[: self.source.max_leads]
        rows = text_rows(wanted, source=self.name, file="api_search", custom="{}")
        return rows, list(self._told(len(people)))

    def _people(self) -> list[dict[str, str]]:
        """Whom the pages show, in their order, everyone once."""
        found: dict[str, dict[str, str]] = {}
        for person in self._shown():
            if "external_id" in person:  # there is nothing else to ask for such people by
                found.setdefault(person["external_id"], person)
        return list(found.values())

    def _shown(self) -> Iterator[dict[str, str]]:
        return chain.from_iterable(page.people for _, page in sorted(self.pages.items()))

    @property
    def _total(self) -> int | None:
        """How many people the search has, as told last; pages drift, and so does this."""
        return next((self.pages[n].total for n in sorted(self.pages, reverse=True)), None)

    def _wanted(self) -> list[int]:
        """The pages to ask for now: all that are lacking, as far as that can be known."""
        lacking = self.source.max_leads - len(self._people())
        if self.truncated or lacking <= 0:
            return []
        empty = [number for number, page in self.pages.items() if not page.people]
        end = min([*empty, LAST_PAGE, self._end()])
        pages = [number for number in range(1, end + 1) if number not in self.pages]
        return pages[: -(-lacking // LARGEST_PAGE)]

    def _end(self) -> int:
        """The last page by the total; where none is told, the one after the last that is shown."""
        if self._total is None:
            return max(self.pages, default=0) + 1
        return -(-self._total // LARGEST_PAGE)

    def _ask(self, pages: list[int]) -> None:
        width = self.providers.workspace.settings.apollo.at_once
        flight: InFlight[int, SearchPage] = free_requests(
            self.providers,
            _ENDPOINT,
            width,
            self._request,
            lambda connection, page, given: self._land(connection, flight, page, given),
        )
        flight.queue.extend(pages)
        flight.run()
        if self._error is not None:
            raise self._error

    def _request(self, page: int) -> Callable[[Passage], SearchPage]:
        apollo = self.providers.apollo
        assert apollo is not None
        return partial(apollo.search, self.source.search, page, LARGEST_PAGE)

    def _land(
        self,
        connection: sa.Connection,
        flight: InFlight[int, SearchPage],
        page: int,
        given: SearchPage | AicmoError,
    ) -> None:
        if isinstance(given, RateLimited) and self._setbacks < _SETBACKS:
            self._setbacks += 1
            flight.queue.appendleft(page)
        elif isinstance(given, AicmoError):
            self._error = self._error or given
            flight.queue.clear()
        elif given.truncated:
            self.truncated = True
            flight.queue.clear()
        else:
            found = FoundPage(page, given.total, given.people, self.providers.time.now())
            put_page(connection, self.campaign, self.digest, found)
            self.pages[page] = found

    def _told(self, people: int) -> Iterator[str]:
        """What the pages show of the search that an operator should know."""
        repeats = sum(1 for _ in self._shown()) - people
        if repeats:
            yield f"source {self.name}: {repeats} people were shown on two pages, and count once"
        if people >= self.source.max_leads or self._total is None:
            return
        most = LAST_PAGE * LARGEST_PAGE
        if self.truncated or self._total > most:
            yield (
                f"source {self.name}: Apollo shows {most:,} people of a search at most; "
                "split its filters into several sources to see the others"
            )
        elif people < self._total:
            yield f"source {self.name}: {self._total - people} people fewer than Apollo counts"


def _no_rejects() -> pd.DataFrame:
    columns = ["source", "file", "row", "reason", "content"]
    return pd.DataFrame(columns=columns).astype({name: TEXT for name in columns if name != "row"})
