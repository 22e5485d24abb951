"""Frames in, in bulk, by way of Arrow and without a look at single rows.

What differs between SQLite and PostgreSQL there is here. Not here: single rows (`upserts`), frames
out (`fetching`), or what a table means (one module a subject).
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.store.arrow_types import BATCH, INSTANT, arrow_type
from aicmo_dagster.store.engines import is_its_own, unreachable

_AT_ONCE = 1_000
"""Rows written that are Python's objects at a time: more of them outgrow the processor's cache."""

FEW = 500
"""Rows that may come without a look at what the planner knows of their table."""


class RowsRefused(AicmoError):
    """Rows that the table's constraints do not allow; names the table and the rule, no value."""


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
    kinds = {name: arrow_type(table.c[name].type) for name in (*frame.columns, *constants)}
    loose = [n for n in frame if kinds[n] == INSTANT and frame[n].dtype == object]
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
    if kind == INSTANT:
        if pa.types.is_timestamp(column.type) and column.type.tz is None:
            raise ValueError("an instant needs a time zone")
        in_utc = column.cast(INSTANT, safe=False)  # nanoseconds are cut off
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
