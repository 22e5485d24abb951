import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import psycopg2
import pyarrow as pa
import pytest
import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError, Transient
from aicmo_dagster.settings import USUAL_LIMITS, DatabaseLimits
from aicmo_dagster.store import migrations
from aicmo_dagster.store.database import (
    BATCH,
    FEW,
    Database,
    RowsRefused,
    bulk_insert,
    fetch_frame,
    insert_new,
    insert_once,
    open_database,
    open_or_await,
    staged,
)
from aicmo_dagster.store.engines import StatementEnded, is_its_own, make_engine
from aicmo_dagster.store.tables import campaigns, lead_aliases, nurture_sends, overrides, rejects
from aicmo_dagster_tests.store.rows import NOW, TEXT, lead, texts

INSTANT = pd.ArrowDtype(pa.timestamp("us", tz="UTC"))

AWKWARD = [
    "",
    " ",
    "NULL",
    "\\N",
    "\\.",
    "a\n\\.\nb",
    "line\nline\r\nline\rline",
    "quote \" and '",
    "back\\slash\\",
    "tab\tcomma,semicolon;",
    "æøå 🦊 \u2028",
    "\x01\x7f",
]


def aliases(*names: str, of: str = "x") -> pd.DataFrame:
    return texts(alias=list(names), lead_id=[of] * len(names))


def stored(database: Database, table: sa.Table = lead_aliases) -> list[tuple[object, ...]]:
    with database.read() as connection:
        statement = sa.select(table).order_by(*table.primary_key)
        return [tuple(row) for row in connection.execute(statement)]


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
    with pytest.raises(sa.exc.DBAPIError), database.read() as connection:
        insert_once(connection, lead_aliases, campaign="c", alias="a", lead_id="x")

    with database.write() as connection:
        assert insert_once(connection, lead_aliases, campaign="c", alias="a", lead_id="x")


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


@pytest.mark.parametrize("text", AWKWARD, ids=repr)
def test_text_comes_back_as_it_went_in(database: Database, text: str) -> None:
    columns = {"a": text, "b": "plain"}
    frame = texts(alias=list(columns), lead_id=list(columns.values()))
    with database.write() as connection:
        bulk_insert(connection, lead_aliases, frame, campaign=text)

    assert stored(database) == [(text, "a", text), (text, "b", "plain")]


def test_missing_and_empty_text_stay_apart(database: Database) -> None:
    frame = texts(
        lead_id=[lead(1), lead(2)], step=["a", "a"], message_id=["m1", "m2"], reason=["", None]
    )
    with database.write() as connection:
        bulk_insert(connection, nurture_sends, frame, **SEND)
        found = connection.execute(sa.select(nurture_sends.c.reason, nurture_sends.c.worker))

        assert {tuple(row) for row in found} == {("", None), (None, None)}


def test_sqlite_keeps_nul_characters(new_sqlite: Callable[[], str]) -> None:
    database = open_database(new_sqlite())
    with database.write() as connection:
        bulk_insert(connection, lead_aliases, aliases("a", of="x\0y"), campaign="c")

    assert stored(database) == [("c", "a", "x\0y")]
    database.close()


INSTANTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC),
    datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]
PERSON = {"action": "pause", "reason": "r", "decided_by": "d"}


def test_bulk_insert_stores_instants_just_as_sqlalchemy_does(database: Database) -> None:
    keys = [f"c{number}" for number in range(len(INSTANTS))]
    in_utc = pd.Series([instant.astimezone(UTC) for instant in INSTANTS], dtype=INSTANT)
    frame = texts(campaign=keys).assign(decided_at=in_utc)
    with database.write() as connection:
        bulk_insert(connection, overrides, frame, lead_id="bulk", expires_at=INSTANTS[3], **PERSON)
        for key, instant in zip(keys, INSTANTS, strict=True):
            values = {"decided_at": instant, "expires_at": INSTANTS[3], **PERSON}
            connection.execute(overrides.insert().values(campaign=key, lead_id="one", **values))
        texts_of = sa.text(
            "SELECT lead_id, campaign, CAST(decided_at AS TEXT), CAST(expires_at AS TEXT) "
            "FROM overrides ORDER BY campaign"
        )
        found = [tuple(row) for row in connection.execute(texts_of)]

        assert {row[1:] for row in found if row[0] == "bulk"} == {
            row[1:] for row in found if row[0] == "one"
        }
        assert len(found) == 2 * len(INSTANTS)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([pd.Timestamp("2026-01-01")]),
        pd.Series([datetime(2026, 1, 1)], dtype=pd.ArrowDtype(pa.timestamp("us"))),
        pd.Series([datetime(2026, 1, 1, tzinfo=UTC)], dtype=object),
    ],
    ids=lambda column: str(column.dtype),
)
def test_a_column_of_instants_without_a_zone_is_refused(
    database: Database, column: pd.Series
) -> None:
    frame = texts(campaign=["c"]).assign(decided_at=column)
    with pytest.raises(ValueError, match="time zone"), database.write() as connection:
        bulk_insert(connection, overrides, frame, lead_id="x", **PERSON)


def test_a_constant_instant_without_a_zone_is_refused(database: Database) -> None:
    naive = datetime(2026, 1, 1)
    with pytest.raises(ValueError, match="time zone"), database.write() as connection:
        bulk_insert(connection, overrides, texts(campaign=["c"]), decided_at=naive, **PERSON)


def test_instants_are_read_in_utc_whatever_the_zone_of_the_session(
    new_postgresql: Callable[[], str],
) -> None:
    """Pandera makes Arrow drop the offsets of other zones; see _in_utc."""
    database = open_database(new_postgresql())
    with database.write() as connection:
        connection.execute(sa.text("SET LOCAL TIME ZONE 'Asia/Kolkata'"))
        frame = texts(campaign=["c"])
        bulk_insert(connection, overrides, frame, lead_id="x", decided_at=NOW, **PERSON)
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


def test_an_empty_frame_adds_nothing(database: Database) -> None:
    with database.write() as connection:
        bulk_insert(connection, lead_aliases, aliases(), campaign="c")
        assert insert_new(connection, lead_aliases, aliases(), campaign="c") == 0

    assert stored(database) == []


def test_ordinary_columns_are_stored_like_arrow_ones(database: Database) -> None:
    frame = pd.DataFrame(
        {"source": ["s"], "file": ["f"], "row": [7], "reason": ["r"], "content": ["{}"]}
    )
    with database.write() as connection:
        bulk_insert(connection, rejects, frame, campaign="c")

    assert stored(database, rejects) == [(1, "c", "s", "f", 7, "r", "{}")]


def test_insert_new_adds_only_rows_whose_key_is_not_there(database: Database) -> None:
    with database.write() as connection:
        assert insert_new(connection, lead_aliases, aliases("a", "b"), campaign="c") == 2
        more = aliases("b", "c", of="y")
        assert insert_new(connection, lead_aliases, more, campaign="c") == 1
        assert insert_new(connection, lead_aliases, more, campaign="d") == 2

    assert [row for row in stored(database) if row[0] == "c"] == [
        ("c", "a", "x"),
        ("c", "b", "x"),
        ("c", "c", "y"),
    ]


SEND = {
    "campaign": "c",
    "sequence": "s",
    "campaign_version": 1,
    "recipient_domain": "d.example",
    "state": "planned",
    "due_at": NOW,
    "sender": "ida@acme.example",
    "deadline_at": NOW,
}


def test_insert_new_leaves_defaults_to_the_table(database: Database) -> None:
    with database.write() as connection:
        frame = texts(lead_id=[lead(1)], step=["a"], message_id=["m"])
        assert insert_new(connection, nurture_sends, frame, **SEND) == 1
        assert connection.scalar(sa.select(nurture_sends.c.attempts)) == 0


@pytest.mark.parametrize("insert", [bulk_insert, insert_new])
def test_a_refused_row_is_reported_without_its_values(
    database: Database, insert: Callable[..., object]
) -> None:
    """Another key with the same Message-ID: a clash that insert_new must not pass over."""
    frame = texts(lead_id=[lead(1), lead(2)], step=["a", "a"], message_id=["<secret@x>"] * 2)
    with pytest.raises(RowsRefused) as refused, database.write() as connection:
        insert(connection, nurture_sends, frame, **SEND)

    assert "nurture_sends" in str(refused.value)
    assert "message_id" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert refused.value.__context__ is None


@pytest.mark.parametrize("insert", [bulk_insert, insert_new])
def test_a_server_that_goes_while_rows_are_written_has_refused_none(
    new_postgresql: Callable[[], str], insert: Callable[..., object]
) -> None:
    database = open_database(new_postgresql())

    def insert_meanwhile(connection: sa.Connection) -> None:
        mine = connection.scalar(sa.select(sa.func.pg_backend_pid()))
        with database.write() as other:
            other.execute(sa.select(sa.func.pg_terminate_backend(mine)))
        insert(connection, lead_aliases, aliases("a"), campaign="c")

    with pytest.raises(Transient, match="cannot be used"), database.write() as connection:
        insert_meanwhile(connection)
    assert stored(database) == []
    database.close()


def test_a_server_that_goes_within_a_statement_may_come_back() -> None:
    """What the driver raises then is neither of its errors for that."""
    dialect = make_engine("postgresql://nowhere.example/aicmo").dialect
    gone = psycopg2.DatabaseError("server closed the connection unexpectedly")
    assert is_its_own(dialect, gone)
    assert not is_its_own(dialect, psycopg2.DatabaseError("something else"))
    assert not is_its_own(dialect, psycopg2.errors.UniqueViolation("a key"))
    assert not is_its_own(dialect, None)


@pytest.mark.parametrize("insert", [bulk_insert, insert_new])
def test_a_full_disk_is_told_as_one_and_refuses_no_row(
    new_sqlite: Callable[[], str], insert: Callable[..., object]
) -> None:
    database = open_database(new_sqlite())
    many = aliases(*(f"{number:0400}" for number in range(2000)))
    with database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # as many as there are
    with pytest.raises(Transient, match="the disk is full"), database.write() as connection:
        insert(connection, lead_aliases, many, campaign="c")
    one_by_one = [{"campaign": "c", "alias": name, "lead_id": "x"} for name in many["alias"]]
    with pytest.raises(Transient, match="the disk is full"), database.write() as connection:
        connection.execute(sa.insert(lead_aliases), one_by_one)
    assert stored(database) == []
    database.close()


def test_a_staged_frame_is_gone_afterwards(database: Database) -> None:
    with database.write() as connection:
        for _ in range(2):
            with staged(connection, lead_aliases, aliases("a"), campaign="c") as incoming:
                assert connection.execute(sa.select(incoming)).one() == ("a", "x", "c")
        assert stored(database) == []


def test_insert_once_tells_whether_the_row_is_new(database: Database) -> None:
    with database.write() as connection:
        row = {"campaign": "c", "alias": "a"}
        assert insert_once(connection, lead_aliases, **row, lead_id="x")
        assert not insert_once(connection, lead_aliases, **row, lead_id="y")

    assert stored(database) == [("c", "a", "x")]


def test_fetch_frame_types_columns_even_without_rows(database: Database) -> None:
    with database.read() as connection:
        statement = sa.select(campaigns.c.version, campaigns.c.name, campaigns.c.created_at)
        found = fetch_frame(connection, statement)

    assert found.dtypes.to_dict() == {
        "version": pd.ArrowDtype(pa.int64()),
        "name": TEXT,
        "created_at": INSTANT,
    }


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


def test_what_goes_wrong_amid_the_rows_is_an_error_of_the_database(database: Database) -> None:
    numbers = sa.union_all(*(sa.select(sa.literal(n).label("n")) for n in (1, -(2**63)))).subquery()
    with database.read() as connection, pytest.raises(sa.exc.DBAPIError):
        fetch_frame(connection, sa.select(sa.func.abs(numbers.c.n).label("n")))


@pytest.mark.parametrize("insert", [bulk_insert, insert_new])
def test_postgresql_plans_for_rows_as_soon_as_they_are_there(
    new_postgresql: Callable[[], str], insert: Callable[..., object]
) -> None:
    """By itself it looks a minute after the commit; a run that reads at once hung for as long."""
    database = open_database(new_postgresql())
    many = pd.DataFrame(
        {"alias": [f"{n:020}" for n in range(FEW)], "lead_id": [f"{n:020}" for n in range(FEW)]},
        dtype=TEXT,
    )
    with database.write() as connection:
        connection.exec_driver_sql("ANALYZE lead_aliases")
        insert(connection, lead_aliases, many, campaign="spring")
        known = sa.text("SELECT reltuples FROM pg_class WHERE relname = 'lead_aliases'")
        assert connection.scalar(known) == FEW
    database.close()
