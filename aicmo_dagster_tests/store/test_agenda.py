"""Where leads stand is kept for a few of them as for many."""

from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from aicmo_dagster.store.agenda import any_to_look_at, record_plan
from aicmo_dagster.store.database import Database, bulk_insert
from aicmo_dagster.store.tables import agenda
from aicmo_dagster_tests.store.rows import NOW, TEXT, lead, texts

INSTANT = pd.ArrowDtype(pa.timestamp("us", tz="UTC"))
SOON = NOW + timedelta(hours=1)
NOTHING = pd.DataFrame({"lead_id": pd.Series([], dtype=TEXT)})


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


def test_a_lead_is_looked_at_from_its_instant_on(database: Database) -> None:
    with database.write() as connection:
        row = texts(lead_id=[lead(1)], state=["active"]).assign(position=1)
        bulk_insert(connection, agenda, row, campaign="spring", look_at=SOON, changed_at=NOW)
        instants = (SOON - timedelta(seconds=1), SOON)

        found = [any_to_look_at(connection, "spring", instant) for instant in instants]
        other = any_to_look_at(connection, "autumn", SOON)

    assert found == [False, True]
    assert not other
