from aicmo_dagster.store.database import Database
from aicmo_dagster.store.tables import lead_aliases
from aicmo_dagster.store.upserts import insert_once
from aicmo_dagster_tests.store.rows import stored


def test_insert_once_tells_whether_the_row_is_new(database: Database) -> None:
    with database.write() as connection:
        row = {"campaign": "c", "alias": "a"}
        assert insert_once(connection, lead_aliases, **row, lead_id="x")
        assert not insert_once(connection, lead_aliases, **row, lead_id="y")

    assert stored(database) == [("c", "a", "x")]
