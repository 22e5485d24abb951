"""A virtual clock for Dagster's history: the past is made older, since Dagster reads real time.

Not here: what is forgotten of it (`defs.housekeeping`).
"""

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

_INSTANTS = {
    "runs": ("create_timestamp", "update_timestamp"),
    "event_logs": ("timestamp",),
    "asset_check_executions": ("create_timestamp",),
    "job_ticks": ("timestamp", "create_timestamp", "update_timestamp"),
}


def age_history(instance: dg.DagsterInstance, by: timedelta) -> None:
    """Everything that the instance knows happened earlier by that."""
    for path in _files(instance):
        with closing(sqlite3.connect(path)) as connection, connection:
            for table, columns in _INSTANTS.items():
                if table in _tables(connection):
                    _age(connection, table, columns, by)


def counts(instance: dg.DagsterInstance) -> dict[str, int]:
    """Table to how many rows it has, in the files that all runs share."""
    found = {}
    for path in _files(instance):
        with closing(sqlite3.connect(path)) as connection:
            for table in _tables(connection) & {*_INSTANTS, "run_tags", "snapshots"}:
                rows = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
                found[table] = found.get(table, 0) + rows[0]
    return found


def sizes(instance: dg.DagsterInstance) -> int:
    """Octets of all databases of the instance, those of single runs too."""
    paths = (path for path in Path(instance.root_directory).rglob("*.db*") if path.is_file())
    return sum(path.stat().st_size for path in paths)


def _files(instance: dg.DagsterInstance) -> list[Path]:
    home = Path(instance.root_directory)
    names = ("runs.db", "index.db", "schedules.db")
    return [path for name in names for path in sorted(home.rglob(name))]


def _tables(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in rows}


def _age(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], by: timedelta
) -> None:
    listed = ", ".join(columns)
    marks = ", ".join(f"{column} = ?" for column in columns)
    rows = connection.execute(f"SELECT id, {listed} FROM {table}").fetchall()
    moved = [(*(_earlier(value, by) for value in values), number) for number, *values in rows]
    connection.executemany(f"UPDATE {table} SET {marks} WHERE id = ?", moved)


def _earlier(value: str | None, by: timedelta) -> str | None:
    return value and (datetime.fromisoformat(value) - by).isoformat(sep=" ")
