"""One intent of a campaign is launching at a time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from aicmo_dagster.store.database import Database
from aicmo_dagster.store.run_intents import (
    LAUNCHED,
    LAUNCHING,
    RunIntent,
    begin_intent,
    settle_intent,
)
from aicmo_dagster_tests.samples import NOON

INTENT = RunIntent("a", "spring", "score", LAUNCHING, None, "token:1", NOON, NOON)


def begin(database: Database, intent: RunIntent) -> RunIntent | None:
    with database.write(durable=True) as connection:
        return begin_intent(connection, intent)


def test_of_many_at_once_one_begins_and_the_others_see_it(database: Database) -> None:
    intents = [replace(INTENT, id=name) for name in "abcdabcd"]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda intent: begin(database, intent), intents))
    assert found.count(None) == 1
    (winner,) = {each.id for each in found if each}
    assert intents[found.index(None)].id == winner
    assert begin(database, replace(INTENT, id="x", campaign="autumn")) is None


def test_what_started_nothing_may_begin_again_and_what_has_its_run_keeps_it(
    database: Database,
) -> None:
    begin(database, INTENT)
    with database.write() as connection:
        assert settle_intent(connection, "a", None)
    assert begin(database, INTENT) is None
    with database.write() as connection:
        assert settle_intent(connection, "a", "run 1")
        assert not settle_intent(connection, "a", None)
        assert not settle_intent(connection, "a", "run 2")
    assert begin(database, INTENT) == replace(INTENT, state=LAUNCHED, run_id="run 1")
    assert begin(database, replace(INTENT, id="b")) is None
