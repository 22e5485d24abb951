"""A stage's rows as a file, part by part, so that any number of them takes little memory.

Not here: where the file goes (`cli.export`, `api.exports`).
"""

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Literal

import pandas as pd
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet

from aicmo_dagster.domain.spreadsheets import FORMULA_STARTS
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_page

Format = Literal["csv", "parquet", "jsonl"]
_FORMULA = rf"\A[{re.escape(''.join(FORMULA_STARTS))}]"

_ROWS, _FRAMES_TOGETHER = 1_000, 10


def exported(
    workspace: Workspace, stage: str, key: str, kind: Format, rows: int = _ROWS
) -> Iterator[bytes]:
    """The campaign's rows of `stage`, by lead, `rows` at a time.

    Each part is what the stage holds when it is read: rows of a stage that runs meanwhile may be
    of before or after it. No text begins as a formula does in a CSV file (OWASP).
    """
    frames = _frames(workspace, stage, key, rows)
    if kind == "parquet":
        yield from _parquet(frames)
        return
    for place, frame in enumerate(frames):
        if kind == "csv":
            yield _csv(frame, header=place == 0)
        elif not frame.empty:
            text = frame.to_json(orient="records", lines=True, date_format="iso", force_ascii=False)
            yield text.encode()


def _csv(frame: pd.DataFrame, *, header: bool) -> bytes:
    """As RFC 4180 has it; `DataFrame.to_csv` takes twice as long, and quotes no carriage return."""
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow(frame.columns)
    writer.writerows(zip(*(_cells(frame[name]) for name in frame), strict=True))
    return text.getvalue().encode()


def _cells(column: pd.Series) -> list[object]:
    """The values, with an apostrophe before text that a spreadsheet would run as a formula."""
    values = pyarrow.array(column)
    if pyarrow.types.is_string(values.type):
        runs = pc.match_substring_regex(values, _FORMULA)
        marked = pc.binary_join_element_wise("'", values, "")
        values = pc.if_else(runs, marked, values)
    cells: list[object] = values.to_pylist()
    return cells


def _frames(workspace: Workspace, stage: str, key: str, rows: int) -> Iterator[pd.DataFrame]:
    """The rows in parts, at least one, which may be empty."""
    after: list[str] | None = None
    while True:
        with workspace.database.read() as connection:
            frame, following = read_page(connection, stage, key, rows, after)
        if len(frame) or after is None:
            yield frame
        if following is None:
            return
        after = following


def _parquet(frames: Iterator[pd.DataFrame]) -> Iterator[bytes]:
    """Some frames to a row group: its rows are held at once, and 2 kB a column until the end."""
    sink = _Sink()
    tables = (pyarrow.Table.from_pandas(frame, preserve_index=False) for frame in frames)
    first = next(tables)
    every = chain([first], tables)
    file = pyarrow.PythonFile(sink, "w")
    with pyarrow.parquet.ParquetWriter(file, first.schema, write_statistics=False) as writer:
        yield sink.taken()  # what says that it is Parquet: nobody has to wait for a row group
        while group := list(islice(every, _FRAMES_TOGETHER)):
            writer.write_table(pyarrow.concat_tables(group))
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """What is written to it can be taken away, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, part: object) -> int:
        """`part` is kept until it is taken."""
        written = bytes(part)  # type: ignore[call-overload]
        self._parts.append(written)
        self._size += len(written)
        return len(written)

    def tell(self) -> int:
        """How much was written in all."""
        return self._size

    def taken(self) -> bytes:
        """What was written since it was last taken."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
