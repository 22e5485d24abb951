"""What came of handing one message over, and how a server's reply is read.

Whether a refusal is about the recipient or about us decides what follows from it (RFC 3463, RFC
5248). Not here: talking to the server (`smtp`), or what follows for the lead (`store.ledger`).
"""

import re
from dataclasses import dataclass
from typing import Literal

State = Literal["accepted", "deferred", "rejected", "unknown", "planned"]


@dataclass(frozen=True)
class Delivery:
    """What came of one attempt.

    Args:
        state: `accepted` by the server; `deferred`: not now; `rejected`: never to this recipient;
            `unknown`: the message was handed over and no answer came; `planned`: the connection
            failed before the message was complete, so that trying again cannot make a second one.
        reply: The server's code and words, or ours, without the recipient's address.
    """

    state: State
    reply: str


_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")
_ABOUT_THE_RECIPIENT = frozenset({"5.7.13", "5.7.17", "5.7.18"})
_ABOUT_US = frozenset({"5.1.7", "5.1.8"})
_OUR_COMMANDS = frozenset({500, 501, 502, 503, 504, 530, 535, 538})
"""Refusals of a command rather than of an address or a message."""


def judged(code: int, words: str) -> State:
    """What a reply to RCPT, DATA or the message itself means.

    A permanent refusal for reasons of ours (policy, authentication, our address) must not cost the
    lead its address: it is put off, and the reply tells the operator.
    """
    if 200 <= code < 300:
        return "accepted"
    if 400 <= code < 500:
        return "deferred"
    if not 500 <= code < 600:
        return "unknown"
    found = _ENHANCED.match(words)
    if found is None:
        return "deferred" if code in _OUR_COMMANDS else "rejected"
    ours = found[2] == "7" and found[0] not in _ABOUT_THE_RECIPIENT
    return "deferred" if ours or found[0] in _ABOUT_US else "rejected"


def without_recipient(code: int, words: str, recipient: str) -> str:
    """The reply as one line in which nothing names the recipient."""
    text = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    local = recipient.rpartition("@")[0]
    for name in filter(None, (recipient, local)):
        bounded = rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"
        text = re.sub(bounded, "[recipient]", text, flags=re.IGNORECASE)
    return f"{code} {text}"[:500].rstrip()
