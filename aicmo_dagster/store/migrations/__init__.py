"""The schema's history: which revision a database is at, and bringing it to ours.

Not here: what the tables are now (`store.tables`). A change to them is a new file in ``versions``
and a new `HEAD`; a test compares the two.
"""

import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError

HEAD = "0018"
"""The newest revision in ``versions``, known without asking Alembic, whose import costs 0.2 s."""

_LOCK = 0x41_49_43_4D_4F  # "AICMO"


def is_current(connection: sa.Connection) -> bool:
    """Whether the database is at `HEAD`."""
    return _revision(connection) == HEAD


def upgrade(connection: sa.Connection) -> None:
    """The database is at `HEAD`, in the caller's transaction; a second caller waits for the first.

    Raises:
        AicmoError: If a newer version of AICMO made it.
    """
    if connection.dialect.name == "postgresql":  # SQLite's writers queue by themselves
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    revision = _revision(connection)
    if revision != HEAD:
        _run_alembic(connection, revision)


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(sa.text("SELECT version_num FROM alembic_version"))


def _run_alembic(connection: sa.Connection, revision: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "aicmo_dagster.store:migrations")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise AicmoError(
            "the database was made by a newer version of AICMO; upgrade AICMO "
            "or point AICMO_DATABASE_URL elsewhere"
        )
    command.upgrade(config, "head")
