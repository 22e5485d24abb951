"""Files of leads that are no CSV, as CSV: Parquet and JSON Lines, part by part.

Not here: what the columns mean (`csv_files`).
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from aicmo_dagster.errors import BadInput, Problem

Kind = Literal["csv", "jsonl", "parquet"]

_ROWS = 10_000
_MOST_COLUMNS = 1_000


def as_csv(path: Path, kind: Kind, where: str) -> Path:
    """A CSV file with the records of the file at `path`; beside it, unless it is one itself.

    Raises:
        BadInput: If it cannot be read as what it is said to be. `where` names it.
    """
    if kind == "csv":
        return path
    made = path.with_suffix(".made.csv")
    if kind == "parquet":
        _from_parquet(path, made, where)
    else:
        _from_lines(path, made, where)
    return made


def _from_parquet(path: Path, made: Path, where: str) -> None:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema = pyarrow.schema([(name, pyarrow.string()) for name in file.schema_arrow.names])
            with pyarrow.csv.CSVWriter(made, schema) as writer:
                for batch in file.iter_batches(_ROWS):
                    columns = [_as_text(column) for column in batch.columns]
                    writer.write_batch(pyarrow.record_batch(columns, schema=schema))
    except (pyarrow.ArrowException, OSError):
        expected = "Parquet with columns of plain values"
        raise BadInput(Problem(where, "", "something else", expected)) from None


def _as_text(column: pyarrow.Array) -> pyarrow.Array:
    """Each value as text; a list's members separated by ';'."""
    if pyarrow.types.is_list(column.type) or pyarrow.types.is_large_list(column.type):
        texts = column.cast(pyarrow.list_(pyarrow.string()))
        return pc.binary_join(texts, ";")
    return column.cast(pyarrow.string())


def _from_lines(path: Path, made: Path, where: str) -> None:
    """Twice through the file, since the last record may have a field that no other has."""
    names: dict[str, None] = {}
    for line, record in _objects(path, where):
        names |= dict.fromkeys(record)
        if len(names) > _MOST_COLUMNS:
            expected = f"at most {_MOST_COLUMNS} fields in all"
            raise BadInput(Problem(where, f"line {line}", "more fields", expected))
    with made.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for _, record in _objects(path, where):
            writer.writerow([_written(record.get(name)) for name in names])


def _objects(path: Path, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each object of the file with its line; blank lines are left out."""
    with path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                record = json.loads(text)
                json.dumps(record, ensure_ascii=False).encode()  # halves of characters
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                expected = "one JSON object a line, in UTF-8"
                raise BadInput(Problem(where, f"line {number}", "something else", expected))
            yield number, record


def _written(value: Any) -> str:
    """`value` as a cell."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ";".join(value)
    return json.dumps(value, ensure_ascii=False)
