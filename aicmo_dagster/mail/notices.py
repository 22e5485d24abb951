"""A notice to one of our own people: one plain text, written by a machine and saying so.

Not here: mail to leads (`messages`), or what a notice says (`stages`).
"""

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

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
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text, cte="quoted-printable")
    return message.as_bytes()
