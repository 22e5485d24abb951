"""Connecting: from a URL to an engine, and what to tell the user where that fails.

Not here: transactions (`database`), bulk loads (`loading`), or what the database holds (`tables`).
"""

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError, Transient
from aicmo_dagster.settings import USUAL_LIMITS, DatabaseLimits

BUSY_SECONDS = 30
"""How long a writer waits for its turn on SQLite."""

CONNECT_SECONDS = 10

_KEPT = 5
"""Connections of a process that stay open; more are opened up to its limit, and closed again."""

_WAIT_SECONDS = 30
"""How long a thread waits for one of its process's connections."""

_ALLOWED = "statement_seconds"
"""An engine's option: how long a statement may take, if it is AICMO that says so."""

_VARIABLE = "AICMO_DATABASE_URL"
_SHAPES = "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE"
_REASONS = {
    "password authentication failed": "the server refused the user or the password",
    "no password supplied": "the server wants a password",
    "does not exist": "the server knows no such database or user",
    "could not translate host name": "no such host",
    "timeout expired": "no answer in time",
    "refused": "nothing listens there",
    "idle-in-transaction": "a transaction idled for longer than AICMO_DATABASE_TIMEOUT",
    "closed the connection": "the server closed the connection",
    "terminating connection": "the server closed the connection",
    "database system is": "the server is starting, or shutting down",
    "No such file": "nothing listens there",
    "too many": "the server has no connection left",
    "permission denied": "its user may not do that; is the schema up to date?",
    "QueuePool limit": "all connections of this process are in use; see AICMO_DATABASE_CONNECTIONS",
    "file is not a database": "the file is not an SQLite database",
    "unable to open": "the file cannot be opened",
    "readonly": "the file cannot be written",
    "locked": "another process keeps it locked",
    "disk is full": "the disk is full",
    "No space left": "the disk is full",
    "disk I/O error": "the disk does not do what it should",
}
"""What drivers say, by a part of it, in words that hold neither user nor password."""

_TROUBLES = tuple(f"SQLITE_{n}" for n in ("FULL", "BUSY", "LOCKED", "IOERR", "CANTOPEN"))
"""Beginnings of SQLite's names for what is not the fault of a statement."""

_TOO_LARGE = "54"
"""PostgreSQL's class of errors for rows that are larger than it can hold."""

_CANCELED = "57014"
"""PostgreSQL's code for a statement that was ended, by its time-out or by somebody."""


class DatabaseAway(Transient):
    """The database cannot be used now; says which, a reason, and what to look at."""


class StatementEnded(Transient):
    """PostgreSQL ended a statement, mostly since it took too long; says what to do."""


def make_engine(url: str, limits: DatabaseLimits = USUAL_LIMITS) -> sa.Engine:
    """An engine for `url`, not connected yet.

    Args:
        url: Where the database is.
        limits: What this process may ask of it.

    Raises:
        AicmoError: If AICMO does not know such an engine, or the folder cannot be written.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, limits.cache_kib)
    if parsed.get_backend_name() == "postgresql":
        return _postgresql(parsed, limits)
    raise AicmoError(f"{_VARIABLE}: {parsed.get_backend_name()} is not known here; use {_SHAPES}")


def unreachable(engine: sa.Engine, error: Exception) -> DatabaseAway | StatementEnded:
    """What to raise for the driver's `error`: host, database and a reason, no more of the URL."""
    cause = getattr(error, "orig", None) or error  # SQLAlchemy's own text quotes the statement
    said = str(cause)
    reason = next((words for part, words in _REASONS.items() if part in said), None)
    because = f" ({reason})" if reason else ""
    if engine.dialect.name == "sqlite":
        return DatabaseAway(
            f"{_VARIABLE}: {engine.url.database} cannot be used{because}; "
            "mend or move that file, or name another"
        )
    host = engine.url.host or engine.url.query.get("host") or "the local socket"
    database = engine.url.database or "of the user's name"
    where = f"PostgreSQL at {host}, database {database},"
    if getattr(cause, "pgcode", None) == _CANCELED:
        return StatementEnded(f"{where} ended a statement {_why_ended(engine, said)}")
    return DatabaseAway(
        f"{_VARIABLE}: {where} cannot be used{because}; "
        "check that it runs and that the variable is right"
    )


def _why_ended(engine: sa.Engine, said: str) -> str:
    if "user request" in said:
        return "that somebody cancelled there"
    seconds = engine.get_execution_options().get(_ALLOWED)
    long = f"{seconds * 1000} ms" if seconds else "it may"
    return (
        f"that took longer than {long}: see in pg_stat_activity what it waits for and what else "
        "runs, or allow more by AICMO_DATABASE_TIMEOUT (seconds)"
    )


def is_its_own(dialect: sa.Dialect, error: BaseException | None) -> bool:
    """Whether the driver's `error` is the database's own trouble, whatever it was told.

    It has gone, has no room left, is locked or too slow.
    """
    driver: Any = dialect.loaded_dbapi
    if not isinstance(error, driver.Error):
        return False
    if dialect.name == "sqlite":  # which calls bad SQL operational, too
        return str(getattr(error, "sqlite_errorname", "")).startswith(_TROUBLES)
    code = getattr(error, "pgcode", None) or ""
    trouble = isinstance(error, driver.OperationalError) and not code.startswith(_TOO_LARGE)
    return trouble or dialect.is_disconnect(error, None, None)


def _parsed(url: str) -> sa.URL:
    url = f"postgresql{url[8:]}" if url.startswith("postgres:") else url
    try:
        parsed: sa.URL | None = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        parsed = None
    if parsed is None:  # raised out here, since the driver's error may quote the password
        raise AicmoError(f"{_VARIABLE} cannot be read as a URL; it should look like {_SHAPES}")
    return parsed


def _postgresql(url: sa.URL, limits: DatabaseLimits) -> sa.Engine:
    kept = min(_KEPT, limits.connections)
    told = {} if "options" in url.query else {_ALLOWED: limits.statement_seconds}
    return sa.create_engine(
        # A plain postgresql:// would mean psycopg 3 to SQLAlchemy 2.1.
        url.set(drivername="postgresql+psycopg2"),
        connect_args={k: v for k, v in _session(limits).items() if k not in url.query},
        pool_size=kept,
        max_overflow=limits.connections - kept,
        pool_timeout=_WAIT_SECONDS,
        pool_pre_ping=True,
        execution_options=told,
        hide_parameters=True,  # values are personal data
    )


def _session(limits: DatabaseLimits) -> dict[str, Any]:
    """What a session is opened with, unless the URL says otherwise.

    A transaction left idle for as long as a statement may take is ended by the server: its process
    hangs, and others wait for its locks. A peer that is gone is noticed within a minute and a half.
    """
    milliseconds = limits.statement_seconds * 1000
    timeouts = ("statement_timeout", "idle_in_transaction_session_timeout")
    return {
        "application_name": "aicmo",
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 30,
        "keepalives_interval": 15,
        "keepalives_count": 4,
        "options": " ".join(f"-c {name}={milliseconds}" for name in timeouts),
    }


def _sqlite(url: sa.URL, cache_kib: int) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise AicmoError(f"{_VARIABLE} names no file; use sqlite:///PATH")
    folder = Path(url.database).absolute().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise AicmoError(
            f"{_VARIABLE}: the folder {folder} is missing or cannot be written; "
            "make it, or name another"
        )
    engine = sa.create_engine(
        url.set(drivername="sqlite+pysqlite"),
        connect_args={"timeout": BUSY_SECONDS},
        hide_parameters=True,
    )
    sa.event.listen(engine, "connect", partial(_prepare_sqlite, cache_kib))
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(cache_kib: int, connection: Any, _record: object) -> None:
    # The driver's own BEGIN comes late and not before reads; _begin_sqlite takes over.
    connection.isolation_level = None
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")


def _use_wal(connection: Any) -> None:
    """Readers and a writer go side by side from now on; the file remembers it."""
    deadline = time.monotonic() + BUSY_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return  # where a file system cannot do it, SQLite keeps the mode it had
        except connection.OperationalError as error:
            # The switch needs the file for itself and, unlike all else, does not wait for it.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    begin = f"BEGIN {options.get('sqlite_begin', '')}"
    errors = connection.dialect.loaded_dbapi.Error
    try:
        # By the driver itself: SQLAlchemy takes longer over it than SQLite over a small write.
        cursor = connection.connection.cursor()
        _allow_writes(connection, cursor, not options.get("sqlite_read_only", False))
        cursor.execute(begin)
    except errors as error:
        raise sa.exc.DBAPIError.instance(
            begin, None, error, errors, hide_parameters=True, dialect=connection.dialect
        ) from error


def _allow_writes(connection: sa.Connection, cursor: Any, wanted: bool) -> None:
    """Said only where it differs from before: SQLite plans all statements anew after it.

    So a raw connection of the pool may be one that only reads.
    """
    if connection.info.get("allows_writes", True) != wanted:
        cursor.execute(f"PRAGMA query_only = {'OFF' if wanted else 'ON'}")
        connection.info["allows_writes"] = wanted
