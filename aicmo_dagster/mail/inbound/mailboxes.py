"""Where mail arrives: an IMAP folder or a Maildir, read in order from a cursor on.

Nothing is deleted, moved or marked: what was read is known by the cursor. Not here: keeping the
cursor (`store.inbound`), or reading a message (`reading`).
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from aicmo_dagster.errors import AicmoError, BadInput, Problem, Transient
from aicmo_dagster.mail.inbound.reading import LARGEST

TIMEOUT_SECONDS = 20
OVERLAP_SECONDS = 3600
_VARIABLE = "AICMO_INBOUND_URL"
_SHAPES = "imaps://USER:PASSWORD@HOST/INBOX, imap://…?tls=starttls or maildir:PATH"


@dataclass(frozen=True)
class Arrived:
    """One message, and the cursor that stands after it."""

    content: bytes
    cursor: str


class Mailbox(Protocol):
    """Gives what arrived; `name` is the same for the same mailbox and holds no secret."""

    name: str

    def arrived(self, cursor: str | None, limit: int) -> Iterator[Arrived]:
        """Up to `limit` messages after `cursor`, oldest first.

        Raises:
            AicmoError: If the mailbox cannot be read now; nothing was missed.
        """

    def mark(self) -> str:
        """Something short that changes whenever a message arrives; as cheap as can be."""


def open_mailbox(url: str) -> Mailbox:
    """The mailbox of `url`.

    Raises:
        BadInput: If it cannot be read as one; the message does not quote it.
    """
    if url.startswith("maildir:") and url.removeprefix("maildir:"):
        return Maildir(Path(url.removeprefix("maildir:")))
    try:
        parts = urlsplit(url)
        if parts.scheme in ("imap", "imaps") and parts.hostname and parts.username:
            return Imap(parts)
    except ValueError:
        pass
    raise BadInput(Problem(_VARIABLE, "", "something else", _SHAPES))


class Maildir:
    """A Maildir on this machine: its files sorted by the time in their names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = f"maildir:{folder}"

    def arrived(self, cursor: str | None, limit: int) -> Iterator[Arrived]:
        """As `Mailbox.arrived`; the cursor names what was read of the latest hour.

        A delivery takes its name when it begins, so that one may appear behind a later one.
        """
        latest, seen = json.loads(cursor) if cursor else (0, {})
        files = sorted(each for each in self._files() if each[0] > latest - OVERLAP_SECONDS)
        unread = [each for each in files if each[1] not in seen]
        for at, name, path in unread[:limit]:
            with contextlib.suppress(FileNotFoundError):  # moved or expunged in between
                content = path.read_bytes()[:LARGEST]
                latest = max(latest, at)
                seen = {n: t for n, t in seen.items() if t > latest - OVERLAP_SECONDS} | {name: at}
                yield Arrived(content, json.dumps([latest, seen]))

    def mark(self) -> str:
        """As `Mailbox.mark`."""
        return "/".join(map(str, max(self._files(), default=(0, ""))[:2]))

    def _files(self) -> Iterator[tuple[int, str, Path]]:
        """(second of delivery, unique name, path) of every message."""
        if not (self._folder / "new").is_dir():
            raise AicmoError(f"{_VARIABLE}: {self._folder} is not a Maildir; make it, or name one")
        for folder in ("new", "cur"):
            place = self._folder / folder
            for path in place.iterdir() if place.is_dir() else ():
                name = path.name.partition(":")[0]
                first = name.partition(".")[0]
                with contextlib.suppress(FileNotFoundError):
                    at = int(first) if first.isdecimal() else int(path.stat().st_mtime)
                    yield at, name, path


class Imap:
    """A folder of an IMAP server, read by UID within its UIDVALIDITY (RFC 9051, section 2.3.1)."""

    def __init__(self, parts: SplitResult) -> None:
        self._parts = parts
        self._folder = unquote(parts.path.lstrip("/")) or "INBOX"
        self.name = f"{parts.scheme}://{parts.username}@{parts.hostname}:{parts.port or ''}"
        self.name += f"/{self._folder}"

    def arrived(self, cursor: str | None, limit: int) -> Iterator[Arrived]:
        """As `Mailbox.arrived`; messages of another UIDVALIDITY are all given again."""
        with self._connected() as client:
            opened = client.select_folder(self._folder, readonly=True)
            validity = int(opened[b"UIDVALIDITY"])
            last = _imap_cursor(cursor, validity)
            # A range up to * holds the last message even where it is older.
            found = client.search(["UID", f"{last + 1}:*"])
            for uid in sorted(each for each in found if each > last)[:limit]:
                content = _body(client, uid)
                if content is not None:
                    yield Arrived(content, json.dumps([validity, uid]))

    def mark(self) -> str:
        """As `Mailbox.mark`."""
        with self._connected() as client:
            status = client.folder_status(self._folder, ["UIDVALIDITY", "UIDNEXT"])
        return f"{status[b'UIDVALIDITY']}/{status[b'UIDNEXT']}"

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            with self._client() as client:
                yield client
        except (IMAPClientError, OSError) as error:
            where = f"{self._parts.hostname}, folder {self._folder}"
            raise Transient(
                f"{_VARIABLE}: {where}, cannot be read ({type(error).__name__}); "
                "check host, user, password and folder"
            ) from None

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        """A client that is logged in; logged out at the end."""
        parts = self._parts
        client = IMAPClient(
            str(parts.hostname), parts.port, ssl=parts.scheme == "imaps", timeout=TIMEOUT_SECONDS
        )
        try:
            if parse_qs(parts.query).get("tls") == ["starttls"]:
                client.starttls()
            client.login(unquote(str(parts.username)), unquote(parts.password or ""))
            yield client
        finally:
            with contextlib.suppress(IMAPClientError, OSError):
                client.logout()
            with contextlib.suppress(IMAPClientError, OSError):
                client.shutdown()  # where the server ended the session, logging out does not


def _imap_cursor(cursor: str | None, validity: int) -> int:
    known, last = json.loads(cursor) if cursor else (validity, 0)
    return last if known == validity else 0


def _body(client: Any, uid: int) -> bytes | None:
    """The beginning of a message; nothing if it was expunged in between."""
    answer = client.fetch([uid], [f"BODY.PEEK[]<0.{LARGEST}>"]).get(uid, {})
    return next((value for name, value in answer.items() if name.startswith(b"BODY[")), None)
