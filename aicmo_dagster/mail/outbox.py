"""The outbox: a folder that takes each message as one file, where no SMTP server is set.

Files are written as in a Maildir, a batch at a time: all drafts whole and on disk, then their
names, then the folder, and only then are they recorded as accepted. So a power cut leaves a name
with the whole message or no name, and no record of a message that is not there; what was being
written is found out by looking (`was_delivered`), be it one message or a batch.
Not here: what a transport is (`delivery`).
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.mail.parcels import Book, Parcel, until_failure
from aicmo_dagster.mail.replies import Delivery

BATCH = 50
"""Messages written at a time: the disk is asked once for their names."""

DRAFT_SECONDS = 3600


class Outbox:
    """A folder of `.eml` files named after the Message-ID, so that a repeat is seen as one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = f"outbox {folder}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
            _remove_old_drafts(folder)
        except OSError as error:
            raise self._unwritable(error) from error

    def deliver(self, parcels: Iterable[Parcel], book: Book) -> None:
        """Every message that `book` allows is on disk under its name, and `book` knows it.

        Raises:
            AicmoError: If the folder cannot be written; what was to be written is planned again.
            Exception: What `parcels` raises, once those before are on disk.
        """
        failures: list[Exception] = []
        queue = until_failure(parcels, failures)
        settled: list[tuple[Parcel, Delivery]] = []
        while batch := list(islice(queue, BATCH)):
            allowed = book.write(settled, batch)
            taken = [parcel for parcel in batch if parcel.message_id in allowed]
            try:
                settled = [(parcel, self._told(written)) for parcel, written in self._store(taken)]
            except OSError as error:
                failed = Delivery("planned", "the outbox cannot be written")
                book.write([(parcel, failed) for parcel in taken if not self._has(parcel)], [])
                raise self._unwritable(error) from error
        if settled:
            book.write(settled, [])
        if failures:
            raise failures[0]

    def was_delivered(self, message_id: str) -> bool:
        """Whether the folder holds the message."""
        return self._path(message_id).exists()

    def close(self) -> None:
        """Nothing is kept open."""

    def _path(self, message_id: str) -> Path:
        return self._folder / _file_name(message_id)

    def _has(self, parcel: Parcel) -> bool:
        return self.was_delivered(parcel.message_id)

    def _told(self, written: bool) -> Delivery:
        return Delivery("accepted", f"{'written' if written else 'already'} in the outbox")

    def _store(self, parcels: Sequence[Parcel]) -> list[tuple[Parcel, bool]]:
        """All `parcels` are whole and on disk under their names; says which were not before."""
        stored = []
        with ExitStack() as drafts:
            open_drafts = [(parcel, self._draft(parcel.content, drafts)) for parcel in parcels]
            for parcel, draft in open_drafts:
                os.fsync(draft.fileno())
                stored.append((parcel, _named(Path(draft.name), self._path(parcel.message_id))))
            self._sync_folder()
        return stored

    def _draft(self, content: bytes, drafts: ExitStack) -> BinaryIO:
        """An open file with `content`, gone at the end of `drafts`."""
        draft = drafts.enter_context(
            tempfile.NamedTemporaryFile(prefix=".draft-", dir=self._folder)  # noqa: SIM115 - in `drafts`
        )
        draft.write(content)
        draft.flush()
        return draft  # type: ignore[return-value]

    def _sync_folder(self) -> None:
        """The folder's own entries for new files are on disk."""
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _unwritable(self, error: OSError) -> AicmoError:
        return AicmoError(
            f"the outbox {self._folder} cannot be written ({error.strerror}); "
            "make it writable, or set AICMO_HOME or AICMO_SMTP_URL"
        )


def discard(folder: Path, message_ids: Iterable[str]) -> int:
    """The folder, if it is there, holds none of these messages any more; tells how many it did."""
    found = [path for each in message_ids if (path := folder / _file_name(each)).exists()]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def _file_name(message_id: str) -> str:
    return f"{hashlib.sha256(message_id.encode()).hexdigest()}.eml"


def _named(draft: Path, path: Path) -> bool:
    """The draft's content has the name `path`, unless there is a file of that name."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    return True


def _remove_old_drafts(folder: Path) -> None:
    """Drafts of processes that ended in the middle go; a young one may still be written."""
    for draft in folder.glob(".draft-*"):
        with suppress(FileNotFoundError):  # it has its name by now
            if time.time() - draft.stat().st_mtime > DRAFT_SECONDS:
                draft.unlink()
