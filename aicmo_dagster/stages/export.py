"""A stage's rows as a file, part by part, so that any number of them takes little memory.

Not here: where the file goes (`cli.export`, `api.exports`).
"""

import io
from collections.abc import Iterator
from typing import Literal

import pandas as pd
import pyarrow
import pyarrow.parquet

from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_page

Format = Literal["csv", "parquet", "jsonl"]
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

_ROWS = 2_000


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
            yield defused(frame).to_csv(index=False, header=place == 0).encode()
        elif not frame.empty:
            text = frame.to_json(orient="records", lines=True, date_format="iso", force_ascii=False)
            yield text.encode()


def defused(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with an apostrophe before text that a spreadsheet would run as a formula (OWASP)."""
    texts = [str(name) for name, dtype in frame.dtypes.items() if str(dtype).startswith("string")]
    changed = {}
    for name in texts:
        runs = frame[name].str.startswith(FORMULA_STARTS).fillna(False).astype(bool)
        changed[name] = frame[name].mask(runs, "'" + frame[name])
    return frame.assign(**changed)


def _frames(workspace: Workspace, stage: str, key: str, rows: int) -> Iterator[pd.DataFrame]:
    """The rows in parts, at least one, which may be empty."""
    after: list[str] | None = None
    while True:
        with workspace.database.read() as connection:
            frame, after = read_page(connection, stage, key, rows, after)
        yield frame
        if after is None:
            return


def _parquet(frames: Iterator[pd.DataFrame]) -> Iterator[bytes]:
    """A row group for each frame."""
    sink = _Sink()
    first = pyarrow.Table.from_pandas(next(frames), preserve_index=False)
    with pyarrow.parquet.ParquetWriter(pyarrow.PythonFile(sink, "w"), first.schema) as writer:
        writer.write_table(first)
        yield sink.taken()
        for frame in frames:
            writer.write_table(pyarrow.Table.from_pandas(frame, preserve_index=False))
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
