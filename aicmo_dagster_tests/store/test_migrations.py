"""The schema that the revisions make is the one that the code works with."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from aicmo_dagster.store import migrations
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.engines import make_engine
from aicmo_dagster.store.tables import instant_text, metadata


def test_a_migrated_database_has_the_tables_of_the_code(database: Database) -> None:
    with database.read() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)

        assert compare_metadata(context, metadata) == []


def test_a_migrated_database_has_the_keys_of_the_code(database: Database) -> None:
    """Alembic does not compare primary keys."""
    with database.read() as connection:
        inspector = sa.inspect(connection)
        found = {t: inspector.get_pk_constraint(t)["constrained_columns"] for t in metadata.tables}

    assert found == {
        name: [column.name for column in table.primary_key]
        for name, table in metadata.tables.items()
    }


def test_small_rows_stand_in_the_index_of_their_key(empty_database: Database) -> None:
    """On SQLite, whether they were made so or later; Alembic does not compare that."""
    if empty_database.engine.dialect.name != "sqlite":
        pytest.skip("only SQLite has tables without numbers of rows")
    with empty_database.write() as connection:
        migrations.upgrade(connection)
        made = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%WITHOUT ROWID'"
        found = set(connection.exec_driver_sql(made).scalars())

    tables = metadata.tables.items()
    assert found == {n for n, t in tables if not t.dialect_options["sqlite"]["with_rowid"]}
    assert "lead_aliases" in found


def test_what_others_made_of_the_small_tables_is_there_after_they_were_made_anew(
    empty_database: Database,
) -> None:
    if empty_database.engine.dialect.name != "sqlite":
        pytest.skip("only on SQLite they are made anew")
    theirs = {
        "their_leads": "CREATE VIEW their_leads AS SELECT * FROM routed_leads",
        "their_log": "CREATE TRIGGER their_log AFTER INSERT ON lead_aliases BEGIN SELECT 1; END",
        "their_key": "CREATE INDEX their_key ON lead_aliases (lead_id) WHERE alias > 'a'",
    }
    with empty_database.write() as connection:
        migrate_to(connection, "0017")
        for statement in theirs.values():
            connection.exec_driver_sql(statement)
    with empty_database.write() as connection:
        migrations.upgrade(connection)
        made = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master").all()
        connection.exec_driver_sql("SELECT * FROM their_leads").all()
        kept = connection.exec_driver_sql("PRAGMA legacy_alter_table").scalar_one()
    assert {name: sql for name, sql in made if name in theirs} == theirs
    assert not kept


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", "aicmo_dagster.store:migrations")

    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    with database.write() as connection:
        migrations.upgrade(connection)
        assert migrations.is_current(connection)


def test_opening_a_current_database_does_not_import_alembic(new_sqlite: Callable[[], str]) -> None:
    code = (
        "import sys; from aicmo_dagster.store.database import open_database; "
        f"open_database({new_sqlite()!r}).close(); sys.exit('alembic' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


RELEASED = tuple(f"{number:04}" for number in range(1, 19))
"""Revisions that databases in the field may be at; a released one is never taken out again."""

MODELS_WRITTEN_SINCE = "0005"
"""This revision made the table anew, since nothing had ever been written to it."""

ROWS = 3


@pytest.mark.parametrize("revision", RELEASED)
def test_a_released_schema_is_upgraded_with_all_that_it_holds(
    revision: str, empty_database: Database
) -> None:
    with empty_database.write() as connection:
        migrate_to(connection, revision)
        columns = fill(connection)
        if revision < MODELS_WRITTEN_SINCE:
            del columns["models"]
        before = {table: rows(connection, table, names) for table, names in columns.items()}
    with empty_database.write() as connection:
        migrations.upgrade(connection)
        assert migrations.is_current(connection)
        after = {table: rows(connection, table, names) for table, names in columns.items()}
    assert after == before


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(
    request: pytest.FixtureRequest, tmp_path: Path, postgresql_server: str
) -> Iterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        url = sa.make_url(postgresql_server).set(database="bare").render_as_string(False)
        administer(postgresql_server, "CREATE DATABASE bare TEMPLATE template0")
    database = Database(make_engine(url))
    yield database
    database.close()
    if request.param == "postgresql":
        administer(postgresql_server, "DROP DATABASE bare WITH (FORCE)")


def administer(server: str, statement: str) -> None:
    engine = make_engine(server).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def migrate_to(connection: sa.Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "aicmo_dagster.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def fill(connection: sa.Connection) -> dict[str, list[str]]:
    """Every table as it is now has rows without a gap; its columns by table."""
    found = sa.MetaData()
    found.reflect(connection)
    for table in found.sorted_tables:
        if table.name != "alembic_version":
            made = [{c.name: some_value(c, n) for c in table.columns} for n in range(1, ROWS + 1)]
            connection.execute(sa.insert(table), made)
    tables = {table.name: [c.name for c in table.columns] for table in found.sorted_tables}
    del tables["alembic_version"]
    return tables


def some_value(column: sa.Column, number: int) -> Any:
    """A value of the column's type; texts are JSON documents, since some of them must be."""
    instant = datetime(2026, 3, 4, 5, number, tzinfo=UTC)
    if isinstance(column.type, sa.DateTime):
        return instant
    if isinstance(column.type, sa.String) and column.type.length == 32:  # SQLite's instants
        return instant_text(instant)
    if isinstance(column.type, sa.Boolean):
        return number % 2 == 0
    if isinstance(column.type, sa.Integer | sa.Float):
        return number
    if isinstance(column.type, sa.LargeBinary):
        return bytes([number])
    return json.dumps({"schedule": {"harvest": "0 6 * * *"}, "number": number})


def rows(connection: sa.Connection, table: str, columns: list[str]) -> list[tuple[object, ...]]:
    selected = sa.select(*(sa.column(name) for name in columns)).select_from(sa.table(table))
    return sorted((tuple(row) for row in connection.execute(selected)), key=repr)
