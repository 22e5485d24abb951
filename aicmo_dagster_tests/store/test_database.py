import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError, Transient
from aicmo_dagster.settings import USUAL_LIMITS, DatabaseLimits
from aicmo_dagster.store import migrations
from aicmo_dagster.store.database import Database, open_database, open_or_await
from aicmo_dagster.store.engines import StatementEnded, is_its_own, make_engine
from aicmo_dagster.store.loading import bulk_insert
from aicmo_dagster.store.tables import lead_aliases
from aicmo_dagster.store.upserts import insert_once
from aicmo_dagster_tests.store.rows import aliases, stored


def test_a_block_that_fails_leaves_nothing(database: Database) -> None:
    def fail_late() -> None:
        with database.write() as connection:
            bulk_insert(connection, lead_aliases, aliases("a"), campaign="c")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_late()

    assert stored(database) == []


def test_a_block_that_ends_well_is_kept_when_opened_again(database_url: str) -> None:
    first = open_database(database_url)
    with first.write() as connection:
        bulk_insert(connection, lead_aliases, aliases("a"), campaign="c")
    first.close()
    second = open_database(database_url)

    assert stored(second) == [("c", "a", "x")]
    second.close()


def test_a_reader_sees_one_snapshot_while_others_write(database: Database) -> None:
    with database.read() as reader:
        before = reader.execute(sa.select(sa.func.count()).select_from(lead_aliases)).scalar_one()
        with database.write() as connection:
            bulk_insert(connection, lead_aliases, aliases("a"), campaign="c")
        after = reader.execute(sa.select(sa.func.count()).select_from(lead_aliases)).scalar_one()

    assert (before, after) == (0, 0)
    assert len(stored(database)) == 1


def test_a_reader_cannot_write_and_does_not_stay_a_reader(database: Database) -> None:
    """By turns over one connection, which is kept."""
    for alias in ("a", "b"):
        with pytest.raises(sa.exc.DBAPIError), database.read() as connection:
            insert_once(connection, lead_aliases, campaign="c", alias=alias, lead_id="x")

        with database.write() as connection:
            assert insert_once(connection, lead_aliases, campaign="c", alias=alias, lead_id="x")


def test_writers_on_sqlite_queue_from_the_start(new_sqlite: Callable[[], str]) -> None:
    """With a deferred BEGIN both would read 0 and the second would fail or overwrite."""
    database = open_database(new_sqlite())
    with database.write() as connection:
        insert_once(connection, lead_aliases, campaign="c", alias="a", lead_id="0")

    def count_up() -> None:
        for _ in range(10):
            with database.write() as connection:
                seen = connection.execute(sa.select(lead_aliases.c.lead_id)).scalar_one()
                time.sleep(0.002)
                connection.execute(lead_aliases.update().values(lead_id=str(int(seen) + 1)))

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert stored(database) == [("c", "a", "40")]
    database.close()


def test_sqlite_is_set_up_and_only_a_durable_write_waits_for_the_disk(
    new_sqlite: Callable[[], str],
) -> None:
    database = open_database(new_sqlite())

    def setting(connection: sa.Connection, name: str) -> object:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()

    with database.write(durable=True) as connection:
        assert setting(connection, "synchronous") == 2
        assert setting(connection, "cache_size") == -USUAL_LIMITS.cache_kib
    with database.write() as connection:
        assert setting(connection, "synchronous") == 1
        assert setting(connection, "journal_mode") == "wal"
        assert setting(connection, "foreign_keys") == 1
        assert setting(connection, "busy_timeout") == 30_000
    database.close()
    small = open_database(new_sqlite(), DatabaseLimits(cache_kib=100))
    with small.read() as connection:
        assert setting(connection, "cache_size") == -100
    small.close()


def test_a_server_that_goes_within_a_statement_may_come_back() -> None:
    """What the driver raises then is neither of its errors for that."""
    dialect = make_engine("postgresql://nowhere.example/aicmo").dialect
    gone = psycopg2.DatabaseError("server closed the connection unexpectedly")
    assert is_its_own(dialect, gone)
    assert not is_its_own(dialect, psycopg2.DatabaseError("something else"))
    assert not is_its_own(dialect, psycopg2.errors.UniqueViolation("a key"))
    assert not is_its_own(dialect, None)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("not a url", "cannot be read as a URL"),
        ("postgresql://u:hunter2@db.example:port/x", "cannot be read as a URL"),
        ("mysql://u:hunter2@db.example/x", "mysql is not known"),
        ("sqlite://", "names no file"),
        ("sqlite:////nowhere/at/all/aicmo.db", "/nowhere/at/all is missing or cannot be written"),
        ("sqlite:////proc/aicmo.db", "/proc/aicmo.db cannot be used"),
        ("postgresql://u:hunter2@127.0.0.1:1/leads", "127.0.0.1, database leads"),
        ("postgres://u:hunter2@no-such-host.invalid/leads", "no-such-host.invalid, database leads"),
        ("postgresql:///leads?host=/nowhere&password=hunter2", "/nowhere, database leads"),
    ],
)
def test_a_bad_url_is_refused_in_one_line_without_its_secrets(url: str, said: str) -> None:
    with pytest.raises(AicmoError) as refused:
        open_database(url)

    text = str(refused.value)
    assert said in text
    assert "AICMO_DATABASE_URL" in text
    assert "hunter2" not in text
    assert "\n" not in text
    assert refused.value.__context__ is None


def test_a_postgresql_database_that_does_not_exist_is_named(postgresql_server: str) -> None:
    with pytest.raises(AicmoError, match=r"database absent, cannot be used .*no such database"):
        open_database(postgresql_server.replace("/postgres?", "/absent?"))


def test_every_spelling_of_postgresql_uses_psycopg2(new_postgresql: Callable[[], str]) -> None:
    url = new_postgresql()
    for scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        database = open_database(url.replace("postgresql", scheme, 1))
        assert database.engine.driver == "psycopg2"
        database.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "aicmo.db"
    path.write_text("Dear diary, " * 1000, encoding="ascii")

    with pytest.raises(AicmoError, match="not an SQLite database"):
        open_database(f"sqlite:///{path}")
    assert path.read_text(encoding="ascii").startswith("Dear diary")


def test_a_database_from_a_newer_version_is_refused_and_left_alone(database_url: str) -> None:
    database = open_database(database_url)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()

    with pytest.raises(AicmoError, match="newer version of AICMO; upgrade AICMO or point"):
        open_database(database_url)


def _empty(engine: str, postgresql_server: str, folder: Path) -> str:
    if engine == "sqlite":
        return f"sqlite:///{folder / 'empty.db'}"
    server = sa.create_engine(
        sa.make_url(postgresql_server).set(drivername="postgresql+psycopg2"),
        isolation_level="AUTOCOMMIT",
    )
    with server.connect() as connection:
        connection.execute(sa.text("DROP DATABASE IF EXISTS empty WITH (FORCE)"))
        connection.execute(sa.text("CREATE DATABASE empty"))
    server.dispose()
    return postgresql_server.replace("/postgres?", "/empty?")


@contextmanager
def _away(url: str, server: str) -> Iterator[None]:
    """The database is not where its URL says."""
    name = str(sa.make_url(url).database)
    if url.startswith("sqlite"):
        path, aside = Path(name), Path(f"{name}.aside")
        path.rename(aside)
        path.mkdir()
        yield
        path.rmdir()
        aside.rename(path)
        return
    with closing(psycopg2.connect(server)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"ALTER DATABASE {name} RENAME TO aside")
        yield
        connection.cursor().execute(f"ALTER DATABASE aside RENAME TO {name}")


def test_a_database_that_is_away_at_the_start_is_used_once_it_is_back(
    database_url: str, postgresql_server: str
) -> None:
    with _away(database_url, postgresql_server):
        database = open_or_await(database_url)
        for _ in range(2):
            with pytest.raises(Transient, match="cannot be used"):
                stored(database)
    assert stored(database) == []
    database.close()


def test_what_was_away_at_the_start_is_made_or_refused_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "aicmo.db"
    path.mkdir()
    database = open_or_await(f"sqlite:///{path}")
    path.rmdir()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE alembic_version AS SELECT '9999' AS version_num")
        raw.commit()
    with pytest.raises(Transient, match="newer version of AICMO"):
        stored(database)
    with pytest.raises(AicmoError, match="newer version of AICMO"):
        open_or_await(f"sqlite:///{path}")
    database.close()
    path.unlink()
    assert stored(database) == []
    database.close()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_who_opens_an_empty_database_waits_while_another_makes_its_tables(
    engine: str, postgresql_server: str, tmp_path: Path
) -> None:
    url = _empty(engine, postgresql_server, tmp_path)
    first = Database(make_engine(url))
    with ThreadPoolExecutor() as pool:
        with first.write() as connection:
            migrations.upgrade(connection)
            second = pool.submit(open_database, url)
            assert not wait([second], timeout=0.3).done
        opened = second.result(timeout=30)

    assert stored(opened) == []
    opened.close()
    first.close()


def test_an_older_sqlite_file_that_is_in_use_is_waited_for(tmp_path: Path) -> None:
    """Two processes may both be first; the switch to WAL needs the file for itself."""
    path = tmp_path / "used.db"
    used = sqlite3.connect(path, isolation_level=None)
    used.execute("CREATE TABLE other (x)")
    used.execute("BEGIN IMMEDIATE")
    used.execute("INSERT INTO other VALUES (1)")
    with ThreadPoolExecutor() as pool:
        opening = pool.submit(open_database, f"sqlite:///{path}")
        assert not wait([opening], timeout=0.3).done
        used.execute("ROLLBACK")
        used.close()
        opening.result(timeout=30).close()


def test_a_migration_that_breaks_off_leaves_no_table_behind(tmp_path: Path) -> None:
    """A file that already holds one of our tables makes the first revision fail midway."""
    path = tmp_path / "half.db"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE models (x)")
    raw.close()

    with pytest.raises(AicmoError):
        open_database(f"sqlite:///{path}")
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("models",)]
    raw.close()


def _sleep(connection: sa.Connection) -> None:
    connection.exec_driver_sql("SET LOCAL statement_timeout = 10")  # a whole second is long here
    connection.execute(sa.select(sa.func.pg_sleep(9)))


def test_postgresql_ends_a_statement_that_takes_too_long(new_postgresql: Callable[[], str]) -> None:
    database = open_database(new_postgresql(), DatabaseLimits(statement_seconds=1))
    with database.read() as connection:
        assert connection.scalar(sa.text("SHOW statement_timeout")) == "1s"
        assert connection.scalar(sa.text("SHOW idle_in_transaction_session_timeout")) == "1s"
    long = r"longer than 1000 ms: .*pg_stat_activity.* AICMO_DATABASE_TIMEOUT"
    with pytest.raises(StatementEnded, match=long), database.write() as connection:
        _sleep(connection)
    database.close()


def test_a_statement_that_somebody_cancels_is_told_as_such(
    new_postgresql: Callable[[], str],
) -> None:
    database = open_database(new_postgresql())
    mine = sa.func.pg_backend_pid()
    cancelled = "ended a statement that somebody cancelled"
    with pytest.raises(StatementEnded, match=cancelled), database.write() as connection:
        connection.execute(sa.select(sa.func.pg_cancel_backend(mine), sa.func.pg_sleep(9)))
    database.close()


def test_a_process_opens_no_more_connections_than_it_may(new_postgresql: Callable[[], str]) -> None:
    database = open_database(new_postgresql(), DatabaseLimits(connections=1))
    pool = database.engine.pool
    pool._timeout = 0.01  # half a minute is too long for a test
    with (
        database.read(),
        pytest.raises(Transient, match="all connections of this process are in use"),
        database.read(),
    ):
        pass
    database.close()
