"""The schema that the revisions make is the one that the code works with."""

import subprocess
import sys
from collections.abc import Callable

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from aicmo_dagster.store import migrations
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.tables import metadata


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
