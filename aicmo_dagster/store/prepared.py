"""Statements that are made with rows at a high rate: compiled once, then the driver's own work.

For a handful of rows SQLAlchemy's work costs more than the database's. Not here: which statements.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from psycopg2.extras import execute_batch
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.store.tables import UtcInstant, instant_text

Rows = Sequence[Sequence[Any]]


class Prepared:
    """An update to be made once for each of many rows of values.

    Args:
        statement: With named parameters.
        varying: Those that every row has its own value of, in the order of a row; rows hold values
            as the driver takes them. All others are shared, instants among them.
    """

    def __init__(self, statement: sa.Update, *varying: str) -> None:
        self._varying = varying
        compiled = (
            statement.compile(dialect=sqlite.dialect(paramstyle="qmark")),
            statement.compile(dialect=postgresql.dialect(paramstyle="format")),
        )
        self._statements = {
            each.dialect.name: (str(each), tuple(each.positiontup or ()), dict(each.params))
            for each in compiled
        }

    def execute(
        self, connection: sa.Connection, shared: Mapping[str, Any], rows: Rows
    ) -> int | None:
        """The update is made with each of `rows`.

        Args:
            connection: From `Database.write`.
            shared: What all rows have in common, by parameter.
            rows: The values of each.

        Returns:
            How many rows of the table it changed, if the driver tells.
        """
        text, filled = self._filled(connection, shared, rows)
        with _cursor(connection) as cursor:
            if connection.dialect.name == "postgresql":
                execute_batch(cursor, text, list(filled), page_size=len(rows) or 1)
                return None
            cursor.executemany(text, filled)
            return int(cursor.rowcount)

    def changed(
        self, connection: sa.Connection, shared: Mapping[str, Any], rows: Rows
    ) -> list[bool]:
        """As `execute`; tells for each of `rows` whether it changed a row of the table."""
        text, filled = self._filled(connection, shared, rows)
        changed = []
        with _cursor(connection) as cursor:
            for values in filled:
                cursor.execute(text, values)
                changed.append(cursor.rowcount == 1)
        return changed

    def _filled(
        self, connection: sa.Connection, shared: Mapping[str, Any], rows: Rows
    ) -> tuple[str, Iterator[list[Any]]]:
        """The statement, and its parameters in order for each of `rows`."""
        name = connection.dialect.name
        text, places, params = self._statements[name]
        given = {**params, **shared}
        common = [_stored(given[place]) if name == "sqlite" else given[place] for place in places]
        own = [
            (place, self._varying.index(parameter))
            for place, parameter in enumerate(places)
            if parameter in self._varying
        ]
        return text, _each(common, own, rows)


def _each(common: list[Any], own: list[tuple[int, int]], rows: Rows) -> Iterator[list[Any]]:
    for row in rows:
        values = common.copy()
        for place, column in own:
            values[place] = row[column]
        yield values


class PreparedInsert:
    """An insert of many rows at once, each a value by the name of its column.

    Args:
        statement: The insert in the words of the dialect of that name.
    """

    def __init__(self, statement: Callable[[str], sa.Insert]) -> None:
        insert = statement("sqlite")
        self._text = str(insert.compile(dialect=sqlite.dialect(paramstyle="named")))
        self._statement = statement("postgresql")
        self._instants = {c.name for c in insert.table.columns if isinstance(c.type, UtcInstant)}

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """The rows, all with the same columns, are inserted."""
        if connection.dialect.name != "sqlite":  # there SQLAlchemy sends many in one statement
            connection.execute(self._statement, rows)
            return
        with _cursor(connection) as cursor:
            cursor.executemany(self._text, map(self._as_stored, rows) if self._instants else rows)

    def _as_stored(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """`row` as SQLite holds it."""
        return {**row, **{name: _stored(row[name]) for name in self._instants & row.keys()}}


class PreparedSelect:
    """A select of numbers and text that is asked again and again.

    Args:
        statement: With named parameters. One that takes a list is left to SQLAlchemy, since each
            length of it is another statement.
    """

    def __init__(self, statement: sa.Select[Any] | sa.CompoundSelect[Any]) -> None:
        self._statement = statement
        compiled = (
            statement.compile(dialect=sqlite.dialect(paramstyle="named")),
            statement.compile(dialect=postgresql.dialect(paramstyle="pyformat")),
        )
        self._asked = {each.dialect.name: (str(each), dict(each.params)) for each in compiled}
        self._takes_list = any(bind.expanding for bind in compiled[0].binds.values())

    def rows(self, connection: sa.Connection, values: Mapping[str, Any]) -> Rows:
        """The rows found with these values of its parameters."""
        if self._takes_list:
            return connection.execute(self._statement, values).all()
        name = connection.dialect.name
        text, params = self._asked[name]
        given = {**params, **values}
        if name == "sqlite":
            given = {each: _stored(value) for each, value in given.items()}
        with _cursor(connection) as cursor:
            cursor.execute(text, given)
            found: Rows = cursor.fetchall()
        return found


@contextmanager
def _cursor(connection: sa.Connection) -> Iterator[Any]:
    """The driver's own cursor; its errors come as SQLAlchemy's, which tell those that may pass."""
    errors = connection.dialect.loaded_dbapi.Error
    cursor = connection.connection.cursor()
    try:
        yield cursor
    except errors as error:
        raise sa.exc.DBAPIError.instance(
            None, None, error, errors, hide_parameters=True, dialect=connection.dialect
        ) from error
    cursor.close()


def _stored(value: Any) -> Any:
    """`value` as SQLite holds it."""
    return instant_text(value) if isinstance(value, datetime) else value
