"""Taking a person out of the CSV files that leads were handed over in. Not here: writing them."""

import csv
import fcntl
import os
from collections.abc import Collection
from pathlib import Path

from aicmo_dagster.handoff.csv_files import COLUMNS, rows_of

_LEAD_ID, _ADDRESS = COLUMNS.index("lead_id"), COLUMNS.index("email")


def forget(folder: Path, lead_ids: Collection[str], addresses: Collection[str]) -> int:
    """No file in `folder` has a row of these leads or addresses; tells how many went."""
    removed = 0
    for path in sorted(folder.glob("*.csv")):
        with path.open("r+", encoding="utf-8", newline="") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            rows = list(rows_of(file))
            kept = [row for row in rows if not _names(row, lead_ids, addresses)]
            if len(kept) < len(rows):
                removed += len(rows) - len(kept)
                file.seek(0)
                file.truncate()
                csv.writer(file).writerows(kept)
                file.flush()
                os.fsync(file.fileno())
    return removed


def _names(row: list[str], lead_ids: Collection[str], addresses: Collection[str]) -> bool:
    if len(row) != len(COLUMNS):
        return False
    return row[_LEAD_ID] in lead_ids or row[_ADDRESS].lower().lstrip("'") in addresses
