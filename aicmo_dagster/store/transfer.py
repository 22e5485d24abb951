"""Moving all that one database holds into another that is empty, whatever their engines are.

Not here: making the tables (`migrations`), or what stops the old database from being sent from
afterwards (`operating.relocate`).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.store import migrations
from aicmo_dagster.store.database import Database, take_turn
from aicmo_dagster.store.engines import make_engine, unreachable
from aicmo_dagster.store.fetching import fetch_frames
from aicmo_dagster.store.loading import bulk_insert
from aicmo_dagster.store.tables import metadata

_GIVEN = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
"""SQLite's own table of the last numbers that were given, of tables that never give one twice."""


@dataclass(frozen=True)
class Digest:
    """What a table holds, whatever the order of its rows.

    Args:
        rows: How many.
        missing: How many values are missing.
        content: The sum of the rows' hashes, modulo 2**64.
    """

    rows: int
    missing: int
    content: int


def open_source(url: str) -> Database:
    """The database at `url`, which must be one of ours at the newest revision; it is not changed.

    Raises:
        AicmoError: If it is not there, cannot be read, or is at another revision.
    """
    engine = make_engine(url)
    if engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).is_file():
        raise AicmoError(f"there is no file {engine.url.database}; name the database to move")
    try:
        with engine.connect() as connection:
            current = migrations.is_current(connection)
    except sa.exc.DBAPIError as error:
        refusal: AicmoError = unreachable(engine, error)
    else:
        if current:
            return Database(engine)
        refusal = AicmoError(
            f"the database to move is not at revision {migrations.HEAD}, which this AICMO works "
            "with; open it with this version first, by 'aicmo campaign list' say, or upgrade AICMO"
        )
    engine.dispose()
    raise refusal  # out here, since the driver's error may quote the password


def transfer(source: Database, target: Database) -> dict[str, int]:
    """Every row of `source` is in `target` too, in one transaction; tells how many by table.

    Nobody can write to `source` meanwhile. Memory is bounded by a batch of rows. Each table is read
    again from both sides and compared before anything is kept.

    Raises:
        AicmoError: If `target` is not empty, or the two differ in the end.
    """
    with source.write() as read, target.write(durable=True) as write:
        take_turn(write, "transfer")
        _expect_empty(write)
        for table in metadata.sorted_tables:
            if _holds_bytes(table):
                for row in _rows(read, table):
                    write.execute(sa.insert(table).values(row))
            else:
                for frame in fetch_frames(read, sa.select(table)):
                    bulk_insert(write, table, frame)
            _set_sequence(write, table, _last_number(read, table))
        return {table.name: _compared(read, write, table) for table in metadata.sorted_tables}


def digest(connection: sa.Connection, table: sa.Table) -> Digest:
    """What `table` holds."""
    rows = missing = content = 0
    if _holds_bytes(table):
        for row in _rows(connection, table):
            rows += 1
            whole = hashlib.sha256(repr(sorted(row.items())).encode()).digest()
            content += int.from_bytes(whole[:8])
        return Digest(rows, missing, content % 2**64)
    for frame in fetch_frames(connection, sa.select(table)):
        rows += len(frame)
        missing += int(frame.isna().to_numpy().sum())
        content += int(pd.util.hash_pandas_object(frame, index=False).sum())
    return Digest(rows, missing, content % 2**64)


def _holds_bytes(table: sa.Table) -> bool:
    """Whether it has a column that no frame takes, and rows that are too large for batches."""
    return any(isinstance(column.type, sa.LargeBinary) for column in table.columns)


def _rows(connection: sa.Connection, table: sa.Table) -> Iterator[dict[str, Any]]:
    found = connection.execute(sa.select(table), execution_options={"yield_per": 1})
    return (dict(row) for row in found.mappings())


def _expect_empty(connection: sa.Connection) -> None:
    for table in metadata.sorted_tables:
        if connection.scalar(sa.select(sa.exists(sa.select(sa.literal(1)).select_from(table)))):
            raise AicmoError(
                f"the target is not empty: '{table.name}' has rows; "
                "AICMO_DATABASE_URL must name a database that nothing was stored in"
            )


def _last_number(connection: sa.Connection, table: sa.Table) -> int | None:
    """The last number that was given in `table`, even if its row was removed; none before one."""
    column = table.autoincrement_column
    if column is None:
        return None
    greatest = connection.scalar(sa.select(sa.func.max(column)))
    given = None
    if connection.dialect.name == "postgresql":
        sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
        given = connection.scalar(sa.select(sa.func.pg_sequence_last_value(_regclass(sequence))))
    elif table.dialect_options["sqlite"]["autoincrement"]:
        query = sa.select(_GIVEN.c.seq).where(_GIVEN.c.name == table.name)
        given = connection.scalar(query)
    return max((each for each in (greatest, given) if each is not None), default=None)


def _set_sequence(connection: sa.Connection, table: sa.Table, last: int | None) -> None:
    """Numbers go on after `last`, and after those that the rows brought along."""
    column = table.autoincrement_column
    if column is None or last is None:
        return
    if connection.dialect.name == "postgresql":
        sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
        connection.execute(sa.select(sa.func.setval(_regclass(sequence), last)))
    elif table.dialect_options["sqlite"]["autoincrement"]:
        connection.execute(sa.delete(_GIVEN).where(_GIVEN.c.name == table.name))
        connection.execute(sa.insert(_GIVEN).values(name=table.name, seq=last))


def _regclass(name: sa.ColumnElement[Any]) -> sa.Cast[Any]:
    return sa.cast(name, postgresql.REGCLASS)


def _compared(read: sa.Connection, write: sa.Connection, table: sa.Table) -> int:
    found, expected = digest(write, table), digest(read, table)
    if found != expected:
        raise AicmoError(
            f"'{table.name}' differs after the move: {expected.rows} rows there, {found.rows} "
            f"here, {expected.missing} and {found.missing} missing values; nothing was kept"
        )
    return found.rows
