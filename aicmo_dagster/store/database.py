"""The database: transactions, and the one seam for what differs between SQLite and PostgreSQL.

Frames go in and out in bulk here, by way of Arrow and without a look at single rows. Not here: what
a table means (one module a subject), connecting (`engines`), the schema's history (`migrations`).
"""

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain, islice
from operator import itemgetter
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.errors import AicmoError, Transient
from aicmo_dagster.settings import USUAL_LIMITS, DatabaseLimits
from aicmo_dagster.store import migrations
from aicmo_dagster.store.engines import DatabaseAway, is_its_own, make_engine, unreachable
from aicmo_dagster.store.tables import MOST_LISTED, UtcInstant, one_of

BATCH = 10_000
"""Rows at a time. With 32 columns, 50,000 cost a third more: they outgrow the processor's cache."""

_AT_ONCE = 1_000
"""Rows written that are Python's objects at a time: more of them outgrow the processor's cache."""

_BATCHES_TOGETHER = 10

FEW = 500
"""Rows that may come without a look at what the planner knows of their table."""

_INSTANT = pa.timestamp("us", tz="UTC")

_SQLITE_HOLDS = {_INSTANT: pa.string(), pa.bool_(): pa.int64()}
"""What SQLite gives for a kind that it does not have."""


class RowsRefused(AicmoError):
    """Rows that the table's constraints do not allow; names the table and the rule, no value."""


@dataclass(frozen=True)
class Database:
    """An open database whose schema is ours.

    Args:
        engine: What connects to it.
        unseen: Set while nobody has seen it yet: whoever comes next brings its schema up to date.
    """

    engine: sa.Engine
    unseen: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sa.Connection]:
        """One transaction, kept if the block ends well. On SQLite writers queue; never nest two.

        Args:
            durable: Survives a power cut too once committed; on PostgreSQL all transactions do.
        """
        with self._connected() as connection:
            pragma = "synchronous" if durable else None
            with (
                _pragma(connection, pragma, "FULL", "NORMAL"),
                self._begun(connection, "IMMEDIATE"),
            ):
                yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One consistent snapshot; writing through it is refused."""
        with self._connected() as connection:
            if self.engine.dialect.name == "postgresql":
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with _pragma(connection, "query_only", "ON", "OFF"), self._begun(connection, ""):
                yield connection

    def close(self) -> None:
        """All connections are given back."""
        self.engine.dispose()

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        if self.unseen.is_set():
            self._see()
        try:
            connection = self.engine.connect()
        except (sa.exc.OperationalError, sa.exc.TimeoutError) as error:
            raise unreachable(self.engine, error) from error
        with connection:
            yield connection

    def _see(self) -> None:
        """The schema is ours, and it is looked at no more; or a `Transient` says why not."""
        try:
            bring_up_to_date(Database(self.engine))
        except Transient:
            raise
        except AicmoError as error:  # another version may be installed, here or there
            raise DatabaseAway(str(error)) from error
        self.unseen.clear()

    @contextmanager
    def _begun(self, connection: sa.Connection, mode: str) -> Iterator[None]:
        connection = connection.execution_options(sqlite_begin=mode)
        try:
            transaction = connection.begin()
        except sa.exc.OperationalError as error:
            raise unreachable(self.engine, error) from error
        try:
            with transaction:
                yield
        except sa.exc.DBAPIError as error:
            if is_its_own(connection.dialect, error.orig):
                raise unreachable(self.engine, error) from error
            raise


def take_turn(connection: sa.Connection, what: str) -> None:
    """Whoever writes `what` waits for the end of this transaction; call it first.

    SQLite's write transactions queue anyway.
    """
    if connection.dialect.name == "postgresql":
        number = sa.func.hashtextextended(what, 0)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def open_database(url: str, limits: DatabaseLimits = USUAL_LIMITS) -> Database:
    """The database at `url`, made or brought up to date if need be.

    Args:
        url: Where it is.
        limits: What this process may ask of its server.

    Raises:
        AicmoError: If it cannot be reached or read, or a newer version of AICMO made it.
    """
    _spare_memory()
    database = Database(make_engine(url, limits))
    bring_up_to_date(database)
    return database


def bring_up_to_date(database: Database) -> None:
    """The schema of `database` is ours; else all connections are given back.

    Several who do this at once do no harm.

    Raises:
        AicmoError: If it cannot be reached or read, or a newer version of AICMO made it.
    """
    refusal: AicmoError
    try:
        with database.engine.begin() as connection:
            current = migrations.is_current(connection)
        if not current:
            with database.write() as connection:
                migrations.upgrade(connection)
        return
    except sa.exc.DBAPIError as error:
        refusal = unreachable(database.engine, error)
    except AicmoError as error:
        refusal = error
    database.close()
    raise refusal  # out here: the driver's error may tell more of the URL than anyone should read


def open_or_await(url: str, limits: DatabaseLimits = USUAL_LIMITS) -> Database:
    """Like `open_database`; one that cannot be used now is brought up to date once it can.

    Whoever asks anything of it before that gets a `Transient`.

    Raises:
        AicmoError: If it is there and will not do, or the URL will not.
    """
    try:
        return open_database(url, limits)
    except Transient:
        database = Database(make_engine(url, limits))
        database.unseen.set()
        return database


def _spare_memory() -> None:
    """Frames have their memory of jemalloc, where they would have it of mimalloc.

    Of what Arrow takes otherwise, most goes back to the system at once and has to be cleared anew:
    a harvest spent a seventh of its time on that, and held a sixth more.
    """
    usual = pa.default_memory_pool().backend_name == "mimalloc"
    if usual and "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def bulk_insert(
    connection: sa.Connection, table: sa.Table, frame: pd.DataFrame, **constants: object
) -> None:
    """The rows of `frame` are in `table`: executemany on SQLite, COPY on PostgreSQL.

    NaN is stored as missing, on both. PostgreSQL cannot hold NUL characters: strip them before.

    Args:
        connection: From `Database.write`.
        table: Where to; its columns say how values are stored.
        frame: Columns of `table`, in any order.
        constants: Columns that have one value throughout.

    Raises:
        RowsRefused: If a constraint of `table` does not hold.
        Transient: If the database has gone meanwhile, or its disk is full.
    """
    _fill(connection, table, frame, constants)
    note_growth(connection, table, len(frame))


def note_growth(connection: sa.Connection, table: sa.Table, rows: int) -> None:
    """PostgreSQL plans for `table` as it is now that so many rows have come in this transaction.

    By itself it looks at a table a minute or so after the commit; until then it may take thousands
    of rows for one, and look for each through all of them. As there, only a tenth more is worth it.
    """
    if connection.dialect.name != "postgresql" or rows < FEW:
        return
    known = sa.text("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:name)")
    if rows >= (connection.scalar(known, {"name": table.name}) or 0) / 10:
        # Whoever else looks at it does so for us.
        connection.exec_driver_sql(f'ANALYZE (SKIP_LOCKED) "{table.name}"')


def insert_new(
    connection: sa.Connection, table: sa.Table, frame: pd.DataFrame, **constants: object
) -> int:
    """Rows whose primary key was not there yet are in `table`; tells how many those were."""
    key = ", ".join(f'"{column.name}"' for column in table.primary_key)
    unless_there = f" ON CONFLICT ({key}) DO NOTHING"
    if connection.dialect.name != "postgresql":
        rows = _stored_form(table, frame, constants)
        return _guarded(
            connection, table, lambda: _execute_many(connection, table.name, rows, unless_there)
        )
    with staged(connection, table, frame, **constants) as incoming:
        names = [column.name for column in incoming.columns]
        statement = (
            postgresql.insert(table)
            .from_select(names, sa.select(incoming), include_defaults=False)
            .on_conflict_do_nothing(index_elements=list(table.primary_key))
        )
        added = _guarded(connection, table, lambda: connection.execute(statement).rowcount)
    note_growth(connection, table, added)
    return added


def insert_unless_taken(
    connection: sa.Connection, table: sa.Table, frame: pd.DataFrame, **constants: object
) -> int:
    """Rows that no key of `table` keeps out are in it, on SQLite; tells how many those were."""
    rows = _stored_form(table, frame, constants)
    clause = " ON CONFLICT DO NOTHING"
    return _guarded(connection, table, lambda: _execute_many(connection, table.name, rows, clause))


def insert_once(connection: sa.Connection, table: sa.Table, **values: object) -> bool:
    """A row with the primary key of `values` is in `table`; tells whether it is this one."""
    return connection.execute(_insertion(connection.dialect.name, table), values).rowcount == 1


@lru_cache(maxsize=256)
def _insertion(engine: str, table: sa.Table) -> sa.Insert:
    """A row is inserted unless its key is there; kept, since making it takes as long as it does."""
    dialect = postgresql if engine == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key))


def written_out(column: sa.ColumnElement[Any], values: Sequence[str]) -> sa.ColumnElement[bool]:
    """`column` is one of `values`, which stand in the statement itself and not beside it.

    SQLite takes a partial index only if it can see that its condition holds: the values of a longer
    list stand in the same order there as here, which is that of the alphabet.
    """
    if len(values) > MOST_LISTED:
        return one_of(column, *map(_literal, sorted(values)))
    return column.in_([_literal(value) for value in values])


def _literal(value: str) -> sa.ColumnClause[str]:
    """A word of ours; one that were bound, to be written out, is written anew at each execution."""
    return sa.literal_column(f"'{value}'", sa.Text())


def put_row(connection: sa.Connection, table: sa.Table, **values: object) -> None:
    """The row with the primary key of `values` has these values, whether it was there or not."""
    connection.execute(_replacement(connection.dialect.name, table, tuple(values)), values)


@lru_cache(maxsize=256)
def _replacement(engine: str, table: sa.Table, names: tuple[str, ...]) -> sa.Insert:
    """A row is inserted, or takes these values; kept for the reason that `_insertion` gives."""
    dialect = postgresql if engine == "postgresql" else sqlite
    statement, keys = dialect.insert(table), table.primary_key
    told = {name: statement.excluded[name] for name in names if name not in keys.columns}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=told)


@contextmanager
def staged(
    connection: sa.Connection, table: sa.Table, frame: pd.DataFrame, **constants: object
) -> Iterator[sa.Table]:
    """A temporary table that holds `frame`, typed as `table` is, for set-based SQL; then gone."""
    incoming = _incoming(table, (*frame.columns, *constants))
    incoming.create(connection, checkfirst=False)
    _fill(connection, incoming, frame, constants)
    # Both engines plan badly for a table they know nothing of: few rows are taken for many.
    connection.exec_driver_sql(f'ANALYZE "{incoming.name}"')
    yield incoming
    incoming.drop(connection, checkfirst=False)  # after a failure, the rollback does it


@lru_cache(maxsize=256)
def _incoming(table: sa.Table, names: tuple[str, ...]) -> sa.Table:
    """The temporary table of such frames; the same each time, so that SQL is compiled once."""
    return sa.Table(
        f"incoming_{table.name}",
        sa.MetaData(),
        *(sa.Column(name, table.c[name].type) for name in names),
        prefixes=["TEMPORARY"],
    )


def fetch_frame(
    connection: sa.Connection, statement: sa.Select, values: Mapping[str, object] | None = None
) -> pd.DataFrame:
    """What `statement` selects, in Arrow-backed columns typed by its columns.

    Args:
        connection: A transaction.
        statement: What is asked; with `values` one that is asked again and again, so that how to
            read it is kept.
        values: Of its parameters.
    """
    plan = _arrow_plan if values is None else _kept_plan
    plain, stored, typed = plan(connection.dialect.name == "sqlite", statement)
    batches = _batches(connection, plain, stored, values)
    first = list(islice(batches, 2))
    if len(first) < 2:  # as most frames are
        return _frame(pa.Table.from_batches(first, stored), typed)
    found = _compact(chain(first, batches), stored)
    columns = {}
    for name, kind in zip(typed.names, typed.types, strict=True):  # no more of them is held twice
        columns[name] = found.column(name).combine_chunks().cast(kind)
        found = found.drop_columns(name)
    return _frame(pa.table(columns), typed)


def fetch_frames(connection: sa.Connection, statement: sa.Select) -> Iterator[pd.DataFrame]:
    """What `statement` selects, as `fetch_frame` gives it, in frames of at most `BATCH` rows."""
    plain, stored, typed = _arrow_plan(connection.dialect.name == "sqlite", statement)
    for batch in _batches(connection, plain, stored):
        yield _frame(pa.Table.from_batches([batch]), typed)


def _frame(table: pa.Table, typed: pa.Schema) -> pd.DataFrame:
    """`table` in Arrow-backed columns of these types; `to_pandas` takes a millisecond for that."""
    columns = {
        name: pd.arrays.ArrowExtensionArray(
            column if column.type == kind else column.cast(kind),
        )
        for name, column, kind in zip(typed.names, table.columns, typed.types, strict=True)
    }
    return pd.DataFrame(columns, copy=False)


def _arrow_plan(on_sqlite: bool, statement: sa.Select) -> tuple[sa.Select, pa.Schema, pa.Schema]:
    """`statement` with instants in a form that Arrow reads, its columns so, and as they mean."""
    columns = list(statement.selected_columns)
    names = [column.name for column in columns]
    types = [_arrow_type(column.type) for column in columns]
    stored = [_SQLITE_HOLDS.get(kind, kind) if on_sqlite else kind for kind in types]
    plain = statement.with_only_columns(
        *(
            _plain_instant(column, on_sqlite).label(name) if kind == _INSTANT else column
            for column, name, kind in zip(columns, names, types, strict=True)
        ),
        maintain_column_froms=True,
    )
    as_stored, typed = (pa.schema(zip(names, kinds, strict=True)) for kinds in (stored, types))
    return plain, as_stored, typed


_kept_plan = lru_cache(maxsize=256)(_arrow_plan)


def _compact(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """The rows of `batches` in fewer pieces: as it was made, a batch holds twice what it needs."""
    parts = [schema.empty_table()]
    while some := list(islice(batches, _BATCHES_TOGETHER)):
        parts.append(pa.Table.from_batches(some, schema).combine_chunks())
    return pa.concat_tables(parts)


def _batches(
    connection: sa.Connection,
    statement: sa.Select,
    schema: pa.Schema,
    values: Mapping[str, object] | None = None,
) -> Iterator[pa.RecordBatch]:
    for rows in _rows(connection, statement, values):
        # Not zip(*rows), which makes an iterator of every row: that takes twice as long.
        columns = [
            pa.array(list(map(itemgetter(place), rows)), kind)
            for place, kind in enumerate(schema.types)
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _rows(
    connection: sa.Connection, statement: sa.Select, values: Mapping[str, object] | None
) -> Iterator[Sequence[Sequence[Any]]]:
    """The rows in parts of at most `BATCH`; as the driver gives them, where it keeps none back.

    SQLAlchemy's own rows take as long again as SQLite's.
    """
    if connection.dialect.name != "sqlite":
        yield from connection.execute(
            statement, values, execution_options={"yield_per": BATCH}
        ).partitions()
        return
    with closing(connection.execute(statement, values)) as result:
        while rows := _fetched(connection, result.cursor):
            yield rows


def _fetched(connection: sa.Connection, cursor: Any) -> list[Sequence[Any]]:
    """The next rows; the driver's errors are raised as SQLAlchemy's, which callers know."""
    errors = connection.dialect.loaded_dbapi.Error
    try:
        found: list[Sequence[Any]] = cursor.fetchmany(BATCH)
    except errors as error:
        raise sa.exc.DBAPIError.instance(
            None, None, error, errors, hide_parameters=True, dialect=connection.dialect
        ) from error
    return found


def _plain_instant(column: sa.ColumnElement[Any], on_sqlite: bool) -> sa.ColumnElement[Any]:
    """An instant in a form that Arrow reads, past the column type, which goes value by value."""
    if on_sqlite:
        return sa.type_coerce(column, sa.Text())
    # In UTC whatever the session's zone is, for the reason that _in_utc gives.
    return sa.func.timezone("UTC", column)


@contextmanager
def _pragma(connection: sa.Connection, name: str | None, inside: str, after: str) -> Iterator[None]:
    """An SQLite setting for one transaction, made around it since SQLite ignores some within."""
    if name is None or connection.dialect.name != "sqlite":
        yield
        return
    cursor = connection.connection.cursor()
    cursor.execute(f"PRAGMA {name} = {inside}")
    try:
        yield
    finally:
        cursor.execute(f"PRAGMA {name} = {after}")
        cursor.close()


def _arrow_type(kind: sa.types.TypeEngine) -> pa.DataType:
    if isinstance(kind, UtcInstant):
        return _INSTANT
    if isinstance(kind, sa.Boolean):
        return pa.bool_()
    if isinstance(kind, sa.Integer):
        return pa.int64()
    return pa.float64() if isinstance(kind, sa.Float) else pa.string()


def _fill(
    connection: sa.Connection, table: sa.Table, frame: pd.DataFrame, constants: dict[str, object]
) -> None:
    rows = _stored_form(table, frame, constants)
    if connection.dialect.name == "postgresql":
        _guarded(connection, table, lambda: _copy(connection, table.name, rows))
    else:
        _guarded(connection, table, lambda: _execute_many(connection, table.name, rows, ""))


def _stored_form(table: sa.Table, frame: pd.DataFrame, constants: dict[str, object]) -> pa.Table:
    """`frame` and `constants` as Arrow columns that both engines take as they are."""
    kinds = {name: _arrow_type(table.c[name].type) for name in (*frame.columns, *constants)}
    loose = [n for n in frame if kinds[n] == _INSTANT and frame[n].dtype == object]
    if frame[loose].notna().any(axis=None):  # for the reason that _in_utc gives
        raise ValueError(f"instants need a timestamp column with a time zone: {loose}")
    columns = {name: _storable(_chunked(frame[name]), kinds[name]) for name in frame.columns}
    for name, value in constants.items():
        if isinstance(value, datetime):
            value = _in_utc(value)
        one = _storable(pa.chunked_array([pa.array([value])]), kinds[name])
        columns[name] = pa.repeat(one[0], len(frame))
    # What is missing throughout need not be said of each row, but where something else would be.
    empty = [n for n, c in columns.items() if c.null_count == len(frame) > 0]
    silent = {name for name in empty if table.c[name].server_default is None}
    told = {name: column for name, column in columns.items() if name not in silent}
    return pa.table(told or columns)


def _chunked(column: pd.Series) -> pa.ChunkedArray:
    """`column` as Arrow has it, or would."""
    held = pa.array(column, from_pandas=True)
    return held if isinstance(held, pa.ChunkedArray) else pa.chunked_array([held])


def _in_utc(value: datetime) -> datetime:
    """`value` in UTC: once pandera 0.35 is imported, pyarrow 26 drops other offsets unconverted."""
    if value.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return value.astimezone(UTC)


def _storable(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Instants as `tables.instant_text` writes them, which PostgreSQL reads too; NaN as missing."""
    if kind == _INSTANT:
        if pa.types.is_timestamp(column.type) and column.type.tz is None:
            raise ValueError("an instant needs a time zone")
        in_utc = column.cast(_INSTANT, safe=False)  # nanoseconds are cut off
        text = in_utc.cast(pa.timestamp("us")).cast(pa.string())  # 16 times as fast as strftime
        with_t = pc.utf8_replace_slice(text, 10, 11, "T")
        return pc.binary_join_element_wise(with_t, "+00:00", "")
    if kind == pa.float64():
        numbers = column.cast(kind)
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, kind), numbers)
    return column.cast(kind)


def _copy(connection: sa.Connection, name: str, rows: pa.Table) -> int:
    columns = ", ".join(f'"{column}"' for column in rows.column_names)
    # Every value is quoted, so that an empty string stays apart from a missing one.
    options = pa.csv.WriteOptions(include_header=False, quoting_style="all_valid")
    cursor = connection.connection.cursor()
    for start in range(0, len(rows), BATCH):
        text = io.BytesIO()
        pa.csv.write_csv(rows.slice(start, BATCH), text, options)
        text.seek(0)
        cursor.copy_expert(f'COPY "{name}" ({columns}) FROM STDIN (FORMAT csv)', text)
    cursor.close()
    return len(rows)


def _execute_many(connection: sa.Connection, name: str, rows: pa.Table, clause: str) -> int:
    columns = ", ".join(f'"{column}"' for column in rows.column_names)
    marks = ", ".join("?" * rows.num_columns)
    statement = f'INSERT INTO "{name}" ({columns}) VALUES ({marks}){clause}'
    cursor: Any = connection.connection.cursor()
    inserted = 0
    for start in range(0, len(rows), _AT_ONCE):
        part = [column.to_pylist() for column in rows.slice(start, _AT_ONCE).columns]
        # Row by row, and no list of them, which the collector of garbage would go through again.
        cursor.executemany(statement, zip(*part, strict=True))
        inserted += cursor.rowcount
    cursor.close()
    return inserted


def _guarded(connection: sa.Connection, table: sa.Table, work: Callable[[], int]) -> int:
    """The result of `work`; what the driver says of a bad row is repeated without the row.

    A database that has gone, or has no room left, has refused nobody: that may pass.
    """
    try:
        return work()
    except sa.exc.DBAPIError as error:
        cause = error.orig
    except connection.dialect.loaded_dbapi.Error as error:
        cause = error
    if cause is not None and is_its_own(connection.dialect, cause):
        raise unreachable(connection.engine, cause)
    raise RowsRefused(f"{table.name}: the database refused rows ({_rule(cause)})")


def _rule(error: BaseException | None) -> str:
    told = getattr(error, "diag", None)
    if told is None:  # SQLite names table and columns only
        return str(error)
    named = told.constraint_name or told.column_name
    return f"{type(error).__name__}: {named}" if named else type(error).__name__
