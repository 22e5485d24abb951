"""SQLite files kept small: what was deleted is given back to the disk."""

import sqlite3
from contextlib import closing
from pathlib import Path

LEAST_FREE = 0.25
"""The share of a file that must be free before it is worth writing it anew."""

WAIT_SECONDS = 10


def compact(path: Path) -> bool:
    """The file holds little that is free; tells whether it was written anew.

    Whoever writes to it waits meanwhile. If it is in use all the time, it stays as it is.
    """
    if not path.is_file():
        return False
    with closing(sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
        pages, free = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count")
        )
        if free < pages * LEAST_FREE:
            return False
        try:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError:
            return False
    return True
