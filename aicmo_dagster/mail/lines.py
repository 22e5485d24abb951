"""An open connection to an SMTP server that never waits: what arrived, and what is still to go.

Not here: what is said on it (`conversations`), or waiting for many at once (`smtp`).
"""

import re
import smtplib
import socket
import ssl
import time
from contextlib import suppress

from aicmo_dagster.mail.conversations import LEAVE, Conversation, Reply, Say, Steps
from aicmo_dagster.mail.parcels import Parcel
from aicmo_dagster.mail.servers import Timeouts, kind_of

_LONGEST_REPLY = 65536
_REPLY = re.compile(rb"(\d\d\d) ([^\r\n]*)\r?\n")
"""A reply of one line, as nearly all are."""
_PIECE = 65536


class Line:
    """A connection over which one message is handed over after the other.

    Args:
        session: Greeted and logged in; its socket is ours from now on.
        limits: How long each phase may take.
    """

    def __init__(self, session: smtplib.SMTP, limits: Timeouts) -> None:
        assert session.sock is not None
        self._session = session  # closes the socket as soon as it is forgotten
        self.socket: socket.socket = session.sock
        self.socket.setblocking(False)
        self.carried = 0
        self.conversation: Conversation | None = None
        self._following: Conversation | None = None
        self._behind = 0
        self.deadline = float("inf")
        self.awaits_leave = False
        self.watched = 0
        self.ended: str | None = None
        self._extensions = frozenset(session.esmtp_features)
        self._limits = limits
        self._steps: Steps | None = None
        self._next_steps: Steps | None = None
        self._arrived = b""
        self._unsent = memoryview(b"")
        self._awaited = "command"

    @property
    def sending(self) -> bool:
        """Whether something is still to go out."""
        return len(self._unsent) > 0

    @property
    def leaving(self) -> bool:
        """Whether something of the message itself is still to go out."""
        return len(self._unsent) > self._behind

    @property
    def pipelines(self) -> bool:
        """Whether the server takes commands before it has answered those before them."""
        return "pipelining" in self._extensions

    def begin(self, parcel: Parcel) -> None:
        """The exchange about `parcel` is under way."""
        self.conversation = Conversation(parcel, self._extensions)
        self._steps = self.conversation.steps()
        self._take(None)

    def allow(self, following: Parcel | None = None) -> None:
        """The message goes, its attempt being recorded, and behind it the envelope of the next.

        Args:
            following: Only if the server `pipelines`: a message may be the first of a group of
                commands (RFC 2920, section 3.1). Nothing of its own content leaves.
        """
        assert self._steps is not None
        self.awaits_leave = False
        message = next(self._steps)
        envelope = b""
        if following is not None:
            self._following = Conversation(following, self._extensions)
            self._next_steps = self._following.steps()
            envelope = next(self._next_steps).words
        self._behind = len(envelope)
        self._say(Say(message.words + envelope, message.awaited))

    def proceed(self) -> None:
        """The exchange that has ended is forgotten, and that which follows it is under way."""
        self.conversation, self._following = self._following, None
        self._behind = 0
        if self.conversation is not None:
            self._steps = self._next_steps
            self._awaited = "command"
            self._wait(self._awaited)
            if self.ended is None:  # else nobody knows what the rest of it answers
                self._answer()

    def receive(self) -> None:
        """What has arrived is taken in, and answered."""
        while self.ended is None:
            try:
                piece = self.socket.recv(_PIECE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError as error:
                self.ended = kind_of(error)
                return
            if not piece:
                self._end_of_replies()
                return
            self._arrived += piece
            if len(piece) < _PIECE and not isinstance(self.socket, ssl.SSLSocket):
                break
        self._answer()

    def send(self) -> None:
        """As much of what is to go out as the connection takes now."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._next_piece()) :]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self.receive()  # what the server said before that still counts
            self.ended = self.ended or kind_of(error)
            return
        self._wait(self._awaited)

    def _next_piece(self) -> memoryview:
        """What is to go out next; a message apart from what is behind it where TLS is spoken.

        For that tells of nothing that has left before all of it has: of a message that it had
        handed over we would believe that its end is still here.
        """
        apart = self.leaving and isinstance(self.socket, ssl.SSLSocket)
        return self._unsent[: len(self._unsent) - self._behind] if apart else self._unsent

    def finished(self) -> bool:
        """Whether there is no exchange under way."""
        return self._steps is None

    def quit(self) -> None:
        """The connection is ended, politely as far as that takes no time."""
        if self.ended is None and not self.sending and self._steps is None:
            with suppress(OSError):  # nobody listens any more
                self.socket.send(b"QUIT\r\n")
        self.close()

    def close(self) -> None:
        """The connection is ended."""
        self._session.close()
        self.socket.close()

    def _end_of_replies(self) -> None:
        """The server has closed; what it said before that still counts."""
        self._answer()
        self.ended = self.ended or "closed by the server"

    def _answer(self) -> None:
        while self._steps is not None and not self.awaits_leave:
            reply = self._next_reply()
            if reply is None:
                return
            if self.leaving:  # refused while it is still going out: the rest stays here
                self.ended = "closed by us"
            self._take(reply)
        if self._steps is None and self._following is None and self._arrived:
            self.ended = "closed by the server"  # it speaks only to say so

    def _take(self, reply: Reply | None) -> None:
        """The exchange goes on after `reply`."""
        assert self._steps is not None
        try:
            say = next(self._steps) if reply is None else self._steps.send(reply)
        except StopIteration:
            self._steps = None
            self.deadline = float("inf")
            return
        if say is LEAVE:
            self.awaits_leave = True
            self.deadline = float("inf")
        else:
            self._say(say)

    def _say(self, say: Say) -> None:
        self._awaited = say.awaited
        if say.words:
            self._unsent = memoryview(say.words)
            self.send()
            if self._unsent:
                self._wait("block")
        else:
            self._wait(say.awaited)

    def _wait(self, phase: str) -> None:
        seconds: float = getattr(self._limits, phase)
        self.deadline = time.monotonic() + seconds

    def _next_reply(self) -> Reply | None:
        """The first whole reply that has arrived, which is taken off; none while it is not whole.

        What is no reply at all has the code -1.
        """
        if reply := _REPLY.match(self._arrived):
            self._arrived = self._arrived[reply.end() :]
            return int(reply[1]), reply[2]
        words = []
        position = 0
        while (end := self._arrived.find(b"\n", position)) >= 0:
            text = self._arrived[position:end].rstrip(b"\r")
            position = end + 1
            words.append(text[4:])
            if not text[:3].isdigit() or text[3:4] != b"-":
                self._arrived = self._arrived[position:]
                code = int(text[:3]) if len(text) >= 3 and text[:3].isdigit() else -1
                return code, b"\n".join(words)
        if len(self._arrived) > _LONGEST_REPLY:
            self._arrived = b""
            return -1, b"a reply of any length"
        return None
