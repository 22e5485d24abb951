"""One message's exchange with an SMTP server, phase by phase: what to say next, what came of it.

Before the final dot nothing has been accepted, and trying again is safe; after it, silence means
that nobody knows. Commands are pipelined where the server takes that (RFC 2920). No socket here:
`smtp` carries what is said.
"""

from collections.abc import Collection, Generator
from typing import Literal, NamedTuple

from aicmo_dagster.mail.headers import ascii_address
from aicmo_dagster.mail.parcels import Parcel
from aicmo_dagster.mail.replies import Delivery, Fault, State, judged, without_recipient

Reply = tuple[int, bytes]
"""A server's code, -1 if it cannot be read, and its words."""


class Say(NamedTuple):
    """Something to say, and what is waited for then; with no words, only the next reply."""

    words: bytes
    awaited: Literal["command", "data", "dot", "leave"]


LEAVE = Say(b"", "leave")
"""Asks for leave to let the message go: it is answered by nothing once the attempt is recorded."""

_HEAR, _HEAR_OF_DATA = Say(b"", "command"), Say(b"", "data")

Steps = Generator[Say, Reply, None]


class Conversation:
    """The exchange about one parcel.

    Args:
        parcel: What is handed over.
        extensions: What the server offers, in lower case.

    `delivery` is what came of it, as soon as that is settled; `reusable` says whether the
    connection can take another message when `steps` has ended.
    """

    def __init__(self, parcel: Parcel, extensions: Collection[str]) -> None:
        self.parcel = parcel
        self.delivery: Delivery | None = None
        self.reusable = False
        self.leaving = False
        self._awaited = False
        self._extensions = extensions

    def steps(self) -> Steps:
        """What to say, one after the other; each is sent the server's reply to it."""
        refused_at, reply = yield from self._announce()
        if refused_at is not None:
            self._refuse(refused_at, reply)
            if self._is_refused() and not self._awaited:
                code, _ = yield Say(b"RSET\r\n", "command")
                self.reusable = code == 250
            return
        yield LEAVE
        self.leaving = True
        code, words = yield Say(_stuffed(self.parcel.content), "dot")
        text = _text(words)
        self._settle(code, text, *judged(code, text))
        self.reusable = code != 421 and self._is_settled()

    def lost(self, how: str) -> Delivery:
        """What came of it when the connection ends here."""
        if self.delivery is not None:
            return self.delivery
        if self.leaving:
            return Delivery("unknown", f"no answer to the message: {how}")
        return Delivery("planned", f"the connection failed before the end: {how}")

    def _announce(self) -> Generator[Say, Reply, tuple[str | None, Reply]]:
        """The server waits for the message, or has refused: at which command, and how."""
        mail, rcpt = self._envelope()
        if "pipelining" in self._extensions:
            replies = [(yield Say(b"%s%sDATA\r\n" % (mail, rcpt), "command"))]
            replies.append((yield _HEAR))
            replies.append((yield _HEAR_OF_DATA))
            refusal = _first_refusal(replies)
            if refusal[0] is not None and replies[2][0] == 354:
                self._awaited = True
            if refusal[0] == "RCPT" and self._awaited:
                # The server waits for a message to nobody (RFC 2920, section 3.1): give it none.
                yield Say(b".\r\n", "data")
                self._awaited = False
            return refusal
        replies = []
        for command in (mail, rcpt, b"DATA\r\n"):
            replies.append((yield Say(command, "data" if command == b"DATA\r\n" else "command")))
            refusal = _first_refusal(replies)
            if refusal[0] is not None:
                break
        return refusal

    def _envelope(self) -> tuple[bytes, bytes]:
        """MAIL and RCPT, asking for notices that can be told apart (RFC 3461) where possible."""
        parcel, offered = self.parcel, self._extensions
        size = f" SIZE={len(parcel.content)}" if "size" in offered else ""
        named, notified = "", ""
        if "dsn" in offered:
            envelope_id = parcel.message_id[1:].partition("@")[0]
            named = f" RET=HDRS ENVID={envelope_id}" if envelope_id.isalnum() else " RET=HDRS"
            notified = " NOTIFY=FAILURE,DELAY"
        mail = f"MAIL FROM:<{ascii_address(parcel.sender)}>{size}{named}\r\n"
        return mail.encode("ascii"), f"RCPT TO:<{parcel.recipient}>{notified}\r\n".encode("ascii")

    def _refuse(self, command: str, reply: Reply) -> None:
        """What a reply before the final dot means.

        A server that goes away (421), or whose answer makes no sense, has refused nothing: that is
        the connection's fault. A refused sender is never the lead's.
        """
        code, words = reply
        text = _text(words)
        if code == 421 or not 400 <= code < 600:
            self._settle(code, text, "planned")
        elif command == "MAIL":
            self._settle(code, text, "deferred", "sender")
        else:
            self._settle(code, text, *judged(code, text))

    def _settle(self, code: int, text: str, state: State, fault: Fault | None = None) -> None:
        told = without_recipient(code, text, self.parcel.recipient)
        self.delivery = Delivery(state, told, fault)

    def _is_refused(self) -> bool:
        return self.delivery is not None and self.delivery.state != "planned"

    def _is_settled(self) -> bool:
        return self.delivery is not None and self.delivery.state != "unknown"


def _first_refusal(replies: list[Reply]) -> tuple[str | None, Reply]:
    """The first command of MAIL, RCPT and DATA that was not taken, and the reply to it."""
    for command, taken, reply in zip(
        ("MAIL", "RCPT", "DATA"), ((250,), (250, 251), (354,)), replies, strict=False
    ):
        if reply[0] not in taken:
            return command, reply
    return None, replies[-1]


def _stuffed(content: bytes) -> bytes:
    """`content` with its dots doubled where a line begins with one, and the final dot."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    first = b"." if stuffed.startswith(b".") else b""
    end = b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"
    return b"%s%s%s" % (first, stuffed, end)


def _text(words: bytes) -> str:
    return words.decode("utf-8", "replace")
