"""Ways to the post office of a world that may fail: SMTP over a real connection, and the outbox.

Both are the transports that mail really goes through; the journal stays the judge of what arrived.
Not here: when they fail (`troubles`).
"""

import re
import socketserver
import threading
from collections.abc import Callable, Iterable
from email import message_from_bytes
from email.utils import parseaddr
from pathlib import Path

from aicmo_dagster.mail.outbox import Outbox
from aicmo_dagster.mail.parcels import Book, Parcel
from aicmo_dagster.mail.servers import Timeouts
from aicmo_dagster.mail.smtp import Smtp
from aicmo_dagster.simulation.post import PostOffice
from aicmo_dagster_tests.mail.books import Notebook

IMPATIENT = Timeouts(connect=2, command=0.25, data=0.25, block=0.5, dot=0.25)

MOODS = ("well", "shut", "busy", "deaf", "lost", "dropped", "silent")
"""How the server is: it works; it greets with 421; it ends sessions with 421; it says nothing to
MAIL; it drops the connection before it has taken a message; or after; or it takes one and is
silent.
"""

_ADDRESS = re.compile(rb"<([^>]*)>")


class Wire:
    """SMTP to a server in this process, which hands what it takes to `office`.

    Args:
        office: Where the mail goes.
        mood: How the server is now, one of MOODS; a bad one befalls two of three messages.
    """

    def __init__(self, office: PostOffice, mood: Callable[[], str]) -> None:
        self._server = _Server(("127.0.0.1", 0), _Session)
        self._server.office, self._server.mood = office, mood
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.daemon = True
        self._thread.start()
        port = self._server.server_address[1]
        self._smtp = Smtp(f"smtp://127.0.0.1:{port}?connections=2", IMPATIENT)
        self.name = self._smtp.name

    def deliver(self, parcels: Iterable[Parcel], book: Book) -> None:
        """As `mail.delivery.Transport` promises."""
        self._smtp.deliver(parcels, book)

    def was_delivered(self, message_id: str) -> None:
        """Nothing: SMTP has no way to ask."""
        return

    def close(self) -> None:
        """Nobody listens any more."""
        self._smtp.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Folder:
    """The outbox, which the post office empties: each file is a message that has arrived."""

    def __init__(self, office: PostOffice, folder: Path) -> None:
        self._office, self._folder = office, folder
        self._outbox: Outbox | None = None
        self._known: set[str] = set()
        self.name = f"outbox {folder}"
        if folder.is_dir():
            self._collect()

    def deliver(self, parcels: Iterable[Parcel], book: Book) -> None:
        """As `mail.delivery.Transport` promises."""
        self._outbox = self._outbox or Outbox(self._folder)
        try:
            self._outbox.deliver(parcels, book)
        finally:
            self._collect()

    def was_delivered(self, message_id: str) -> bool:
        """Whether the folder holds the message."""
        self._outbox = self._outbox or Outbox(self._folder)
        return self._outbox.was_delivered(message_id)

    def close(self) -> None:
        """Nothing is kept open."""

    def _collect(self) -> None:
        """What lies in the folder stands in the journal."""
        for path in sorted(self._folder.glob("*.eml")):
            if path.name in self._known:
                continue
            self._known.add(path.name)
            content = path.read_bytes()
            message = message_from_bytes(content)
            message_id = str(message["Message-ID"]).strip()
            if message_id not in self._office.journal.known:
                parcel = Parcel(_bare(message["From"]), _bare(message["To"]), message_id, content)
                self._office.receive(parcel)


def _bare(header: object) -> str:
    return parseaddr(str(header))[1]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    office: PostOffice
    mood: Callable[[], str]

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.lock = threading.Lock()
        self._met = 0

    def befalls(self, *moods: str) -> bool:
        """Whether one of these moods befalls what is about to happen."""
        with self.lock:
            self._met += 1
            return self.mood() in moods and self._met % 3 > 0

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is part of the game."""


class _Session(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        if self.server.befalls("shut"):
            return self._say("421 4.3.2 closed for the day")
        self._say("220 rehearsal")
        self._paths: dict[bytes, str] = {}
        for line in self.rfile:
            if not self._answered(line):
                return None
        return None

    def _answered(self, line: bytes) -> bool:
        """Whether the session goes on after the command."""
        verb = line[:4].upper()
        if verb == b"DATA":
            self._say("354 go on")
            return self._taken(self._paths[b"MAIL"], self._paths[b"RCPT"])
        if verb == b"MAIL" and self.server.befalls("busy"):
            self._say("421 4.7.0 too many, try again later")
            return False
        if verb == b"MAIL" and self.server.befalls("deaf"):
            self.rfile.readline()  # until the other side has had enough
            return False
        self._paths[verb] = _within(line)
        self._say("221 bye" if verb == b"QUIT" else "250 2.0.0 ok")
        return verb != b"QUIT"

    def _taken(self, sender: str, recipient: str) -> bool:
        """Whether the session goes on after the message."""
        lines: list[bytes] = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        if not line or self.server.befalls("lost"):
            return False
        told = self._handed_over(sender, recipient, b"".join(lines))
        if self.server.befalls("dropped"):
            return False
        if self.server.befalls("silent"):
            self.rfile.readline()
            return False
        self._say(told)
        return True

    def _handed_over(self, sender: str, recipient: str, content: bytes) -> str:
        """What the post office says of the message."""
        message_id = str(message_from_bytes(content)["Message-ID"]).strip()
        book = Notebook()
        with self.server.lock:
            parcel = Parcel(sender, recipient, message_id, content)
            self.server.office.deliver([parcel], book)
        [(_, delivery)] = book.outcomes
        return delivery.reply

    def _say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())


def _within(line: bytes) -> str:
    found = _ADDRESS.search(line)
    return found[1].decode() if found else ""
