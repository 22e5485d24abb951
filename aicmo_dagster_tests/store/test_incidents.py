"""Incidents are opened once, told once, and their end is told once."""

from datetime import datetime, timedelta

from aicmo_dagster.domain.incidents import LATE, RUN_FAILED, Fault, Incident
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.incidents import (
    anything_to_tell,
    claim_untold,
    forget_before,
    note_faults,
    note_told,
    note_untold,
    open_incidents,
)
from aicmo_dagster_tests.samples import NOON

FAILED = Fault(RUN_FAILED, "spring", "raw_leads", "no file", "r1")
MINUTE = timedelta(minutes=1)


def noted(database: Database, at: datetime, *faults: Fault) -> tuple[list[Fault], list[Fault]]:
    with database.write() as connection:
        return note_faults(connection, faults, at)


def claimed(database: Database, at: datetime) -> Incident | None:
    with database.write() as connection:
        untold = claim_untold(connection, at, at + 5 * MINUTE)
    return untold and untold.incident


def told(database: Database, incident: Incident | None, at: datetime) -> None:
    assert incident is not None
    with database.write() as connection:
        note_told(connection, incident, at)


def test_a_fault_that_is_found_again_is_the_same_incident(database: Database) -> None:
    again = Fault(RUN_FAILED, "spring", "raw_leads", "another reason", "r2")
    other = Fault(LATE, "spring", "", "late")

    assert noted(database, NOON, FAILED) == ([FAILED], [])
    assert noted(database, NOON + MINUTE, again, other) == ([other], [])

    with database.read() as connection:
        assert [each.fault for each in open_incidents(connection, "spring")] == [FAILED, other]
        assert open_incidents(connection, "autumn") == []


def test_its_beginning_and_its_end_are_told_once_each(database: Database) -> None:
    noted(database, NOON, FAILED)
    first = claimed(database, NOON)
    assert claimed(database, NOON) is None, "somebody is at it"
    told(database, first, NOON)
    assert claimed(database, NOON + 10 * MINUTE) is None

    assert noted(database, NOON + MINUTE) == ([], [FAILED])

    last = claimed(database, NOON + MINUTE)
    assert last is not None
    assert last.closed_at == NOON + MINUTE
    told(database, last, NOON + MINUTE)
    assert claimed(database, NOON + 10 * MINUTE) is None
    assert noted(database, NOON + 2 * MINUTE, FAILED) == ([FAILED], []), "a new incident"


def test_one_that_is_over_before_anybody_was_told_is_not_told(database: Database) -> None:
    noted(database, NOON, FAILED)
    taken = claimed(database, NOON)
    assert taken is not None
    noted(database, NOON)
    with database.write() as connection:
        note_untold(connection, taken, "no answer", NOON + MINUTE)
        assert not anything_to_tell(connection, NOON + 10 * MINUTE)


def test_one_that_ends_while_it_is_told_has_its_end_told(database: Database) -> None:
    noted(database, NOON, FAILED)
    taken = claimed(database, NOON)
    noted(database, NOON)

    told(database, taken, NOON)

    last = claimed(database, NOON)
    assert last is not None
    assert last.closed_at == NOON


def test_a_notice_that_did_not_arrive_is_due_again_also_if_its_teller_died(
    database: Database,
) -> None:
    noted(database, NOON, FAILED)
    taken = claimed(database, NOON)
    assert taken is not None
    assert claimed(database, NOON + 5 * MINUTE) == taken, "after its lease"
    with database.write() as connection:
        note_untold(connection, taken, "HTTP 500", NOON + 30 * MINUTE)

    assert claimed(database, NOON + 29 * MINUTE) is None
    assert claimed(database, NOON + 30 * MINUTE) == taken


def test_only_incidents_that_are_over_are_forgotten(database: Database) -> None:
    over = Fault(LATE, "spring", "", "late")
    noted(database, NOON, FAILED, over)
    noted(database, NOON + MINUTE, FAILED)

    with database.write() as connection:
        assert forget_before(connection, NOON + MINUTE) == 0
        assert forget_before(connection, NOON + 2 * MINUTE) == 1
        assert [each.fault for each in open_incidents(connection)] == [FAILED]
