"""Where leads stand, and when sends are due, is kept for a few of them as for many."""

from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.nurture.planning import DEADLINE
from aicmo_dagster.store.agenda import any_to_look_at, record_plan
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.loading import bulk_insert
from aicmo_dagster.store.tables import agenda, nurture_sends
from aicmo_dagster_tests.store.rows import NOW, TEXT, lead, sends, texts

INSTANT = pd.ArrowDtype(pa.timestamp("us", tz="UTC"))
SOON = NOW + timedelta(hours=1)
NOTHING = pd.DataFrame({"lead_id": pd.Series([], dtype=TEXT)})
NO_NEWS = texts(lead_id=[], state=[]).assign(look_at=pd.Series([], dtype=INSTANT))


@pytest.mark.parametrize("count", [2, 201], ids=["few", "many"])
def test_leads_are_where_planning_put_them(database: Database, count: int) -> None:
    """Many are changed by way of a temporary table, a few one by one."""
    ids = [lead(number) for number in range(count)]
    look_at = pd.Series([*[None] * (count - 2), SOON], dtype=INSTANT)
    news = texts(lead_id=ids[1:], state=["finished"] * (count - 1)).assign(look_at=look_at)
    with database.write() as connection:
        entered = texts(lead_id=ids, state=["active"] * count, reason=["x"] * count)
        bulk_insert(
            connection,
            agenda,
            entered.assign(position=range(count)),
            campaign="spring",
            look_at=NOW,
            changed_at=NOW - timedelta(days=1),
        )

        record_plan(connection, "spring", NOTHING, news, NOW)

        columns = (agenda.c.state, agenda.c.look_at, agenda.c.changed_at, agenda.c.reason)
        found = connection.execute(sa.select(*columns).order_by(agenda.c.lead_id)).all()
    before = ("active", NOW, NOW - timedelta(days=1), "x")
    after = ("finished", None, NOW, None)
    assert found == [before, *[after] * (count - 2), ("finished", SOON, NOW, None)]


@pytest.mark.parametrize("count", [3, 201], ids=["few", "many"])
def test_only_what_waits_to_be_due_and_for_nothing_else_is_moved(
    database: Database, count: int
) -> None:
    ids = [lead(number) for number in range(count)]
    for number, reason in enumerate([None, "waits for its window", None]):
        due = SOON if number < 2 else NOW
        put_off = {"number": number, "reason": reason, "due_at": due}
        sends(database, "spring", step="intro", state="planned", **put_off)
    due_at = pd.Series([SOON + timedelta(hours=1)] * count, dtype=INSTANT)
    planned = texts(lead_id=ids, step=["intro"] * count).assign(due_at=due_at)
    with database.write() as connection:
        moved = record_plan(connection, "spring", planned, NO_NEWS, NOW)
        again = record_plan(connection, "spring", planned, NO_NEWS, NOW)
        columns = (nurture_sends.c.due_at, nurture_sends.c.deadline_at)
        found = connection.execute(sa.select(*columns).order_by(nurture_sends.c.lead_id)).all()
    later = SOON + timedelta(hours=1)
    assert (moved, again) == (1, 0)
    assert found == [(later, later + DEADLINE), (SOON, NOW), (NOW, NOW)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_was_put_off_is_not_gone_through_for_a_few_sends(database: Database) -> None:
    """As many are put off as there are leads where mail may not go out now."""
    steps = [_work(database, number) for number in (10, 2_000)]
    assert steps[1] < 1.5 * steps[0]


def _work(database: Database, waiting: int) -> int:
    """Tens of SQLite's instructions of a plan of one send, while so many others are put off."""
    frame = texts(
        lead_id=[lead(number) for number in range(waiting)],
        message_id=[f"<{waiting}.{number}@acme.example>" for number in range(waiting)],
    )
    put_off = {"due_at": SOON, "deadline_at": SOON, "reason": "waits for its window"}
    campaign, told = f"campaign {waiting}", {"step": "intro", "sequence": "everyone"}
    told |= {"recipient_domain": "acme.example", "sender": "ida@acme.example", "state": "planned"}
    new = texts(lead_id=["new"], step=["intro"]).assign(due_at=pd.Series([SOON], dtype=INSTANT))
    taken: list[None] = []
    with database.write() as connection:
        values = {**told, **put_off, "campaign": campaign, "campaign_version": 1}
        bulk_insert(connection, nurture_sends, frame, **values)
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(lambda: taken.append(None), 10)
        record_plan(connection, campaign, new, NO_NEWS, NOW)
        driver.set_progress_handler(None, 0)
    return len(taken)


def test_a_lead_is_looked_at_from_its_instant_on(database: Database) -> None:
    with database.write() as connection:
        row = texts(lead_id=[lead(1)], state=["active"]).assign(position=1)
        bulk_insert(connection, agenda, row, campaign="spring", look_at=SOON, changed_at=NOW)
        instants = (SOON - timedelta(seconds=1), SOON)

        found = [any_to_look_at(connection, "spring", instant) for instant in instants]
        other = any_to_look_at(connection, "autumn", SOON)

    assert found == [False, True]
    assert not other
