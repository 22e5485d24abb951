"""A CSV file that handoffs are added to, a row each. Not here: exports of whole frames (`cli`)."""

import csv
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aicmo_dagster.domain.spreadsheets import FORMULA_STARTS
from aicmo_dagster.handoff.delivery import Outcome

_LEAD = (
    *("email", "first_name", "last_name", "title", "seniority", "phone", "linkedin_url"),
    *("company", "domain", "industry", "employees", "country", "city"),
)
COLUMNS = ("key", "campaign", "lead_id", "handed_over_at", "reason", "score", *_LEAD)


class CsvFile:
    """A file of mode 0600 with a header; a handoff that is in it already is not added again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def deliver(self, key: str, document: dict[str, Any]) -> Outcome:
        """As `Destination.deliver`; the row is on the disk when this returns."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "r+", encoding="utf-8", newline="") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._add(file, key, document)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            return Outcome("failed", f"{self._path.name} cannot be written ({error.strerror})")
        return Outcome("delivered")

    def _add(self, file: Any, key: str, document: dict[str, Any]) -> None:
        known = {row[0] for row in rows_of(file) if row}
        if key in known:
            return
        writer = csv.writer(file)
        if not known:
            writer.writerow(COLUMNS)
        writer.writerow([_cell(value) for value in _row(key, document)])


def rows_of(file: Iterable[str]) -> Iterator[list[str]]:
    """The rows of such a file, whatever the length of a cell."""
    csv.field_size_limit(2**31 - 1)  # the library's own would refuse the file for one long cell
    return csv.reader(file)


def _row(key: str, document: dict[str, Any]) -> list[object]:
    told = document["data"]
    score = (told.get("score") or {}).get("score")
    head = [key, told["campaign"], told["lead"]["lead_id"], document["timestamp"], told["reason"]]
    return [*head, score, *(told["lead"].get(name) for name in _LEAD)]


def _cell(value: object) -> str:
    """A value that no spreadsheet takes for a formula."""
    if value is None or isinstance(value, int | float):
        return "" if value is None else json.dumps(value)
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
