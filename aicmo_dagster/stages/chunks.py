"""How many leads a stage holds at once, and rows that wait on disk until all are known.

Not here: reading and writing leads (`store.frames`), or what a stage makes of them.
"""

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc
import pyarrow.ipc

from aicmo_dagster.errors import Transient

LEADS = 100_000
"""At once; a campaign of more takes hardly more memory."""

_IN_MEMORY = 1 << 22
"""Bytes that need not go to disk."""

_SAMPLE = 10_000
"""Keys that are looked at to tell where ranges begin."""

_OPTIONS = pyarrow.ipc.IpcWriteOptions(compression="lz4")

Places = npt.NDArray[np.int64]


class Aside:
    """Frames with the same columns that were set aside, in their order."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: pyarrow.ipc.RecordBatchStreamWriter | None = None
        self.rows = 0

    def put(self, frame: pd.DataFrame) -> None:
        """`frame` waits."""
        self.put_table(pyarrow.Table.from_pandas(frame, preserve_index=False))

    def put_table(self, table: pyarrow.Table) -> None:
        """`table` waits."""
        if self._writer is None:
            self._writer = pyarrow.ipc.new_stream(self._file, table.schema, options=_OPTIONS)
        self._writer.write_table(table)
        self.rows += table.num_rows

    def take(self) -> Iterator[pd.DataFrame]:
        """All that was put, each time anew; nothing more may be."""
        for table in self.take_tables():
            yield table.to_pandas(types_mapper=pd.ArrowDtype)

    def take_tables(self) -> Iterator[pyarrow.Table]:
        """All that was put, each time anew; nothing more may be."""
        if self._writer is None:
            return
        self._file.seek(0, os.SEEK_END)  # each time it is closed it writes a mark where it stands
        self._writer.close()
        self._file.seek(0)
        for batch in pyarrow.ipc.open_stream(self._file):
            yield pyarrow.Table.from_batches([batch])

    def forget(self) -> None:
        """All that was put is gone, from the disk too."""
        self._writer, self.rows = None, 0
        self._file.seek(0)
        self._file.truncate()


class ByRange:
    """Rows that were set aside and are taken by the range that their key is in.

    Args:
        file: Where they wait.
        schema: Their columns.
        firsts: The first key of each range but the first, in order.
    """

    def __init__(self, file: IO[bytes], schema: pyarrow.Schema, firsts: Sequence[str]) -> None:
        self._file = file
        self._schema = schema
        self._firsts = firsts
        self._writer = pyarrow.ipc.new_file(file, schema, options=_OPTIONS)
        self._batches: list[list[int]] = [[] for _ in range(len(firsts) + 1)]
        self._count = 0

    def put(self, table: pyarrow.Table, keys: pyarrow.Array) -> None:
        """The rows of `table`, whose keys these are, wait."""
        places = ranges_of(keys, self._firsts)
        sizes = np.bincount(places, minlength=len(self._batches)).tolist()
        ordered = table.take(pyarrow.array(np.argsort(places, kind="stable")))
        for place, end in enumerate(accumulate(sizes)):
            for batch in ordered.slice(end - sizes[place], sizes[place]).to_batches():
                self._writer.write_batch(batch)
                self._batches[place].append(self._count)
                self._count += 1

    def take(self) -> Iterator[pyarrow.Table]:
        """The rows of each range in the order they came; nothing more may be put."""
        self._writer.close()
        self._file.seek(0)
        with pyarrow.ipc.open_file(self._file) as held:
            for places in self._batches:
                yield pyarrow.Table.from_batches(map(held.get_batch, places), self._schema)


def first_keys(keys: Sequence[pyarrow.Array], at_once: int) -> list[str]:
    """The first key of each range but the first, where each holds about `at_once` of `keys`.

    They are told by a sample of the keys.
    """
    count = sum(map(len, keys))
    step = max(1, count // _SAMPLE)
    sample = [part.take(pyarrow.array(np.arange(0, len(part), step))) for part in keys]
    ordered = sorted({key for part in sample for key in part.to_pylist()})
    ranges = max(1, min(-(-count // at_once), len(ordered)))
    return [ordered[len(ordered) * place // ranges] for place in range(1, ranges)]


def ranges_of(keys: pyarrow.Array, firsts: Sequence[str]) -> Places:
    """The range that each of `keys` is in, of those that `firsts` begin but for the first."""
    places = np.zeros(len(keys), np.int64)
    for first in firsts:
        places += pc.greater_equal(keys, first).to_numpy(zero_copy_only=False)
    return places


@contextmanager
def set_aside(folder: Path) -> Iterator[Aside]:
    """Room for frames, in memory while they are few, else in a file without a name in `folder`."""
    with _file(folder) as file:
        yield Aside(file)


@contextmanager
def set_aside_by_range(
    folder: Path, schema: pyarrow.Schema, firsts: Sequence[str]
) -> Iterator[ByRange]:
    """Room for rows, in memory while they are few, else in a file without a name in `folder`."""
    with _file(folder) as file:
        yield ByRange(file, schema, firsts)


@contextmanager
def _file(folder: Path) -> Iterator[IO[bytes]]:
    # Not the usual folder for such files, which is memory in a container.
    try:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder)) as file:
            yield file
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Transient(f"no room is left on the disk of {folder}; make room there") from error
