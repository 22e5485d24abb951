"""Enrolments: who is in a sequence, and that nobody is in two."""

from datetime import timedelta

import pandas as pd
import pytest

from aicmo_dagster.store.campaigns import apply_campaign, archive_campaign
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.enrolments import (
    end_enrolments,
    enrol,
    enrolled,
    withdraw_enrolments,
)
from aicmo_dagster.store.loading import bulk_insert
from aicmo_dagster.store.tables import enrolments, events, handoffs
from aicmo_dagster_tests.forked import processes
from aicmo_dagster_tests.samples import NOON, campaign
from aicmo_dagster_tests.store.rows import lead, sends, texts

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _campaigns(database: Database, tmp_path: object) -> None:
    with database.write() as connection:
        for key in ("a", "b"):
            apply_campaign(connection, campaign(key), {}, tmp_path, NOON)  # type: ignore[arg-type]


def people(*persons: str | None, last_step: str = "nudge") -> pd.DataFrame:
    """Leads 0, 1, 2... who are these persons."""
    return texts(
        lead_id=[lead(number) for number in range(len(persons))],
        person=list(persons),
        last_step=[last_step] * len(persons),
    )


def entered(database: Database, key: str, leads: pd.DataFrame) -> set[str]:
    with database.write() as connection:
        return enrol(connection, key, leads, NOON)


def active(database: Database, key: str) -> list[str]:
    with database.read() as connection:
        known = enrolled(connection, key)
    return sorted(known["lead_id"][known["active"]])


def test_a_person_is_in_one_sequence_of_all_campaigns(database: Database) -> None:
    assert entered(database, "a", people("ann", "bob")) == set()
    assert entered(database, "b", people("ann", "cid", "bob")) == {lead(0), lead(2)}
    assert active(database, "b") == [lead(1)]


def test_two_leads_of_one_campaign_are_not_one_person_twice(database: Database) -> None:
    assert len(entered(database, "a", people("ann", "ann"))) == 1


def test_whoever_may_be_in_several_sequences_has_no_person(database: Database) -> None:
    for key in ("a", "b"):
        assert entered(database, key, people(None, None)) == set()


def test_enrolling_twice_changes_nothing(database: Database) -> None:
    for _ in range(2):
        assert entered(database, "a", people("ann")) == set()
    assert active(database, "a") == [lead(0)]


ENDS = {
    "its last step went out": {"step": "nudge", "state": "accepted"},
    "its last step is presumed sent": {"step": "nudge", "state": "unknown"},
    "a message was refused": {"step": "intro", "state": "rejected"},
    "a message was cancelled": {"step": "intro", "state": "cancelled"},
}
GOES_ON = {
    "a step is planned": {"step": "nudge", "state": "planned"},
    "an earlier step went out": {"step": "intro", "state": "accepted"},
    "a step is put off": {"step": "nudge", "state": "deferred"},
}


@pytest.mark.parametrize("send", ENDS.values(), ids=ENDS)
def test_a_sequence_ends_when(database: Database, send: dict[str, str]) -> None:
    entered(database, "a", people("ann", "bob"))
    sends(database, "a", **send)
    assert active(database, "a") == [lead(1)]
    with database.write() as connection:
        assert end_enrolments(connection, NOON + HOUR) == 1
        assert end_enrolments(connection, NOON + HOUR) == 0
    assert active(database, "a") == [lead(1)]
    assert entered(database, "b", people("ann", "bob")) == {lead(1)}


@pytest.mark.parametrize("send", GOES_ON.values(), ids=GOES_ON)
def test_a_sequence_goes_on_while(database: Database, send: dict[str, str]) -> None:
    entered(database, "a", people("ann"))
    sends(database, "a", **send)
    with database.write() as connection:
        assert end_enrolments(connection, NOON + HOUR) == 0
    assert active(database, "a") == [lead(0)]


@pytest.mark.parametrize("kind", ["reply", "unsubscribe", "complaint", "bounce"])
def test_a_sequence_ends_with_what_stops_all_mail(database: Database, kind: str) -> None:
    entered(database, "a", people("ann", "bob"))
    happened = {"campaign": "a", "lead_id": lead(0), "happened_at": NOON, "detail": "{}"}
    with database.write() as connection:
        connection.execute(events.insert().values(kind=kind, key="k1", **happened))
        connection.execute(
            events.insert().values(**{**happened, "lead_id": lead(1)}, kind="click", key="k2")
        )
    assert active(database, "a") == [lead(1)]


def test_a_sequence_ends_with_the_handoff(database: Database) -> None:
    entered(database, "a", people("ann"))
    row = {"campaign": "a", "lead_id": lead(0), "destination": "csv", "state": "done"}
    with database.write() as connection:
        connection.execute(handoffs.insert().values(**row, reason="replied", created_at=NOON))
    assert active(database, "a") == []


def test_an_archived_campaign_lets_everyone_go(database: Database) -> None:
    entered(database, "a", people("ann"))
    with database.write() as connection:
        archive_campaign(connection, "a", NOON)
        end_enrolments(connection, NOON)
    assert entered(database, "b", people("ann")) == set()


def test_withdrawing_frees_the_person(database: Database) -> None:
    entered(database, "a", people("ann", "bob"))
    with database.write() as connection:
        withdraw_enrolments(connection, "a", [lead(0)])
        withdraw_enrolments(connection, "a", [])
    assert active(database, "a") == [lead(1)]
    assert entered(database, "b", people("ann", "bob")) == {lead(1)}


RIVALS, PEOPLE, ROUNDS = 3, 60, 5


def _compete(url: str, key: str, turn: int) -> int:
    """Takes everyone it can for campaign `key`, a few at a time; tells how many it got."""
    database = open_database(url)
    leads = people(*(f"person {number}" for number in range(PEOPLE)))
    # Each in another order, and no turn taken: only the index stands between them.
    leads = leads.sample(frac=1, random_state=turn).reset_index(drop=True)
    got = 0
    for start in range(0, PEOPLE, PEOPLE // ROUNDS):
        part = leads.iloc[start : start + PEOPLE // ROUNDS]
        with database.write() as connection:
            got += len(part) - len(enrol(connection, key, part, NOON))
    database.close()
    return got


def test_processes_at_the_same_moment_never_both_take_a_person(
    database: Database, database_url: str
) -> None:
    with processes().Pool(RIVALS) as pool:
        jobs = [(database_url, "ab"[turn % 2] + str(turn), turn) for turn in range(RIVALS)]
        got = pool.starmap(_compete, jobs)
    with database.read() as connection:
        held = pd.read_sql("SELECT person FROM enrolments", connection)["person"]

    assert sum(got) == PEOPLE
    assert held.is_unique
    assert len(held) == PEOPLE


def test_the_index_refuses_what_no_code_asked_about(database: Database) -> None:
    entered(database, "a", people("ann"))
    with database.write() as connection, pytest.raises(Exception, match="enrolments"):
        bulk_insert(connection, enrolments, people("ann"), campaign="b", since=NOON)
