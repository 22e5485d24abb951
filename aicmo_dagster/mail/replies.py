"""What came of handing one message over, and how a server's reply is read.

Whose fault a refusal is decides what follows from it (RFC 3463, RFC 5248). Not here: talking to the
server (`smtp`), or what follows for the lead (`store.outcomes`).
"""

import re
from dataclasses import dataclass
from typing import Literal

State = Literal["accepted", "deferred", "rejected", "unknown", "planned"]
Fault = Literal["address", "domain", "lead", "sender", "message"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one attempt.

    Args:
        state: `accepted` by the server; `deferred`: not now; `rejected`: never to this recipient;
            `unknown`: the message was handed over and no answer came; `planned`: the connection
            failed before the message was complete, so that trying again cannot make a second one.
        reply: The server's code and words, or ours, without the recipient's address.
        fault: Of a refusal, what is wrong: the `address` or its `domain` is dead; the `lead`'s
            mailbox cannot take it, now or for a reason we do not know; we, the `sender`, are not
            welcome; the `message` of this step cannot be sent by anyone.
    """

    state: State
    reply: str
    fault: Fault | None = None


_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?!\d)")
_DEAD_ADDRESS = frozenset({"5.1.1", "5.1.3", "5.1.6", "5.2.1", "5.7.13", "5.7.17"})
_DEAD_DOMAIN = frozenset({"5.1.2", "5.1.10", "5.4.4", "5.7.18"})
_MAILBOX_CANNOT_NOW = frozenset({"5.2.2", "5.2.3", "5.4.7"})
_ABOUT_US = frozenset({"5.1.7", "5.1.8"})
_ABOUT_THE_MESSAGE = frozenset({"5.3.4", "5.4.6"})
_OUR_COMMANDS = frozenset({500, 501, 502, 503, 504, 530, 535, 538})
"""Refusals of a command rather than of an address or a message."""

_NOBODY_THERE = re.compile(
    r"unknown|no such|not (?:found|exist)|n't exist|no (?:mailbox|account)|recipient address rej"
    r"|invalid (?:recipient|mailbox|address)|(?:disabled|deactivated|inactive)",
    re.IGNORECASE,
)
_NOT_WELCOME = re.compile(
    r"spam|block|black ?list|deny|denied|policy|reputation|dmarc|dkim|\bspf\b|relay|authenticat",
    re.IGNORECASE,
)
_GREYLISTED = re.compile(r"gr[ae]y", re.IGNORECASE)


def judged(code: int, words: str) -> tuple[State, Fault | None]:
    """What a reply to RCPT, DATA or the message itself means, and whose fault a refusal is.

    A permanent refusal for reasons of ours (policy, authentication, our address) must not cost the
    lead its address: it is put off, and the reply tells the operator.
    """
    if 200 <= code < 300:
        return "accepted", None
    if not 400 <= code < 600:
        return "unknown", None
    found = _ENHANCED.match(words)
    if code < 500:
        ours = found is not None and found[2] == "7" and not _GREYLISTED.search(words)
        return "deferred", "sender" if ours else "lead"
    return _refused(found[0], words) if found and found[1] == "5" else _bare(code, words)


def _refused(status: str, words: str) -> tuple[State, Fault]:
    """What a permanent refusal with an enhanced status code means."""
    subject = status.split(".")[1]
    if status in _DEAD_ADDRESS:
        return "rejected", "address"
    if status in _DEAD_DOMAIN:
        return "rejected", "domain"
    if status in _MAILBOX_CANNOT_NOW:
        return "deferred", "lead"
    if subject == "7" or status in _ABOUT_US:
        return "deferred", "sender"
    if subject in ("5", "6") or status in _ABOUT_THE_MESSAGE:
        return "deferred", "message"
    # Exchange says 5.4.1, and many say 5.1.0, of an address that there is not.
    said = status in ("5.1.0", "5.4.1") and _NOBODY_THERE.search(words)
    return "rejected", "address" if said else "lead"


def _bare(code: int, words: str) -> tuple[State, Fault]:
    """What a permanent refusal without an enhanced status code means, by its words."""
    if code in _OUR_COMMANDS:
        return "deferred", "sender"
    if code in (550, 551, 553) and _NOBODY_THERE.search(words):
        return "rejected", "address"
    return ("deferred", "sender") if _NOT_WELCOME.search(words) else ("rejected", "lead")


def without_recipient(code: int, words: str, recipient: str) -> str:
    """The reply as one line of at most 500 characters in which nothing names the recipient."""
    if not words.isprintable():
        words = "".join(c if c.isprintable() else " " for c in words)
    text = " ".join(words.split())
    local = recipient.rpartition("@")[0]
    if local and local.lower() in text.lower():
        for name in (recipient, local):
            bounded = rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"
            text = re.sub(bounded, "[recipient]", text, flags=re.IGNORECASE)
    return f"{code} {text}"[:500].rstrip()
