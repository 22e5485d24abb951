from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from aicmo_dagster.store.arrow_types import BATCH
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.loading import bulk_insert
from aicmo_dagster.store.tables import campaigns, lead_aliases, overrides
from aicmo_dagster_tests.store.rows import INSTANT, NOW, TEXT, texts


def test_instants_are_read_in_utc_whatever_the_zone_of_the_session(
    new_postgresql: Callable[[], str],
) -> None:
    """Pandera makes Arrow drop the offsets of other zones; see loading._in_utc."""
    database = open_database(new_postgresql())
    with database.write() as connection:
        connection.execute(sa.text("SET LOCAL TIME ZONE 'Asia/Kolkata'"))
        frame = texts(campaign=["c"])
        bulk_insert(
            connection,
            overrides,
            frame,
            lead_id="x",
            decided_at=NOW,
            action="pause",
            reason="r",
            decided_by="d",
        )
        found = fetch_frame(connection, sa.select(overrides.c.decided_at, overrides.c.expires_at))

    assert found["decided_at"].tolist() == [pd.Timestamp(NOW)]
    assert found["expires_at"].isna().all()
    database.close()


def test_frames_larger_than_a_batch_arrive_whole(database: Database) -> None:
    count = 2 * BATCH + 1
    frame = texts(alias=[f"{n:06}" for n in range(count)], lead_id=["x"] * count)
    with database.write() as connection:
        bulk_insert(connection, lead_aliases, frame, campaign="c")
        statement = sa.select(lead_aliases.c.alias, lead_aliases.c.lead_id)
        found = fetch_frame(connection, statement.order_by(lead_aliases.c.alias))

    pd.testing.assert_frame_equal(found, frame)


def test_fetch_frame_types_columns_even_without_rows(database: Database) -> None:
    with database.read() as connection:
        statement = sa.select(campaigns.c.version, campaigns.c.name, campaigns.c.created_at)
        found = fetch_frame(connection, statement)

    assert found.dtypes.to_dict() == {
        "version": pd.ArrowDtype(pa.int64()),
        "name": TEXT,
        "created_at": INSTANT,
    }


def test_what_goes_wrong_amid_the_rows_is_an_error_of_the_database(database: Database) -> None:
    numbers = sa.union_all(*(sa.select(sa.literal(n).label("n")) for n in (1, -(2**63)))).subquery()
    with database.read() as connection, pytest.raises(sa.exc.DBAPIError):
        fetch_frame(connection, sa.select(sa.func.abs(numbers.c.n).label("n")))
