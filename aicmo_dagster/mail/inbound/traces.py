"""What of ours a message quotes: proof that it answers a send, and which.

Our Message-IDs and tokens are keyed hashes, so only someone who got the message can name them; an
address anyone can write. Not here: looking them up (`store.recipients`).
"""

import re
from dataclasses import dataclass

from aicmo_dagster.mail.inbound.reading import Reading, content_of, decoded

_IDENTIFIER = re.compile(r"<([0-9a-f]{32}@[A-Za-z0-9.-]{1,253})>")
_PLUS = re.compile(r"\+([0-9a-f]{32})@([A-Za-z0-9.-]{1,253})")
_TOKEN = re.compile(r"(?<![\w.-])([A-Za-z0-9_-]{16,400}\.[A-Za-z0-9_-]{22})(?![\w-])")
_RECIPIENTS = ("To", "Cc", "Delivered-To", "X-Original-To", "Envelope-To", "X-Failed-Recipients")
_ANSWERED = ("In-Reply-To", "References")
_MOST = 50


@dataclass(frozen=True)
class Traces:
    """What may name a send: Message-IDs with brackets, and signed tokens; the likeliest first."""

    message_ids: tuple[str, ...]
    tokens: tuple[str, ...]


def traces_in(reading: Reading) -> Traces:
    """Everything in the message that has the shape of a name of ours.

    A Message-ID counts wherever it stands: in what is answered, in a returned message's headers,
    in quoted text, or as the tag of the address that was written to.
    """
    answered = " ".join(reading.headers(*_ANSWERED))
    tagged = " ".join(reading.headers(*_RECIPIENTS))
    inside = [f"{name}: {decoded(value)}" for part in reading.parts for name, value in part.items()]
    texts = [content_of(p) for p in reading.parts if not isinstance(p.get_payload(), list)]
    elsewhere = "\n".join([*inside, *texts])
    named = [f"<{found}>" for found in _IDENTIFIER.findall(answered)][::-1]
    named += [f"<{tag}@{host}>" for tag, host in _PLUS.findall(f"{tagged} {elsewhere}")]
    named += [f"<{found}>" for found in _IDENTIFIER.findall(elsewhere)]
    tokens = _TOKEN.findall(f"{reading.header('Subject')} {elsewhere}")
    return Traces(tuple(dict.fromkeys(named))[:_MOST], tuple(dict.fromkeys(tokens))[:_MOST])
