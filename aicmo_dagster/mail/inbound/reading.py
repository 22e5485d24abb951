"""A message as it came in, whatever is wrong with it: headers and text that can be read.

Not here: what the message is (`recognition`).
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.policy import compat32
from email.utils import getaddresses
from functools import cached_property

from inscriptis import get_text

LARGEST = 2 * 2**20
"""Octets of a message that are looked at; what matters stands at the beginning."""

LONGEST_TEXT = 50_000
_MOST_PARTS = 200
_SPACES = re.compile(r"\s+")
_NAME_OF = {"ks_c_5601-1987": "cp949", "gb2312": "gb18030", "unknown-8bit": "utf-8"}


@dataclass(frozen=True)
class Reading:
    """A parsed message; nothing here raises, whatever the message holds."""

    message: Message

    @cached_property
    def parts(self) -> list[Message]:
        """The message and its parts, from the outside in."""
        found = []
        for part in _walk(self.message):
            found.append(part)
            if len(found) >= _MOST_PARTS:
                break
        return found

    @cached_property
    def text(self) -> str:
        """What a person would read: the plain text, else the HTML as text."""
        own = [part for part in _own_parts(self.message) if not part.get_filename()]
        for kind in ("text/plain", "text/html"):
            texts = [content_of(part) for part in own if part.get_content_type() == kind]
            joined = "\n".join(texts)[:LONGEST_TEXT]
            if joined.strip():
                return joined if kind == "text/plain" else as_text(joined)
        return ""

    def header(self, name: str) -> str:
        """The header's words on one line, decoded; empty if there is none."""
        return decoded(self.message.get(name))

    def headers(self, *names: str) -> list[str]:
        """Every value of these headers, decoded."""
        return [decoded(value) for name in names for value in self.message.get_all(name, [])]

    def addresses(self, *names: str) -> list[str]:
        """The addresses in these headers, as written."""
        try:
            return [address for _, address in getaddresses(self.headers(*names)) if address]
        except (ValueError, IndexError):
            return []


def read(content: bytes) -> Reading:
    """`content` as a message; of one that cannot be taken to pieces, its headers at least."""
    try:
        return Reading(message_from_bytes(content[:LARGEST], policy=compat32))
    except (RecursionError, ValueError, LookupError, AttributeError, TypeError):
        head = re.split(rb"\r?\n\r?\n", content[:LARGEST], maxsplit=1)[0]
        safe = b"\r\n".join(
            line for line in head.splitlines() if not line[:13].lower().startswith(b"content-type")
        )
        return Reading(message_from_bytes(safe[:65_536] + b"\r\n\r\n", policy=compat32))


def decoded(value: object) -> str:
    """A header's value as text on one line."""
    if value is None:
        return ""
    try:
        pieces = decode_header(str(value)[:20_000])
    except (HeaderParseError, binascii.Error, ValueError, LookupError):
        pieces = [(str(value), None)]
    words = [_as_string(piece, charset) for piece, charset in pieces]
    return _SPACES.sub(" ", "".join(words)).strip()


def content_of(part: Message) -> str:
    """The text of a part, whatever encoding it claims."""
    try:
        payload = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError, AttributeError, TypeError):
        payload = part.get_payload()
    charset = part.get_param("charset")
    return _as_string(payload, charset if isinstance(charset, str) else None)


def as_text(html: str) -> str:
    """HTML as text; nothing where it is past reading."""
    try:
        return get_text(html)
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, RecursionError):
        return ""


def _as_string(content: object, charset: str | None) -> str:
    if isinstance(content, bytes):
        name = (charset or "utf-8").strip("\"' ").lower()
        try:
            return _storable(content.decode(_NAME_OF.get(name, name), "replace"))
        except (LookupError, ValueError):
            return _storable(content.decode("latin-1"))
    text = content if isinstance(content, str) else ""
    return _storable(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def _storable(text: str) -> str:
    """`text` with a mark for what no database takes: NUL, and half a pair, which UTF-7 can hold."""
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "\ufffd")


def _walk(message: Message) -> Iterator[Message]:
    """As `Message.walk`, without recursion."""
    waiting = [message]
    while waiting:
        part = waiting.pop(0)
        yield part
        inner = part.get_payload()
        if isinstance(inner, list):
            waiting[:0] = [each for each in inner if isinstance(each, Message)]


def _own_parts(message: Message) -> Iterator[Message]:
    """The parts that are this message's own words, and not those of a message within it."""
    waiting, seen = [message], 0
    while waiting and seen < _MOST_PARTS:
        part = waiting.pop(0)
        seen += 1
        yield part
        inner = part.get_payload()
        if isinstance(inner, list) and part.get_content_maintype() == "multipart":
            waiting[:0] = [each for each in inner if isinstance(each, Message)]
