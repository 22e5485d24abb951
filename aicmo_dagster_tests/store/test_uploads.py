from datetime import timedelta

import pytest

from aicmo_dagster.errors import NotFound
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.uploads import (
    ABANDONED_AFTER,
    complete,
    list_uploads,
    put_upload,
    read_content,
    remove_upload,
    replace_content,
)
from aicmo_dagster_tests.store.rows import NOW

PARTS = [b"Email\n", "é@acme.example\n".encode()]


def put(database: Database, name: str, days: int = 0) -> int:
    now = NOW + timedelta(days=days)
    columns = {"email": "Email"}
    return put_upload(database, "c", name, "digest", columns, (1, 0), "token:1", now, PARTS)


def test_an_upload_counts_once_it_is_whole_and_replaces_its_name(database: Database) -> None:
    first = put(database, "fair")
    with database.write() as connection:
        assert list_uploads(connection) == []
        complete(connection, first)
    second, other = put(database, "fair"), put(database, "list")
    with database.write() as connection:
        complete(connection, second)
        complete(connection, other)
        found = list_uploads(connection, "c")
        assert [each.id for each in found] == [second, other]
        assert (found[0].columns, found[0].rows) == ({"email": "Email"}, 1)
        assert list_uploads(connection, "d") == []
    assert list(read_content(database, second)) == PARTS
    assert list(read_content(database, first)) == []


def test_what_was_never_finished_is_removed_a_day_later(database: Database) -> None:
    lost = put(database, "lost")
    put(database, "next")
    assert list(read_content(database, lost)) == PARTS
    put(database, "later", ABANDONED_AFTER.days + 1)
    assert list(read_content(database, lost)) == []


def test_an_upload_is_rewritten_and_removed(database: Database) -> None:
    number = put(database, "fair")
    with database.write() as connection:
        complete(connection, number)
        replace_content(connection, number, [b"Email\n"])
    assert list(read_content(database, number)) == [b"Email\n"]
    with database.write() as connection:
        assert remove_upload(connection, "c", number).name == "fair"
        with pytest.raises(NotFound):
            remove_upload(connection, "c", number)
    assert list(read_content(database, number)) == []
