"""Kept answers: made once for many, kept while nothing changes, shown while made anew."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
import sqlalchemy as sa

from aicmo_dagster.api.kept import LEAST_SECONDS, STALE, UNCHANGED_SECONDS, Kept
from aicmo_dagster.store.changes import Changes
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.tables import environments
from aicmo_dagster_tests.samples import NOON


@pytest.fixture
def kept(database: Database) -> Iterator[Kept]:
    made = Kept(Changes(database))
    yield made
    made.stop()


def test_one_answer_is_made_however_many_ask(kept: Kept) -> None:
    begun, go, calls = threading.Event(), threading.Event(), []

    def make() -> bytes:
        calls.append(1)
        begun.set()
        go.wait(10)
        return b"figures"

    with ThreadPoolExecutor(8) as asking:
        first = asking.submit(kept.answer, "a", make)
        begun.wait(10)
        others = [asking.submit(kept.answer, "a", make) for _ in range(7)]
        go.set()
        bodies = {each.result() for each in (first, *others)}

    assert bodies == {b"figures"}
    assert len(calls) == 1
    assert kept.answer("a", make) == b"figures"
    assert len(calls) == 1
    assert kept.answer("b", lambda: b"others") == b"others"


def test_what_cannot_be_made_fails_for_who_asks_and_is_tried_again(kept: Kept) -> None:
    def fail() -> bytes:
        raise LookupError("no such campaign")

    for _ in range(2):
        with pytest.raises(LookupError):
            kept.answer("a", fail)

    assert kept.answer("a", lambda: b"there") == b"there"


def test_an_answer_stays_until_the_database_changes(database: Database) -> None:
    clock, numbers = [0.0], count(1)
    kept = Kept(Changes(database), lambda: clock[0])

    def asked_after(seconds: float) -> int:
        clock[0] += seconds
        return kept.answer("a", lambda: next(numbers))

    assert asked_after(0) == 1
    assert asked_after(STALE * LEAST_SECONDS + 1) == 1
    with database.write() as connection:
        values = {"id": "a", "environment": "b", "claims": 0, "since": NOON}
        connection.execute(environments.insert().values(**values))
    assert asked_after(STALE * LEAST_SECONDS + 1) == 2
    assert asked_after(STALE * LEAST_SECONDS + 1) == 2
    assert asked_after(UNCHANGED_SECONDS) == 3
    kept.stop()


def test_a_stale_answer_is_shown_while_the_next_is_made(database: Database) -> None:
    clock, begun, go = [0.0], threading.Event(), threading.Event()
    kept = Kept(Changes(database), lambda: clock[0])
    kept.answer("a", lambda: "old")
    with database.write() as connection:
        values = {"id": "a", "environment": "b", "claims": 0, "since": NOON}
        connection.execute(environments.insert().values(**values))
    clock[0] += LEAST_SECONDS + 0.5

    def make() -> str:
        begun.set()
        go.wait(10)
        return "new"

    assert kept.answer("a", make) == "old"
    assert begun.wait(10)
    assert kept.answer("a", make) == "old"
    go.set()
    kept.stop()
    assert kept.answer("a", make) == "new"


def test_marks_differ_once_something_was_written(database: Database) -> None:
    changes = Changes(database)
    before = changes.mark()
    with database.read() as connection:
        connection.execute(sa.select(environments))
    assert changes.mark() == before
    with database.write() as connection:
        values = {"id": "a", "environment": "b", "claims": 0, "since": NOON}
        connection.execute(environments.insert().values(**values))

    assert changes.mark() != before
    changes.close()
