"""A rendered message as the bytes that go over the wire: RFC 5322 headers, two MIME parts.

The same `Outgoing` always gives the same bytes, so that a repeat is the same message. Not here: the
words of the message (`domain.markdown`), signing, or handing it over (`delivery`).
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import MessageError
from email.header import Header
from email.headerregistry import (
    Address,
    BaseHeader,
    HeaderRegistry,
    UniqueSingleAddressHeader,
    UnstructuredHeader,
)
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP, Policy
from urllib.parse import quote

from email_validator import EmailNotValidError, validate_email

from aicmo_dagster.domain.campaigns import Sender
from aicmo_dagster.domain.markdown import Rendered
from aicmo_dagster.errors import AicmoError

WIDTH = 76
"""Octets of a line: what encoded words and quoted-printable allow."""

_LONGEST_WORD = 900
"""Well below the 998 octets that a line may have, since no word is ever split."""

_MAILBOX = re.compile(r"[!-;=?-~]+@[A-Za-z0-9.:\[\]-]+")
_IDENTIFIER = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")
_TARGET = re.compile(r"https?://[!-;=?-~]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")


class Undeliverable(AicmoError, ValueError):
    """This message cannot be sent to this lead as it stands; says why without the address."""


@dataclass(frozen=True)
class Outgoing:
    """A message and where it goes.

    Args:
        sender: Whom it is from; replies go to its `reply_to`, if it has one.
        recipient: The lead's address, its domain in ASCII.
        recipient_name: The lead's name as shown beside the address.
        message_id: With angle brackets; derived from campaign, lead and step.
        date: An aware instant; kept with the send, so that a repeat carries the same.
        rendered: Subject and parts.
        unsubscribe_url: The lead's own link.
        campaign: The campaign's key.
        sequence: The sequence the step belongs to.
        step: The step's id.
        in_reply_to: Message-ID of the message that this one follows, if any.
        references: Message-IDs of the whole thread, oldest first.
    """

    sender: Sender
    recipient: str
    recipient_name: str | None
    message_id: str
    date: datetime
    rendered: Rendered = field(repr=False)
    unsubscribe_url: str
    campaign: str
    sequence: str
    step: str
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()


def build_message(outgoing: Outgoing) -> bytes:
    """`outgoing` as 7-bit MIME with CRLF line ends, text part before HTML part.

    One-click unsubscription (RFC 8058) is announced only for an https URL, which it demands; an
    http URL, as of a local trial, is listed without it.

    Raises:
        Undeliverable: If an address or header cannot be written safely.
    """
    message = EmailMessage(policy=_POLICY)
    for name, value in _headers(outgoing):
        message[name] = value
    message["MIME-Version"] = "1.0"
    boundary = hashlib.sha256(outgoing.message_id.encode()).hexdigest()[:32]
    message["Content-Type"] = f'multipart/alternative; boundary="=_{boundary}"'
    for subtype, content in (("plain", outgoing.rendered.text), ("html", outgoing.rendered.html)):
        part = MIMEPart(policy=_POLICY)
        part.set_content(content, subtype=subtype, charset="utf-8", cte="quoted-printable")
        message.attach(part)  # type: ignore[arg-type]
    return message.as_bytes()


def _headers(outgoing: Outgoing) -> Iterable[tuple[str, str | Address | datetime]]:
    """Every header but MIME's own, in the order they are sent in."""
    sender = outgoing.sender
    address = ascii_address(sender.address)
    reply_to = ascii_address(sender.reply_to) if sender.reply_to else address
    if outgoing.date.tzinfo is None:
        raise ValueError("the date of a message needs a time zone")
    yield "From", _mailbox(sender.name, address)
    yield "To", _mailbox(outgoing.recipient_name or "", _checked_recipient(outgoing.recipient))
    if sender.reply_to:
        yield "Reply-To", _mailbox("", reply_to)
    yield "Subject", _one_line("the subject", outgoing.rendered.subject)
    yield "Date", outgoing.date
    yield "Message-ID", _matching("the Message-ID", _IDENTIFIER, outgoing.message_id)
    if outgoing.in_reply_to:
        yield "In-Reply-To", _matching("In-Reply-To", _IDENTIFIER, outgoing.in_reply_to)
    if outgoing.references:
        known = (_matching("References", _IDENTIFIER, each) for each in outgoing.references)
        yield "References", " ".join(known)
    yield from _list_headers(outgoing, address, reply_to)


def _list_headers(outgoing: Outgoing, address: str, reply_to: str) -> Iterable[tuple[str, str]]:
    """What lets the recipient's side unsubscribe, sort and complain."""
    domain = address.rpartition("@")[2]
    url = _matching("the unsubscribe URL", _TARGET, outgoing.unsubscribe_url)
    mailto = f"mailto:{quote(reply_to, safe='@+')}?subject=unsubscribe"
    yield "List-Unsubscribe", f"<{url}>, <{mailto}>"
    if url.startswith("https:"):
        yield "List-Unsubscribe-Post", "List-Unsubscribe=One-Click"
    yield "List-ID", _one_line("List-ID", f"<{outgoing.campaign}.{domain}>")
    # Gmail takes 5 to 15 characters for the sender, the same over all its mail.
    parts = (outgoing.campaign, f"{outgoing.sequence}.{outgoing.step}", "nurture", domain[:15])
    yield "Feedback-ID", _one_line("Feedback-ID", ":".join(parts))


class _Text(UnstructuredHeader, BaseHeader):
    """Text that is folded between words and never within one.

    The library's own folding turns a long URL or Message-ID into encoded words, which nobody who
    reads those headers decodes.
    """

    max_count = 1

    def fold(self, *, policy: Policy) -> str:
        """The header as written."""
        return _folded(str(self.name), _words(str(self)), policy.linesep)


class _Mailbox(UniqueSingleAddressHeader, BaseHeader):  # type: ignore[misc]
    """One address with a name; encoded here, since the library loses quotes when it folds."""

    def fold(self, *, policy: Policy) -> str:
        """The header as written."""
        address = self.address
        bare = f"<{address.addr_spec}>" if address.display_name else address.addr_spec
        words = [*_phrase(address.display_name), bare]
        return _folded(str(self.name), words, policy.linesep)


def _registry() -> HeaderRegistry:
    registry = HeaderRegistry()
    for name in ("From", "To", "Reply-To"):
        registry.map_to_type(name, _Mailbox)
    for name in ("Subject", "Message-ID", "In-Reply-To", "References", "List-ID", "Feedback-ID"):
        registry.map_to_type(name, _Text)
    for name in ("List-Unsubscribe", "List-Unsubscribe-Post"):
        registry.map_to_type(name, _Text)
    return registry


_POLICY = SMTP.clone(header_factory=_registry(), max_line_length=WIDTH, cte_type="7bit")


def _words(text: str) -> list[str]:
    """`text` as words to fold between: itself if it is plain, else encoded words (RFC 2047)."""
    words = text.split(" ")
    plain = text.isascii() and text.isprintable() and "=?" not in text and all(words)
    if plain and all(len(word) <= _LONGEST_WORD for word in words):
        return words
    return Header(text, "utf-8", maxlinelen=WIDTH - 1, header_name="").encode().split("\n ")


def _phrase(name: str) -> list[str]:
    """`name` before an address: bare, quoted or encoded, whichever carries it."""
    if not name:
        return []
    words = _words(name)
    if "=?" in words[0] or _ATOMS.fullmatch(name):
        return words
    return ('"' + name.replace("\\", r"\\").replace('"', r"\"") + '"').split(" ")


def _folded(name: str, words: Iterable[str], line_end: str) -> str:
    """The header `name` with as many words a line as fit."""
    lines = [f"{name}:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > WIDTH and lines[-1] != f"{name}:":
            lines.append("")
        lines[-1] += f" {word}"
    return f"{line_end.join(lines)}{line_end}"


def _mailbox(name: str, address: str) -> Address:
    shown = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    try:
        return Address(shown, addr_spec=address)
    except (ValueError, IndexError, MessageError):
        raise Undeliverable("an address is not one that mail can be sent to") from None


def _checked_recipient(address: str) -> str:
    local, _, domain = address.rpartition("@")
    if not local.isascii():
        raise Undeliverable("the address needs SMTPUTF8: its part before the @ is not ASCII")
    if not domain.isascii():
        raise Undeliverable("the address has a domain that is not in ASCII (IDNA)")
    return _matching("the address", _MAILBOX, address)


def ascii_address(address: str) -> str:
    """The sender's `address` with its domain in ASCII, as headers and SMTP take it.

    Raises:
        Undeliverable: If it cannot be.
    """
    if not address.isascii():
        try:
            found = validate_email(address, check_deliverability=False, test_environment=True)
        except EmailNotValidError:
            raise Undeliverable("the sender's address is not an address") from None
        address = found.ascii_email or ""
        if not address:
            raise Undeliverable("the sender's address needs SMTPUTF8: use one in ASCII")
    return _matching("the sender's address", _MAILBOX, address)


def _matching(what: str, pattern: re.Pattern[str], text: str) -> str:
    if len(text) > _LONGEST_WORD or not pattern.fullmatch(text):
        raise Undeliverable(f"{what} is malformed or too long")
    return text


def _one_line(what: str, text: str) -> str:
    if not text.isprintable():
        raise Undeliverable(f"{what} holds a line break or another control character")
    return text
