"""Messages that come back, as bytes: answers, absences, bounces and complaints.

The same reaction always makes the same bytes. Not here: when they come (`behaviour`), or what is
made of them (`engaging.listen`).
"""

from datetime import datetime
from email.utils import format_datetime

from aicmo_dagster.simulation.behaviour import Reaction

_WORDS = {
    "reply": ("Re: your message", "Thank you, that sounds interesting. Could we talk next week?"),
    "objection": ("Re: your message", "Please remove me from your list."),
}


def message(reaction: Reaction) -> bytes:
    """What `reaction` writes to us."""
    writers = {"bounce": _bounce, "complaint": _complaint, "out_of_office": _absence}
    text = writers.get(reaction.kind, _answer)(reaction)
    return text.replace("\n", "\r\n").encode()


def _answer(reaction: Reaction) -> str:
    subject, words = _WORDS[reaction.kind]
    return _head(reaction, reaction.letter.recipient, subject) + f"\n{words}\n"


def _absence(reaction: Reaction) -> str:
    head = _head(reaction, reaction.letter.recipient, "Automatic reply: out of office")
    back = f" until {reaction.returns_on:%Y-%m-%d}" if reaction.returns_on else ""
    return f"{head}Auto-Submitted: auto-replied\n\nI am out of the office{back}.\n"


def _bounce(reaction: Reaction) -> str:
    letter = reaction.letter
    domain = letter.recipient.rpartition("@")[2]
    parts = [
        "Content-Type: text/plain\n\nYour message could not be delivered.\n",
        "Content-Type: message/delivery-status\n\n"
        f"Reporting-MTA: dns; mx.{domain}\n\n"
        f"Final-Recipient: rfc822; {letter.recipient}\nAction: failed\nStatus: 5.1.1\n"
        "Diagnostic-Code: smtp; 550 5.1.1 user unknown\n",
        f"Content-Type: text/rfc822-headers\n\nMessage-ID: {letter.message_id}\n",
    ]
    sender, subject = f"MAILER-DAEMON@{domain}", "Undelivered Mail Returned to Sender"
    return _report(reaction, sender, subject, "delivery-status", parts)


def _complaint(reaction: Reaction) -> str:
    letter = reaction.letter
    domain = letter.recipient.rpartition("@")[2]
    parts = [
        "Content-Type: text/plain\n\nThis is an abuse report.\n",
        "Content-Type: message/feedback-report\n\n"
        "Feedback-Type: abuse\nUser-Agent: rehearsal/1\nVersion: 1\n",
        f"Content-Type: text/rfc822-headers\n\nMessage-ID: {letter.message_id}\n",
    ]
    return _report(reaction, f"feedback@{domain}", "Abuse report", "feedback-report", parts)


def _report(reaction: Reaction, sender: str, subject: str, kind: str, parts: list[str]) -> str:
    mark = f"=_{reaction.letter.message_id.strip('<>').partition('@')[0]}"
    content = f'Content-Type: multipart/report; report-type={kind}; boundary="{mark}"'
    body = "".join(f"--{mark}\n{part}\n" for part in parts)
    return f"{_head(reaction, sender, subject)}MIME-Version: 1.0\n{content}\n\n{body}--{mark}--\n"


def _head(reaction: Reaction, sender: str, subject: str) -> str:
    letter = reaction.letter
    quoted = f"In-Reply-To: {letter.message_id}\n" if sender == letter.recipient else ""
    return (
        f"From: {sender}\nTo: {letter.sender}\nSubject: {subject}\n{quoted}"
        f"Date: {_date(reaction.at)}\n"
    )


def _date(at: datetime) -> str:
    return format_datetime(at)
