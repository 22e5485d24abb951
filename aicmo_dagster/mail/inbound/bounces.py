"""Reports of failed delivery: those of RFC 3464, and those that are written for people.

Not here: what a status code means (`status`), or which send it is about (`traces`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from flufl.bounce import all_failures

from aicmo_dagster.mail.inbound.reading import Reading, decoded
from aicmo_dagster.mail.inbound.status import Failure, code_in, explains, failure_of

_DAEMON = re.compile(
    r"mailer-?daemon|postmaster|mail ?delivery|delivery subsystem|mdaemon|\bndr@|mail[_ -]?admin|"
    r"system administrator|^<>|smtp_mail_service",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"undeliver|delivery (status|fail|notif|report|problem|error)|"
    r"fail(ed|ure) (notice|mail|deliver)|"
    r"(mail|message) .{0,40}(fail|error|reject|returned|delayed|not be delivered)|"
    r"return(ed|ing) (mail|message|to sender)|(could )?not (be )?delivered|non[- ](remis|delivery)|"
    r"processing error",
    re.IGNORECASE,
)
_DELAYED = re.compile(
    r"delayed|still (being|trying)|not yet been delivered|will be retried|"
    r"will (keep|continue) (on )?trying",
    re.IGNORECASE,
)
_COPY = re.compile(
    r"^(-{3,}|={3,}|_{3,}).*(message|header|below|original|copy|text)|^original message|"
    r"^(received|return-path|delivered-to): ",
    re.IGNORECASE | re.MULTILINE,
)
_SPACES = re.compile(r"\s+")
_MOST_WORDS = 3_000


@dataclass(frozen=True)
class Bounce:
    """One recipient that a message did not reach.

    Args:
        failure: What it is about; `delayed` means that the other side still tries.
        status: The enhanced status code, if there is one.
        address: Whom it did not reach, as the report says, if it does.
    """

    failure: Failure
    status: str
    address: str | None


def read_bounces(reading: Reading) -> list[Bounce]:
    """The failures that a message reports; none if it is no report."""
    reported = [found for block in _status_blocks(reading) if (found := _of_block(block))]
    if reported:
        return reported
    if not _looks_like_one(reading):
        return []
    words = _SPACES.sub(" ", _before_the_copy(reading.text))[:_MOST_WORDS]
    temporary, permanent = _addresses(reading)
    failed = reading.addresses("X-Failed-Recipients")
    if not (temporary or permanent or failed or explains(words)):
        return []
    told = f"{reading.header('Subject')} {words}"
    address = next(iter([*failed, *permanent, *temporary]), None)
    if (temporary and not permanent) or (_DELAYED.search(told) and not permanent):
        return [Bounce("delayed", code_in(words), address)]
    return [Bounce(failure_of("", words), code_in(words), address)]


def _status_blocks(reading: Reading) -> Iterator[Message]:
    """The blocks of `message/delivery-status` that tell of one recipient each."""
    for part in reading.parts:
        if part.get_content_type() != "message/delivery-status":
            continue
        blocks = part.get_payload()
        for block in blocks if isinstance(blocks, list) else []:
            if isinstance(block, Message) and (block["Action"] or block["Final-Recipient"]):
                yield block


def _of_block(block: Message) -> Bounce | None:
    action = decoded(block["Action"]).lower()
    status, words = decoded(block["Status"]), decoded(block["Diagnostic-Code"])
    named = decoded(block["Final-Recipient"] or block["Original-Recipient"])
    address = named.rpartition(";")[2].strip(" <>") or None
    code = code_in(status) or code_in(words)
    if action.startswith(("delivered", "relayed", "expanded")) or code.startswith("2."):
        return None
    if action.startswith("delayed"):
        return Bounce("delayed", code, address)
    return Bounce(failure_of(status, f"{words} {status}"), code, address)


def _looks_like_one(reading: Reading) -> bool:
    """Whether a machine seems to report; a person's reply never does."""
    if reading.header("X-Failed-Recipients"):
        return True
    if reading.header("Return-Path") == "<>" and not reading.header("Auto-Submitted"):
        return True
    sender = reading.header("From") or "<>"
    if _DAEMON.search(sender) or '" <>' in sender:
        return True
    answers = reading.header("In-Reply-To") or reading.header("References")
    return not answers and bool(_SUBJECT.search(reading.header("Subject")))


def _before_the_copy(text: str) -> str:
    """What the report says itself, without the message that it returns."""
    for found in _COPY.finditer(text):
        if found.start() > 40:
            return text[: found.start()]
    return text


def _addresses(reading: Reading) -> tuple[list[str], list[str]]:
    """Addresses of temporary and of permanent failures, as flufl.bounce finds them."""
    try:
        temporary, permanent = all_failures(reading.message)
    except Exception:  # its forty detectors meet whatever anyone sends us, and raise what they may
        return [], []
    return sorted(map(_word, temporary)), sorted(map(_word, permanent))


def _word(address: object) -> str:
    return address.decode("ascii", "replace") if isinstance(address, bytes) else str(address)
