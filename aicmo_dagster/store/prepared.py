"""Updates that are made row by row at a high rate: compiled once, then the driver's own work.

For a handful of rows SQLAlchemy's work costs more than the database's. Not here: which updates.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.store.tables import instant_text


class Prepared:
    """An update with named parameters, to be made once for each row of values."""

    def __init__(self, statement: sa.Update) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, list[str] | None, dict[str, Any]]] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
        """The update is made with each of `rows`; tells for each whether it changed a row.

        Instants are converted here; anything else must be as the driver takes it.
        """
        text, order, constants = self._for(connection.dialect)
        cursor = connection.connection.cursor()
        changed = []
        for row in rows:
            values = {**constants, **row}
            if order is None:
                cursor.execute(text, values)
            else:
                cursor.execute(text, [_stored(values[name]) for name in order])
            changed.append(cursor.rowcount == 1)
        cursor.close()
        return changed

    def _for(self, dialect: sa.Dialect) -> tuple[str, list[str] | None, dict[str, Any]]:
        """The text, the order of its parameters where they have no names, and the fixed values."""
        if dialect.name not in self._compiled:
            compiled = self._statement.compile(dialect=dialect)
            order = compiled.positiontup if compiled.positional else None
            self._compiled[dialect.name] = (str(compiled), order, dict(compiled.params))
        return self._compiled[dialect.name]


def _stored(value: Any) -> Any:
    """`value` as SQLite holds it."""
    return instant_text(value) if isinstance(value, datetime) else value
