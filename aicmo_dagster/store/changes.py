"""Whether anything at all was written to the database: cheap to ask, by any process.

Not here: what was written.
"""

import threading
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.store.database import Database


class Changes:
    """Marks that differ once something was committed in between; close it before the database.

    SQLite counts commits for each connection apart from that connection's own, so one connection
    that writes nothing is kept for it. PostgreSQL's snapshot names the transactions under way and
    the next one; it may differ without a change, and never stays the same after one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._kept: Any = None

    def mark(self) -> object:
        """What stands for the state of the database; nothing equals it where it cannot be read."""
        try:
            with self._lock:
                return self._read()
        except (sa.exc.SQLAlchemyError, AicmoError):
            return object()

    def close(self) -> None:
        """The connection is given back."""
        with self._lock:
            if self._kept is not None:
                self._kept.close()
                self._kept = None

    def _read(self) -> object:
        if self._database.engine.dialect.name == "postgresql":
            with self._database.read() as connection:
                return connection.scalar(sa.text("SELECT CAST(pg_current_snapshot() AS text)"))
        if self._kept is None:
            self._kept = self._database.engine.raw_connection()
        return self._kept.cursor().execute("PRAGMA data_version").fetchone()[0]
