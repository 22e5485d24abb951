from datetime import timedelta

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.store.answers import answers
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.events import add_event
from aicmo_dagster.store.handoffs import acknowledge, add_handoff
from aicmo_dagster_tests.store.rows import NOW, lead, sends

HOUR = timedelta(hours=1)
PROVEN = {"matched_by": "reference", "asks_to_stop": False}


def _reply(connection: sa.Connection, number: int, hours: int, **detail: object) -> None:
    key = f"{number}-{hours}"
    at = NOW + hours * HOUR
    add_event(connection, "spring", lead(number), "reply", key, at, detail=PROVEN | detail)


def _hand_over(connection: sa.Connection, number: int) -> None:
    key = f"handoff-{number}"
    add_handoff(connection, "spring", lead(number), "csv", key, "replied", {}, NOW)


def test_who_was_written_to_is_told_with_the_first_answer_that_counts(database: Database) -> None:
    for number in range(5):
        sends(database, "spring", number=number, step="intro", state="accepted", sent_at=NOW)
    sends(database, "spring", number=0, step="nudge", state="accepted", sent_at=NOW + 9 * HOUR)
    sends(database, "spring", number=5, step="intro", state="planned")
    with database.write() as connection:
        _reply(connection, 0, 3)
        _reply(connection, 0, 2)
        _reply(connection, 1, 1, matched_by="address")
        _reply(connection, 2, 1, asks_to_stop=True)
        for number in (3, 4):
            _hand_over(connection, number)
        acknowledge(connection, "spring", lead(3), "Ida", NOW + 5 * HOUR)
        both = answers(connection, "spring", ["reply", "handoff"]).set_index("lead_id")
        replied = answers(connection, "spring", ["reply"]).set_index("lead_id")
        nobody = answers(connection, "autumn", ["reply", "handoff"])

    assert list(both.index) == [lead(number) for number in range(5)]
    assert set(both["contacted_at"]) == {pd.Timestamp(NOW)}
    won = both["won_at"].dropna().to_dict()
    assert won == {lead(0): NOW + 2 * HOUR, lead(3): NOW + 5 * HOUR}
    assert replied["won_at"].dropna().to_dict() == {lead(0): NOW + 2 * HOUR}
    assert nobody.empty
