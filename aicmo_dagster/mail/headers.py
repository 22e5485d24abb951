"""Header fields as the lines that carry them: folded, encoded words (RFC 2047), never two fields.

Not here: which headers a message has (`messages`).
"""

import base64
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

from aicmo_dagster.errors import AicmoError

WIDTH = 76
"""Octets of a line: what encoded words and quoted-printable allow."""

_LONGEST_WORD = 900
"""Well below the 998 octets that a line may have, since no word is ever split."""

_ENCODED_OCTETS = 45
"""Octets of text in one encoded word, which may be 75 characters long."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_MAILBOX = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_ATOMS = re.compile(rf"{_ATOM}(?: {_ATOM})*")


class Undeliverable(AicmoError, ValueError):
    """This message cannot be sent to this lead as it stands; says why without the address."""


def text_header(name: str, text: str) -> str:
    """The header `name` with `text`, folded between words and never within one.

    A long URL or Message-ID is neither cut nor encoded: nobody who reads those decodes them.

    Raises:
        Undeliverable: If `text` holds a line break or another control character.
    """
    line = f"{name}: {text}\r\n"
    if not text.isprintable():
        raise Undeliverable(f"{name} holds a line break or another control character")
    if len(line) <= WIDTH + 2 and _is_plain(text):
        return line
    return folded(name, _words(text))


def mailbox_header(name: str, shown: str, address: str) -> str:
    """The header `name` with one address and the name shown beside it.

    Args:
        name: Of the header.
        shown: Any text; what cannot be printed becomes a space.
        address: As `checked_recipient` or `ascii_address` gives it.
    """
    line = f"{name}: {shown} <{address}>\r\n"
    if len(line) <= WIDTH + 2 and "=?" not in shown and _ATOMS.fullmatch(shown):
        return line  # as nearly all are
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else " " for c in shown)
    shown = " ".join(shown.split())
    bare = f"<{address}>" if shown else address
    return folded(name, [*_phrase(shown), bare])


def folded(name: str, words: Iterable[str]) -> str:
    """The header `name` with as many words a line as fit."""
    words = list(words)
    line = f"{name}: {' '.join(words)}\r\n"
    if len(line) <= WIDTH + 2:
        return line
    lines = [f"{name}:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > WIDTH and lines[-1] != f"{name}:":
            lines.append("")
        lines[-1] += f" {word}"
    return "\r\n".join(lines) + "\r\n"


def checked_recipient(address: str) -> str:
    """The recipient's `address`, if it can be written as it is.

    Raises:
        Undeliverable: If not; the text does not quote it.
    """
    if not address.isascii():
        local = address.rpartition("@")[0]
        if not local.isascii():
            raise Undeliverable("the address needs SMTPUTF8: its part before the @ is not ASCII")
        raise Undeliverable("the address has a domain that is not in ASCII (IDNA)")
    return matching("the address", _MAILBOX, address)


@lru_cache(maxsize=1024)
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
    return matching("the sender's address", _MAILBOX, address)


def matching(what: str, pattern: re.Pattern[str], text: str) -> str:
    """`text`, which is all of what `pattern` allows and short enough for one line.

    Raises:
        Undeliverable: If it is not; names `what`, and does not quote the text.
    """
    if len(text) > _LONGEST_WORD or not pattern.fullmatch(text):
        raise Undeliverable(f"{what} is malformed or too long")
    return text


def _is_plain(text: str) -> bool:
    """Whether `text` may stand in a header as it is, without being read as anything else."""
    spaced = not text or (text[0] != " " and text[-1] != " " and "  " not in text)
    return spaced and text.isascii() and "=?" not in text


def _words(text: str) -> list[str]:
    """`text` as words to fold between: itself if it is plain, else encoded words."""
    words = text.split(" ")
    if _is_plain(text) and all(len(word) <= _LONGEST_WORD for word in words):
        return words
    return [f"=?utf-8?b?{base64.b64encode(octets).decode()}?=" for octets in _chunks(text)]


def _chunks(text: str) -> Iterator[bytes]:
    """`text` in UTF-8, cut between characters into what fits in an encoded word."""
    chunk = b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(chunk) + len(octets) > _ENCODED_OCTETS:
            yield chunk
            chunk = b""
        chunk += octets
    yield chunk


def _phrase(name: str) -> list[str]:
    """`name` before an address: bare, quoted or encoded, whichever carries it."""
    if not name:
        return []
    if len(name) < WIDTH and "=?" not in name and _ATOMS.fullmatch(name):
        return name.split(" ")
    words = _words(name)
    if "=?" in words[0] or _ATOMS.fullmatch(name):
        return words
    return ('"' + name.replace("\\", r"\\").replace('"', r"\"") + '"').split(" ")
