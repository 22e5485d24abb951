"""A rendered message as the bytes that go over the wire: RFC 5322 headers, two MIME parts.

What all messages of one template share is made once, in a `Skeleton`; the rest is spliced in. The
standard library's own messages cost forty times as much, and are what the tests compare with. The
same `Outgoing` always gives the same bytes, so that a repeat is the same message. Not here: how a
header is written (`headers`), the words of the message (`domain.markdown`), or signing (`signing`).
"""

import binascii
import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from urllib.parse import quote

from aicmo_dagster.domain.markdown import Rendered
from aicmo_dagster.domain.sections.nurture import Sender
from aicmo_dagster.mail.headers import (
    WIDTH,
    ascii_address,
    checked_recipient,
    folded,
    mailbox_header,
    matching,
    text_header,
)

_IDENTIFIER = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")
_TARGET = re.compile(r"https?://[!-;=?-~]+")
_PLAIN = bytes([10, *range(32, 127)])
"""Of text in nothing else only equals signs, and spaces at the end of a line, are encoded."""

_PART = (
    'Content-Type: text/{}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What one lead's message says, and where it goes.

    Args:
        recipient: The lead's address, its domain in ASCII.
        recipient_name: The lead's name as shown beside the address.
        message_id: With angle brackets; derived from campaign, lead and step.
        date: An aware instant; kept with the send, so that a repeat carries the same.
        rendered: Subject and parts.
        unsubscribe_url: The lead's own link.
        in_reply_to: Message-ID of the message that this one follows, if any.
        references: Message-IDs of the whole thread, oldest first.
    """

    recipient: str
    recipient_name: str | None
    message_id: str
    date: datetime
    rendered: Rendered = field(repr=False)
    unsubscribe_url: str
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()


class Skeleton:
    """What every message of one template has in common, made once.

    Args:
        sender: Whom the mail is from; replies go to its `reply_to`, if it has one.
        tagged: Whether the address that replies go to carries the send's own tag.
        campaign: The campaign's key.
        sequence: The sequence the step belongs to.
        step: The step's id.

    Raises:
        Undeliverable: If the sender's address or a name cannot be written safely.
    """

    def __init__(
        self, sender: Sender, campaign: str, sequence: str, step: str, *, tagged: bool = False
    ) -> None:
        address = ascii_address(sender.address)
        reply_to = ascii_address(sender.reply_to) if sender.reply_to else address
        domain = address.rpartition("@")[2]
        # Gmail takes 5 to 15 characters for the sender, the same over all its mail.
        feedback = ":".join((campaign, f"{sequence}.{step}", "nurture", domain[:15]))
        self._from = mailbox_header("From", sender.name, address)
        self._reply_to = mailbox_header("Reply-To", "", reply_to) if sender.reply_to else ""
        self._tagged = reply_to.rpartition("@") if tagged else None
        self._address = address
        self._bounces_tagged = tagged and reply_to == address
        self._mailto = f"<mailto:{quote(reply_to, safe='@+')}?subject=unsubscribe"
        self._identified = (
            text_header("List-ID", f"<{campaign}.{domain}>") + text_header("Feedback-ID", feedback)
        ) + "MIME-Version: 1.0\r\n"

    def message(self, outgoing: Outgoing) -> bytes:
        """`outgoing` as 7-bit MIME with CRLF line ends, text part before HTML part.

        Raises:
            Undeliverable: If an address or header cannot be written safely.
        """
        boundary = f"=_{hashlib.sha256(outgoing.message_id.encode()).hexdigest()[:32]}"
        kind = f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n'
        opened = f"\r\n--{boundary}\r\n"  # the line end before a boundary is part of it
        text, html = outgoing.rendered.text, outgoing.rendered.html
        return b"".join(
            (
                f"{self._headers(outgoing)}{kind}{opened}{_TEXT}".encode("ascii"),
                _quoted_printable(text),
                f"{opened}{_HTML}".encode("ascii"),
                _quoted_printable(html),
                f"\r\n--{boundary}--\r\n".encode("ascii"),
            )
        )

    def return_path(self, message_id: str) -> str:
        """Whom a notice about the message goes to: the envelope's sender.

        Where the sender's own address takes tags, it has the send's: a notice proves what it is
        about even if it quotes nothing of the message (VERP, under a keyed hash).
        """
        return self._tagged_with(message_id) if self._bounces_tagged else self._address

    def _headers(self, outgoing: Outgoing) -> str:
        """Every header but Content-Type, in the order they are sent in."""
        if outgoing.date.tzinfo is None:
            raise ValueError("the date of a message needs a time zone")
        recipient = checked_recipient(outgoing.recipient)
        return "".join(
            (
                self._from,
                mailbox_header("To", outgoing.recipient_name or "", recipient),
                self._replies(outgoing.message_id),
                text_header("Subject", outgoing.rendered.subject),
                _date(outgoing.date),
                f"Message-ID: {_identifier('the Message-ID', outgoing.message_id)}\r\n",
                _thread(outgoing) if outgoing.in_reply_to or outgoing.references else "",
                self._unsubscribe(outgoing.unsubscribe_url),
                self._identified,
            )
        )

    def _replies(self, message_id: str) -> str:
        """Where replies go: with a tag they prove what they answer, whatever else they lack."""
        if self._tagged is None:
            return self._reply_to
        return mailbox_header("Reply-To", "", self._tagged_with(message_id))

    def _tagged_with(self, message_id: str) -> str:
        assert self._tagged is not None
        name, _, host = self._tagged
        return f"{name}+{message_id[1:].partition('@')[0]}@{host}"

    def _unsubscribe(self, url: str) -> str:
        """How to unsubscribe, by link and by mail (RFC 2369); the mail proves itself by the token.

        One-click unsubscription (RFC 8058) is announced only for an https URL, which it demands; an
        http URL, as of a local trial, is listed without it.
        """
        matching("the unsubscribe URL", _TARGET, url)
        token = url.rpartition("/")[2]
        mailto = f"{self._mailto}%20{quote(token)}>"
        listed = f"List-Unsubscribe: <{url}>,\r\n {mailto}\r\n"
        if url.startswith("https:"):
            return f"{listed}List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        return listed


_TEXT, _HTML = _PART.format("plain"), _PART.format("html")


@lru_cache(maxsize=64)
def _date(date: datetime) -> str:
    """The header; a batch of messages has the same."""
    return f"Date: {format_datetime(date)}\r\n"


def _thread(outgoing: Outgoing) -> str:
    """The headers of a message that follows others."""
    written = ""
    if outgoing.in_reply_to:
        written = f"In-Reply-To: {_identifier('In-Reply-To', outgoing.in_reply_to)}\r\n"
    if outgoing.references:
        known = (_identifier("References", each) for each in outgoing.references)
        written += folded("References", known)
    return written


def _identifier(what: str, text: str) -> str:
    return matching(what, _IDENTIFIER, text)


def _quoted_printable(text: str) -> bytes:
    """`text` in UTF-8, encoded.

    ASCII, as nearly all is, is written line by line, which takes half as long as `binascii`. That
    one is given bare line feeds, since it writes its soft breaks as the lines of its input end, and
    some other way where they end in several.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    raw = text.encode("utf-8", "replace")
    # Four times as fast as a regular expression over all of it.
    is_plain = not raw.translate(None, _PLAIN)
    if is_plain and " \n" not in text and text[-1:] != " ":
        lines = text.replace("=", "=3D").split("\n")
        whole = [line if len(line) <= WIDTH else _cut(line) for line in lines]
        return "\r\n".join(whole).encode("ascii")
    encoded = binascii.b2a_qp(raw, quotetabs=False, istext=True)
    return encoded.replace(b"\n", b"\r\n")


@lru_cache(maxsize=1024)
def _cut(line: str) -> str:
    """`line`, too long as it is, in several that end in soft breaks; most are every lead's."""
    pieces = []
    while len(line) > WIDTH:
        end = WIDTH - 1
        if "=" in line[end - 2 : end]:  # never within what stands for an equals sign
            end = line.rindex("=", end - 2, end)
        pieces.append(line[:end])
        line = line[end:]
    return "=\r\n".join((*pieces, line))
