"""Plain mail to whoever runs the campaigns: incidents and reports, never to a lead.

It goes the way of all mail, but past caps and ledger. Not here: what it says.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from aicmo_dagster.errors import AicmoError, Transient
from aicmo_dagster.mail.delivery import open_transport
from aicmo_dagster.mail.parcels import Parcel
from aicmo_dagster.mail.replies import Delivery


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
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    try:
        message["From"] = Address("AICMO", addr_spec=sender)
        message["To"] = Address(addr_spec=recipient)
        message["Subject"] = subject
        message["Date"] = date
        message["Message-ID"] = message_id
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
        message.set_content(text, cte="quoted-printable")
    except ValueError as error:
        raise AicmoError("a notice has an address or subject that mail cannot carry") from error
    return Parcel(sender, recipient, message_id, message.as_bytes())
