"""The outbox: a folder that takes each message as one file, where no SMTP server is set.

Not here: what a transport is (`delivery`). A file is written as in a Maildir: whole, on disk, and
under its name only then.
"""

import hashlib
import os
import tempfile
import time
from pathlib import Path

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.mail.replies import Delivery

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

    def deliver(self, sender: str, recipient: str, message_id: str, content: bytes) -> Delivery:
        """The message is on disk under its name; a second time nothing changes."""
        path = self._path(message_id)
        try:
            written = not path.exists() and self._write(path, content)
        except OSError as error:
            raise self._unwritable(error) from error
        return Delivery("accepted", f"{'written' if written else 'already'} in the outbox")

    def was_delivered(self, message_id: str) -> bool:
        """Whether the folder holds the message."""
        return self._path(message_id).exists()

    def close(self) -> None:
        """Nothing is kept open."""

    def _path(self, message_id: str) -> Path:
        return self._folder / f"{hashlib.sha256(message_id.encode()).hexdigest()}.eml"

    def _write(self, path: Path, content: bytes) -> bool:
        """The file is whole and on disk; says whether it was not there before."""
        descriptor, draft = tempfile.mkstemp(prefix=".draft-", dir=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        except FileExistsError:
            return False
        finally:
            Path(draft).unlink()
        self._sync_folder()
        return True

    def _sync_folder(self) -> None:
        """The folder's own entry for a new file is on disk."""
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


def _remove_old_drafts(folder: Path) -> None:
    """Drafts of processes that ended in the middle go; a young one may still be written."""
    for draft in folder.glob(".draft-*"):
        if time.time() - draft.stat().st_mtime > DRAFT_SECONDS:
            draft.unlink(missing_ok=True)
