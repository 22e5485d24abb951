"""Frames out, in bulk, by way of Arrow and without a look at single rows.

What differs between SQLite and PostgreSQL there is here. Not here: frames in (`loading`), or which
rows somebody wants (one module a subject).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from itertools import chain, islice
from operator import itemgetter
from typing import Any

import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from aicmo_dagster.store.arrow_types import BATCH, INSTANT, arrow_type

_BATCHES_TOGETHER = 10

_SQLITE_HOLDS = {INSTANT: pa.string(), pa.bool_(): pa.int64()}
"""What SQLite gives for a kind that it does not have."""


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
    types = [arrow_type(column.type) for column in columns]
    stored = [_SQLITE_HOLDS.get(kind, kind) if on_sqlite else kind for kind in types]
    plain = statement.with_only_columns(
        *(
            _plain_instant(column, on_sqlite).label(name) if kind == INSTANT else column
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
    # In UTC whatever the session's zone is, for the reason that loading._in_utc gives.
    return sa.func.timezone("UTC", column)
