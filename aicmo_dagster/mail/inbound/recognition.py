"""What a message is: bounce, complaint, automatic answer, objection or a person's reply.

In this order, since a bounce may call itself an automatic reply. Not here: what follows from it
(`engaging.listen`).
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from aicmo_dagster.domain.tokens import normal_address
from aicmo_dagster.mail.inbound.answers import (
    human_text,
    is_absence,
    is_automatic,
    objects,
    returns_on,
)
from aicmo_dagster.mail.inbound.bounces import Bounce, read_bounces
from aicmo_dagster.mail.inbound.complaints import complaint_kind
from aicmo_dagster.mail.inbound.reading import Reading, read
from aicmo_dagster.mail.inbound.traces import Traces, traces_in

Kind = Literal["bounce", "complaint", "out_of_office", "auto_reply", "objection", "reply"]

LONGEST_EXCERPT = 2_000


@dataclass(frozen=True)
class Inbound:
    """What came in.

    Args:
        kind: What it is.
        sender: Whom it says it is from, normalised; anyone can write that.
        traces: What of ours it quotes.
        bounces: Of a bounce: the recipients that were not reached.
        feedback: Of a complaint: its type.
        returns_on: Of an absence: when the person is back, if it says so.
        text: Of a person's words: those written anew.
    """

    kind: Kind
    sender: str
    traces: Traces
    bounces: tuple[Bounce, ...] = ()
    feedback: str | None = None
    returns_on: date | None = None
    text: str = ""


def recognise(content: bytes, today: date) -> Inbound:
    """What the message `content` is, whatever is wrong with it."""
    reading = read(content)
    sender = next(iter(reading.addresses("From", "Sender")), "")
    said = Inbound(_kind(reading), normal_address(sender[:320]), traces_in(reading))
    if said.kind == "bounce":
        return replace(said, bounces=tuple(read_bounces(reading)))
    if said.kind == "complaint":
        return replace(said, feedback=complaint_kind(reading))
    if said.kind == "out_of_office":
        return replace(said, returns_on=returns_on(reading, today))
    return replace(said, text=human_text(reading)[:LONGEST_EXCERPT])


def _kind(reading: Reading) -> Kind:
    if complaint_kind(reading):
        return "complaint"
    if read_bounces(reading):
        return "bounce"
    if is_automatic(reading):
        return "out_of_office" if is_absence(reading) else "auto_reply"
    return "objection" if objects(reading) else "reply"
