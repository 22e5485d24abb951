"""Moving a database: every value of every table arrives, all of it or nothing."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.store import migrations, transfer
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.tables import UtcInstant, metadata, rejects, uploads

ROWS = 7
AWKWARD = ("", "plain", 'a "quote", a comma', "two\nlines\r\nand a \\N", "Ærø 🛰", " ", "nan")


def value(column: sa.Column, number: int) -> Any:
    """A value of the column's type that differs from row to row, awkward where it can be."""
    if column.nullable and number % 3 == 0:
        return None
    if isinstance(column.type, UtcInstant):
        return datetime(2026, 3, 29, 1, 0, 0, number, tzinfo=UTC) + timedelta(hours=number)
    if isinstance(column.type, sa.Boolean):
        return number % 2 == 0
    if isinstance(column.type, sa.Integer):
        return number + 2**31 * (not column.primary_key and isinstance(column.type, sa.BigInteger))
    if isinstance(column.type, sa.LargeBinary):
        return bytes(range(number, number + 9))
    if isinstance(column.type, sa.Float):
        return (0.1 + 0.2) * 10 ** (number - 3)
    return f"{AWKWARD[number % len(AWKWARD)]}{number}"


def fill(database: Database) -> None:
    """Every table has rows whose values try what a copy could spoil."""
    with database.write() as connection:
        for table in metadata.sorted_tables:
            rows = [{c.name: value(c, n) for c in table.columns} for n in range(1, ROWS + 1)]
            connection.execute(sa.insert(table), rows)


def frames(database: Database) -> dict[str, pd.DataFrame]:
    with database.read() as connection:
        return {t.name: fetch_frame(connection, sa.select(t)) for t in metadata.sorted_tables}


@pytest.fixture
def lived_in(new_sqlite: Callable[[], str]) -> Iterator[Database]:
    opened = open_database(new_sqlite())
    fill(opened)
    yield opened
    opened.close()


def sorted_by_all(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` in an order that both engines' collations agree on."""
    plain = frame.astype(object).map(repr)
    return frame.loc[plain.sort_values(list(plain)).index].reset_index(drop=True)


def test_every_table_arrives_row_for_row(lived_in: Database, database: Database) -> None:
    moved = transfer.transfer(lived_in, database)
    assert moved == dict.fromkeys((t.name for t in metadata.sorted_tables), ROWS)
    there, here = frames(lived_in), frames(database)
    for name in moved:
        pd.testing.assert_frame_equal(sorted_by_all(here[name]), sorted_by_all(there[name]))


def test_numbers_go_on_after_those_that_were_moved(lived_in: Database, database: Database) -> None:
    transfer.transfer(lived_in, database)
    row = {c.name: value(c, 1) for c in rejects.columns if c.name != "id"}
    with database.write() as connection:
        number = connection.execute(sa.insert(rejects).returning(rejects.c.id), row).scalar()
    assert number == ROWS + 1


def test_the_number_of_a_removed_import_is_not_given_again_after_a_move(
    lived_in: Database, database: Database
) -> None:
    with lived_in.write() as connection:
        connection.execute(sa.delete(uploads).where(uploads.c.id == ROWS))
    transfer.transfer(lived_in, database)
    row = {c.name: value(c, 1) for c in uploads.columns if c.name != "id"}
    with database.write() as connection:
        number = connection.execute(sa.insert(uploads).returning(uploads.c.id), row).scalar()
    assert number == ROWS + 1


def test_a_target_with_a_single_row_is_refused_and_keeps_it(
    lived_in: Database, database: Database
) -> None:
    with database.write() as connection:
        connection.execute(
            sa.insert(metadata.tables["pauses"]),
            {c.name: value(c, 1) for c in metadata.tables["pauses"].columns},
        )
    with pytest.raises(AicmoError, match="'pauses' has rows"):
        transfer.transfer(lived_in, database)
    assert sum(len(frame) for frame in frames(database).values()) == 1


def test_what_differs_in_the_end_is_not_kept(lived_in: Database, database: Database) -> None:
    """A trigger stands for whatever might change a row on its way."""
    body = "UPDATE models SET kind = 'spoilt' WHERE version = NEW.version"
    with database.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            trigger = f"CREATE TRIGGER spoil AFTER INSERT ON models BEGIN {body}; END"
        else:
            connection.exec_driver_sql(
                "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN NEW.kind = 'spoilt'; RETURN NEW; END $$"
            )
            trigger = (
                "CREATE TRIGGER spoil BEFORE INSERT ON models FOR EACH ROW EXECUTE FUNCTION spoil()"
            )
        connection.exec_driver_sql(trigger)
    with pytest.raises(AicmoError, match="'models' differs after the move: 7 rows there, 7 here"):
        transfer.transfer(lived_in, database)
    assert sum(len(frame) for frame in frames(database).values()) == 0


def test_a_source_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(AicmoError, match="there is no file"):
        transfer.open_source(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_source_of_another_revision_is_refused_and_not_upgraded(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    url = database.engine.url.render_as_string(hide_password=False)
    with pytest.raises(AicmoError, match=f"not at revision {migrations.HEAD}"):
        transfer.open_source(url)
    with database.read() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "0001"
