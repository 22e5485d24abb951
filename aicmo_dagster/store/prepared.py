"""Updates that are made row by row at a high rate: compiled once, then the driver's own work.

For a handful of rows SQLAlchemy's work costs more than the database's. Not here: which updates.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.store.tables import instant_text


class Prepared:
    """An update with named parameters, to be made once for each row of values."""

    def __init__(self, statement: sa.Update) -> None:
        # Named parameters on both, so that the driver takes the values as they are.
        compiled = (
            statement.compile(dialect=sqlite.dialect(paramstyle="named")),
            statement.compile(dialect=postgresql.dialect(paramstyle="pyformat")),
        )
        self._statements = {each.dialect.name: (str(each), dict(each.params)) for each in compiled}

    def execute(
        self,
        connection: sa.Connection,
        shared: Mapping[str, Any],
        rows: Iterable[Mapping[str, Any]],
    ) -> list[bool]:
        """The update is made with each of `rows`; tells for each whether it changed a row.

        Args:
            connection: From `Database.write`.
            shared: What all rows have in common; instants stand here alone.
            rows: The values of each, as the driver takes them.
        """
        name = connection.dialect.name
        text, params = self._statements[name]
        fixed = {**params, **shared}
        if name == "sqlite":
            fixed = {key: _stored(value) for key, value in fixed.items()}
        cursor = connection.connection.cursor()
        changed = []
        for row in rows:
            cursor.execute(text, {**fixed, **row})
            changed.append(cursor.rowcount == 1)
        cursor.close()
        return changed


def _stored(value: Any) -> Any:
    """`value` as SQLite holds it."""
    return instant_text(value) if isinstance(value, datetime) else value
