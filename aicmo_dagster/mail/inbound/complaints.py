"""Complaints that a mailbox provider passes on (ARF, RFC 5965).

Not here: which send it is about (`traces`): providers often blacken the recipient.
"""

from email.message import Message

from aicmo_dagster.mail.inbound.reading import Reading, content_of

_COMPLAINTS = ("abuse", "fraud", "opt-out", "opt-out-list", "virus", "other")


def complaint_kind(reading: Reading) -> str | None:
    """The type of feedback that a report gives, if it is a complaint about our message."""
    outer = reading.message
    declared = str(outer.get_param("report-type") or "").lower()
    for part in reading.parts:
        if part.get_content_type() == "message/feedback-report":
            return _kind(_fields(part))
    is_report = outer.get_content_type() == "multipart/report" and declared == "feedback-report"
    return "abuse" if is_report else None


def _fields(part: Message) -> str:
    """A part's fields; the parser takes it for a message within a message."""
    inner = part.get_payload()
    if isinstance(inner, list):
        blocks = [each for each in inner if isinstance(each, Message)]
        return "\n".join(f"{name}: {value}" for block in blocks for name, value in block.items())
    return content_of(part)


def _kind(fields: str) -> str | None:
    for line in fields.splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() == "feedback-type":
            kind = value.strip().lower()
            return None if kind == "not-spam" else kind if kind in _COMPLAINTS else "other"
    return "abuse"
