"""Which paid calls have left this machine, on disk: what tells those apart that a kill kept back.

A worker begins calls ahead of time, so that none waits for the database. Each is written down here
before that is committed, and once more just before it leaves, which takes microseconds. What was
written outlasts the process but not a loss of power: then, or on another machine, nothing is known,
and every call that was begun is in doubt. A lock shows that the writer runs, which its number and
the clock alone do not: either may be another's, or be set anew.

Not here: the calls (`provider_calls`), or when one leaves (`harvesting.paid_calls`).
"""

import fcntl
import json
import os
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import sqlalchemy as sa

from aicmo_dagster.errors import Transient
from aicmo_dagster.store.tables import provider_calls
from aicmo_dagster.store.workers import this_boot

_BEGUN, _LEFT, _ENDING = "begun", "left", ".calls"
_CALLS = provider_calls.c


class Departures:
    """What one worker begins and what of it leaves, in `folder`; threads may share it."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._path = folder / f"{uuid.uuid4().hex}{_ENDING}"
        self._worker = worker
        self._file = -1

    def begin(self, calls: Collection[int]) -> None:
        """`calls` are about to be begun: commit that afterwards, and only if this ends well.

        Raises:
            Transient: If the disk does not take it.
        """
        if calls:
            self._write("".join(f"{_BEGUN} {call}\n" for call in calls))

    def leave(self, call: int) -> None:
        """The call leaves now, unless this raises `Transient`, as `begin` does."""
        self._write(f"{_LEFT} {call}\n")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """They are forgotten once the block has ended well: every outcome is in the database."""
        try:
            yield
        except BaseException:  # an interrupt too leaves the note, without which all is in doubt
            self._close()
            raise
        if self._file >= 0:
            self._close()
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, lines: str) -> None:
        try:
            head = "" if self._file >= 0 else self._open()
            content = (head + lines).encode()
            if os.write(self._file, content) < len(content):
                self._refuse("the disk is full")
        except OSError as error:
            self._refuse(str(error.strerror))

    def _open(self) -> str:
        """The first line: whose calls they are, and since when what is written here has lasted."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return json.dumps({"boot": this_boot(), "worker": self._worker}) + "\n"

    def _refuse(self, reason: str) -> NoReturn:
        raise Transient(f"{self._path.parent}: cannot be written ({reason})") from None


def release_kept_back(
    connection: sa.Connection, folder: Path, has_ended: Callable[[str], bool]
) -> tuple[int, list[Path]]:
    """Calls of workers that have ended cost nothing if they never left: they may be begun again.

    Args:
        connection: From `Database.write`.
        folder: Where the workers of this machine tell of their calls.
        has_ended: `workers.has_ended`.

    Returns:
        How many those are, and the files to remove once that is committed.
    """
    begun: dict[str, set[int]] = defaultdict(set)
    left: dict[str, set[int]] = defaultdict(set)
    told = []
    for path in sorted(folder.glob(f"*{_ENDING}")):
        content = _left_behind(path)
        worker, calls = _read(content)
        if content and (worker is None or has_ended(worker)):
            told.append(path)
            begun[worker or ""] |= calls[_BEGUN]
            left[worker or ""] |= calls[_LEFT]
    released = [_release(connection, worker, begun[worker] - left[worker]) for worker in begun]
    return sum(released), told


def _left_behind(path: Path) -> bytes:
    """What stands in a file that nobody writes to any more; nothing while its writer runs."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return file.read()
    except OSError:  # locked, or gone, or another user's
        return b""


def _read(content: bytes) -> tuple[str | None, dict[str, set[int]]]:
    """Whose calls a file tells of, and which; none, if it was not written to its end.

    Nor if the machine went down since: then what was written last may be lost.
    """
    worker = None
    calls: dict[str, set[int]] = {_BEGUN: set(), _LEFT: set()}
    try:
        head, *lines = content.decode().splitlines()
        told = json.loads(head)
        worker = told["worker"]
        for word, call in (line.split() for line in lines):
            calls[word].add(int(call))
        known = told["boot"] == this_boot()
    except (ValueError, KeyError):
        known = False
    return worker, calls if known else {_BEGUN: set(), _LEFT: set()}


def _release(connection: sa.Connection, worker: str, calls: Collection[int]) -> int:
    released = (
        sa.update(provider_calls)
        .where(_CALLS.id.in_(calls), _CALLS.worker == worker, _CALLS.state == "begun")
        .values(state="refused", credits=0.0, detail="it never left", finished_at=_CALLS.started_at)
    )
    return connection.execute(released).rowcount if calls else 0
