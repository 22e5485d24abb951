"""Events on disk between a request and the database: each survives a crash once it is acknowledged.

A writer appends to a segment of its own, locked while it lives; a segment that is full, old or left
behind by a process that ended is read by whoever drains. Not here: what an event means (`events`).
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]
"""One event as plain JSON values."""

OPEN, READY, REFUSED = ".open", ".ready", ".refused"
LARGEST = 8 * 2**20
"""Octets after which a segment is closed."""


class Writer:
    """Appends records to segments in `folder`; for one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segment: Path | None = None
        self._file = -1
        self._size = 0
        self._made = 0

    def append(self, records: Sequence[Record]) -> None:
        """`records` outlast a crash of the process and a loss of power from now on.

        Raises:
            OSError: If the disk does not take them; none of them may be acknowledged.
        """
        content = b"".join(json.dumps(each).encode() + b"\n" for each in records)
        try:
            if self._segment is None:
                self._begin()
            written = 0
            while written < len(content):
                written += os.write(self._file, content[written:])
            os.fdatasync(self._file)
        except OSError:
            self.close()  # a part of a line may stand there, so nothing is to follow it
            raise
        self._size += len(content)
        if self._size > LARGEST:
            self.close()

    def close(self) -> None:
        """What was appended is ready to be drained."""
        if self._segment is None:
            return
        segment, self._segment = self._segment, None
        with contextlib.suppress(OSError):  # it stays open, and is found by its lock
            segment.rename(segment.with_suffix(READY))
        os.close(self._file)

    def _begin(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._made += 1
        name = f"{time.time_ns():020d}-{os.getpid()}-{self._made}{OPEN}"
        path = self._folder / name
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._segment, self._size = path, 0
        _sync_folder(self._folder)


def drain(
    folder: Path, take: Callable[[list[Record]], None], refusals: tuple[type[Exception], ...]
) -> int:
    """Hands each finished segment's records to `take` and then removes it; tells how many.

    Whoever is second while another process drains does nothing. A segment may be handed over again
    after a crash, so `take` must know each record by its key.

    Args:
        folder: Where the segments are.
        take: Keeps the records for good, or raises.
        refusals: Errors of `take` that will come again: the segment is put aside as `.refused`.
    """
    if not folder.is_dir():
        return 0
    drained = 0
    with _only_one(folder) as alone:
        for segment in _finished(folder) if alone else []:
            records = list(_records(segment))
            try:
                take(records)
            except refusals:
                segment.rename(segment.with_suffix(REFUSED))
                continue
            segment.unlink()
            drained += len(records)
    return drained


def rewrite(folder: Path, keep: Callable[[Record], bool]) -> int:
    """Records that are not to be kept vanish from what is not drained yet; tells how many.

    A segment that its writer still holds is left alone: drain first and ask again.
    """
    removed = 0
    if not folder.is_dir():
        return 0
    with _only_one(folder, wait=True):
        for segment in [*_finished(folder), *folder.glob(f"*{REFUSED}")]:
            records = list(_records(segment))
            kept = [each for each in records if keep(each)]
            if len(kept) < len(records):
                removed += len(records) - len(kept)
                _replace(segment, kept)
    return removed


def _finished(folder: Path) -> list[Path]:
    """Segments that nobody writes to any more, oldest first; those left behind are taken over."""
    for path in folder.glob(f"*{OPEN}"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_size or time.time() - path.stat().st_mtime > 60:
                path.rename(path.with_suffix(READY))
    return sorted(folder.glob(f"*{READY}"))


def _records(segment: Path) -> Iterator[Record]:
    """The segment's whole records; a last line cut by a crash was never acknowledged."""
    with segment.open("rb") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record


def _replace(segment: Path, records: list[Record]) -> None:
    draft = segment.with_suffix(".draft")
    with draft.open("wb") as file:
        draft.chmod(0o600)
        file.writelines(json.dumps(each).encode() + b"\n" for each in records)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(segment)


@contextlib.contextmanager
def _only_one(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether this is the one process that drains now."""
    with (folder / "drain.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
