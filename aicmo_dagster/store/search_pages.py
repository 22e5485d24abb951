"""Pages that a search has shown so far, kept until the harvest that they are for has ended.

Not here: asking for pages (`harvesting.search`), or the leads that are made of them (`frames`).
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.store.tables import search_pages

_COLUMNS = search_pages.c
_KEY = list(search_pages.primary_key)


@dataclass(frozen=True)
class FoundPage:
    """One page of a search.

    Args:
        page: Its number, from 1 on.
        total: How many people the search had by then, if it was told.
        people: The fields of each, in the order in which they stand there.
        found_at: When it was shown.
    """

    page: int
    total: int | None
    people: list[dict[str, str]] = field(repr=False)
    found_at: datetime


def put_page(connection: sa.Connection, campaign: str, search: str, found: FoundPage) -> None:
    """The page is kept, instead of what was shown in its place before.

    Args:
        connection: From `Database.write`.
        campaign: Whose search it is.
        search: What makes it this search: a digest of its filters.
        found: The page.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    # In ASCII: JSON may carry half a surrogate pair, which neither engine stores.
    values = {"total": found.total, "people": json.dumps(found.people), "found_at": found.found_at}
    statement = dialect.insert(search_pages).values(
        campaign=campaign, search=search, page=found.page, **values
    )
    connection.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=values))


def kept_pages(connection: sa.Connection, campaign: str, search: str) -> dict[int, FoundPage]:
    """Page number to page of the search, in order."""
    query = (
        sa.select(_COLUMNS.page, _COLUMNS.total, _COLUMNS.people, _COLUMNS.found_at)
        .where(_COLUMNS.campaign == campaign, _COLUMNS.search == search)
        .order_by(_COLUMNS.page)
    )
    return {
        row.page: FoundPage(row.page, row.total, json.loads(row.people), row.found_at)
        for row in connection.execute(query)
    }


def forget_old_searches(connection: sa.Connection, campaign: str, since: datetime) -> None:
    """Nothing is kept of searches of the campaign that showed a page before `since`."""
    old = sa.select(_COLUMNS.search).where(_COLUMNS.campaign == campaign, _COLUMNS.found_at < since)
    connection.execute(
        search_pages.delete().where(_COLUMNS.campaign == campaign, _COLUMNS.search.in_(old))
    )


def forget_pages(connection: sa.Connection, campaign: str, searches: Collection[str]) -> None:
    """Nothing is kept of these searches of the campaign."""
    connection.execute(
        search_pages.delete().where(
            _COLUMNS.campaign == campaign, _COLUMNS.search.in_(list(searches))
        )
    )
