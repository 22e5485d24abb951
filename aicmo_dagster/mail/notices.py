"""Notices to whoever runs the campaigns: one plain text, written by a machine and saying so.

They go the way of all mail, but past caps and ledger. Not here: mail to leads (`messages`), or what
a notice says (`stages`).
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path

from aicmo_dagster.errors import AicmoError, Transient
from aicmo_dagster.mail.delivery import open_transport
from aicmo_dagster.mail.parcels import Parcel
from aicmo_dagster.mail.replies import Delivery

_POLICY = SMTP.clone(cte_type="7bit")


def notice(
    *, sender_name: str, sender: str, to: str, subject: str, text: str, key: str, date: datetime
) -> bytes:
    """The bytes of a notice with CRLF line ends; the same arguments give the same.

    Args:
        sender_name: Shown beside the sender's address.
        sender: The address it is from, in ASCII.
        to: The address it goes to.
        subject: One line.
        text: What it says.
        key: The Message-ID, with angle brackets.
        date: An aware instant.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = Address(sender_name, addr_spec=sender)
    message["To"] = to
    message["Subject"] = " ".join(subject.split())
    message["Date"] = format_datetime(date)
    message["Message-ID"] = key
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
    message.set_content(text, cte="quoted-printable")
    return message.as_bytes()


class _Register:
    """Lets one message leave, and keeps what came of it."""

    def __init__(self) -> None:
        self.delivery: Delivery | None = None

    def write(
        self, outcomes: Sequence[tuple[Parcel, Delivery]], attempts: Sequence[Parcel]
    ) -> set[str]:
        for _, delivery in outcomes:
            self.delivery = delivery
        return {parcel.message_id for parcel in attempts}


def send_notice(
    smtp_url: str | None,
    outbox: Path,
    *,
    sender: str,
    recipient: str,
    key: str,
    subject: str,
    text: str,
    date: datetime,
) -> None:
    """The notice is with the mail server, or in the outbox where there is none.

    Args:
        smtp_url: As AICMO_SMTP_URL.
        outbox: The folder that takes mail where no server is set.
        sender: The address that it is from.
        recipient: The address that it goes to.
        key: The same for the same notice, which then has the same Message-ID.
        subject: One line.
        text: The rest, in plain text.
        date: When it is written, aware.

    Raises:
        Transient: If the server cannot take it now.
        AicmoError: If it will not take it at all, or an address cannot be written to.
    """
    parcel = _parcel(sender, recipient, key, subject, text, date)
    register = _Register()
    transport = open_transport(smtp_url, outbox)
    try:
        transport.deliver([parcel], register)
    finally:
        transport.close()
    came = register.delivery
    if came is None or came.state in ("deferred", "planned"):
        raise Transient(f"the notice was not taken now ({came.reply if came else 'no answer'})")
    if came.state == "rejected":
        raise AicmoError(f"the notice was refused ({came.reply})")


def _parcel(
    sender: str, recipient: str, key: str, subject: str, text: str, date: datetime
) -> Parcel:
    identity = hashlib.sha256(f"{key}\n{recipient}".encode()).hexdigest()[:32]
    message_id = f"<{identity}@{sender.rpartition('@')[2]}>"
    try:
        content = notice(
            sender_name="AICMO",
            sender=sender,
            to=recipient,
            subject=subject,
            text=text,
            key=message_id,
            date=date,
        )
    except ValueError as error:
        raise AicmoError("a notice has an address or subject that mail cannot carry") from error
    return Parcel(sender, recipient, message_id, content)
