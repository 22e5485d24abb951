"""How many leads a stage holds at once, and frames that wait on disk until all are known.

Not here: reading and writing leads (`store.frames`), or what a stage makes of them.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow
import pyarrow.ipc

LEADS = 100_000
"""At once; a campaign of more takes hardly more memory."""

_IN_MEMORY = 1 << 22
"""Bytes that need not go to disk."""

_OPTIONS = pyarrow.ipc.IpcWriteOptions(compression="lz4")


class Aside:
    """Frames with the same columns that were set aside, in their order."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: pyarrow.ipc.RecordBatchStreamWriter | None = None

    def put(self, frame: pd.DataFrame) -> None:
        """`frame` waits."""
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        if self._writer is None:
            self._writer = pyarrow.ipc.new_stream(self._file, table.schema, options=_OPTIONS)
        self._writer.write_table(table)

    def take(self) -> Iterator[pd.DataFrame]:
        """All that was put; nothing more may be."""
        if self._writer is None:
            return
        self._writer.close()
        self._file.seek(0)
        for batch in pyarrow.ipc.open_stream(self._file):
            yield pyarrow.Table.from_batches([batch]).to_pandas(types_mapper=pd.ArrowDtype)


@contextmanager
def set_aside(folder: Path) -> Iterator[Aside]:
    """Room for frames, in memory while they are few, else in a file without a name in `folder`."""
    # Not the usual folder for such files, which is memory in a container.
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder)) as file:
        yield Aside(file)
