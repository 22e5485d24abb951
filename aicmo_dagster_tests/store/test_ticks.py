"""The memory of the cron: a tick is taken once, and an edit does not fire for the past."""

from datetime import datetime, timedelta
from pathlib import Path

from aicmo_dagster.domain.schedules import Tick
from aicmo_dagster.store import ticks
from aicmo_dagster.store.campaigns import apply_campaign, archive_campaign
from aicmo_dagster.store.database import Database
from aicmo_dagster_tests.samples import NOON, campaign

HOUR = timedelta(hours=1)
TICK = Tick(NOON, "spring", "harvest")
DAILY = {"harvest": "0 6 * * *"}


def apply(database: Database, at: datetime, name: str = "Spring", **schedule: object) -> None:
    document = campaign("spring", name=name, schedule=schedule)
    with database.write() as connection:
        apply_campaign(connection, document, {}, Path("folder"), at)


def since(database: Database) -> datetime:
    with database.read() as connection:
        return ticks.dealt_until(connection)["spring", "harvest"]


def claim(database: Database, *due: Tick, **sorts: Tick) -> list[Tick]:
    with database.write() as connection:
        return ticks.claim_ticks(
            connection,
            due,
            {tick: tick.key for tick in due},
            {tick: "busy" for name, tick in sorts.items() if name == "skipped"},
            {tick for name, tick in sorts.items() if name == "quiet"},
            NOON,
        )


def test_ticks_count_from_the_last_change_of_the_schedule(database: Database) -> None:
    apply(database, NOON, **DAILY)
    assert since(database) == NOON
    apply(database, NOON + HOUR, name="Summer", **DAILY)
    assert since(database) == NOON, "another name is no other schedule"
    apply(database, NOON + 2 * HOUR, harvest="30 6 * * *")
    assert since(database) == NOON + 2 * HOUR


def test_an_archived_campaign_has_no_schedule_and_counts_anew_when_it_is_back(
    database: Database,
) -> None:
    apply(database, NOON, **DAILY)
    with database.write() as connection:
        archive_campaign(connection, "spring", NOON + HOUR)
        assert ticks.active_schedules(connection) == {}
    apply(database, NOON + 2 * HOUR, **DAILY)
    with database.read() as connection:
        assert ticks.active_schedules(connection)["spring"].harvest == "0 6 * * *"
    assert since(database) == NOON + 2 * HOUR


def test_a_tick_is_taken_once_and_older_ones_with_it(database: Database) -> None:
    apply(database, NOON - HOUR, **DAILY)

    assert claim(database, TICK) == [TICK]
    assert claim(database, TICK) == []
    assert claim(database, Tick(NOON - HOUR, "spring", "harvest")) == []
    assert since(database) == NOON
    assert claim(database, Tick(NOON, "spring", "nurture")) != []


def test_what_is_skipped_is_taken_with_its_reason_and_what_is_quiet_without_a_word(
    database: Database,
) -> None:
    apply(database, NOON - HOUR, **DAILY)
    quiet = Tick(NOON, "spring", "nurture")

    assert claim(database, TICK, quiet, skipped=TICK, quiet=quiet) == []
    assert claim(database, TICK, quiet) == []
    with database.read() as connection:
        (past,) = ticks.past_ticks(connection, "spring", 10)
        assert ticks.open_ticks(connection) == []
    assert (past.tick, past.state, past.reason) == (TICK, "skipped", "busy")


def test_a_claimed_tick_is_open_until_it_is_finished(database: Database) -> None:
    apply(database, NOON - HOUR, **DAILY)
    claim(database, TICK)
    with database.write() as connection:
        (claimed,) = ticks.open_ticks(connection)
        assert (claimed.tick, claimed.run_key, claimed.claimed_at) == (TICK, TICK.key, NOON)
        ticks.finish_tick(connection, TICK, ticks.FAILED, "no key", NOON + HOUR)
        ticks.finish_tick(connection, TICK, ticks.SUCCEEDED, "", NOON + 2 * HOUR)
        (past,) = ticks.past_ticks(connection, "spring", 10)
        assert (past.state, past.reason, past.finished_at) == ("failed", "no key", NOON + HOUR)


def test_history_is_forgotten_and_its_ticks_do_not_come_again(database: Database) -> None:
    apply(database, NOON - HOUR, **DAILY)
    later = Tick(NOON + HOUR, "spring", "harvest")
    claim(database, TICK)
    claim(database, later)
    with database.write() as connection:
        ticks.finish_tick(connection, TICK, ticks.SUCCEEDED, "", NOON)
        assert ticks.forget_before(connection, NOON + 2 * HOUR) == 1, "the other is open"
    assert claim(database, TICK) == []
