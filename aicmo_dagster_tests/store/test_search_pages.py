from datetime import timedelta

from aicmo_dagster.store.database import Database
from aicmo_dagster.store.search_pages import (
    FoundPage,
    forget_old_searches,
    forget_pages,
    kept_pages,
    put_page,
)
from aicmo_dagster_tests.samples import NOON

DAY = timedelta(days=1)


def put(
    database: Database, page: int, name: str = "Zoë", search: str = "s", **more: object
) -> None:
    found = FoundPage(page, 250, [{"external_id": str(page), "first_name": name}], NOON)
    with database.write() as connection:
        put_page(connection, "spring", search, FoundPage(**{**vars(found), **more}))


def kept(database: Database, search: str = "s") -> dict[int, str]:
    with database.read() as connection:
        pages = kept_pages(connection, "spring", search)
    return {number: page.people[0]["first_name"] for number, page in pages.items()}


def test_pages_are_kept_in_their_order_whenever_they_came(database: Database) -> None:
    for page in (3, 1, 2):
        put(database, page)
    assert list(kept(database)) == [1, 2, 3]


def test_a_page_is_kept_as_it_was_shown(database: Database) -> None:
    """Half an emoji, which JSON allows, too."""
    put(database, 1, "\ud83d half")
    with database.read() as connection:
        (page,) = kept_pages(connection, "spring", "s").values()
    assert page == FoundPage(1, 250, [{"external_id": "1", "first_name": "\ud83d half"}], NOON)


def test_a_page_that_is_shown_again_replaces_the_other(database: Database) -> None:
    put(database, 1, "before", total=None)
    put(database, 1, "after")
    assert kept(database) == {1: "after"}


def test_other_searches_are_others(database: Database) -> None:
    put(database, 1, search="s")
    put(database, 2, search="t")
    assert (list(kept(database, "s")), list(kept(database, "t"))) == ([1], [2])


def test_a_search_of_which_one_page_is_too_old_is_forgotten_as_a_whole(database: Database) -> None:
    put(database, 1, found_at=NOON - 2 * DAY)
    put(database, 2)
    put(database, 1, search="t")
    with database.write() as connection:
        forget_old_searches(connection, "autumn", NOON)
        forget_old_searches(connection, "spring", NOON - 3 * DAY)
    assert list(kept(database)) == [1, 2]
    with database.write() as connection:
        forget_old_searches(connection, "spring", NOON - DAY)
    assert (kept(database), list(kept(database, "t"))) == ({}, [1])


def test_what_is_forgotten_is_gone_and_nothing_else(database: Database) -> None:
    put(database, 1, search="s")
    put(database, 1, search="t")
    with database.write() as connection:
        forget_pages(connection, "spring", ["s"])
        forget_pages(connection, "autumn", ["t"])
    assert (kept(database, "s"), list(kept(database, "t"))) == ({}, [1])
