"""Messages as they come in. Not here: what they must be recognised as."""

from email.message import EmailMessage
from email.policy import SMTP

OURS = "<0123456789abcdef0123456789abcdef@acme.example>"
LEAD = "lead1@company1.example"


def letter(text: str = "Sounds good, call me.", **headers: str) -> bytes:
    """A message of a person; `headers` are written with _ for -, an empty one is left out."""
    given = {
        "From": f"Ann <{LEAD}>",
        "To": "Ida <ida@acme.example>",
        "Subject": "Re: Hello",
        "Date": "Wed, 4 Mar 2026 12:00:00 +0000",
        "Message-ID": "<reply-1@company1.example>",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    message = EmailMessage(policy=SMTP)
    for name, value in given.items():
        if value:
            message[name] = value
    message.set_content(text)
    return message.as_bytes()


def report(
    status: str = "5.1.1",
    *,
    action: str = "failed",
    diagnostic: str = "",
    about: str = OURS,
    recipient: str = LEAD,
    headers: str = "",
) -> bytes:
    """A delivery status notification (RFC 3464) that returns the headers of `about`."""
    told = f"Diagnostic-Code: smtp; {diagnostic}\r\n" if diagnostic else ""
    return f"""From: MAILER-DAEMON@mx.company1.example\r
To: ida@acme.example\r
Subject: Undelivered Mail Returned to Sender\r
{headers}MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r
\r
--b\r
Content-Type: text/plain\r
\r
Your message could not be delivered.\r
\r
--b\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.company1.example\r
\r
Final-Recipient: rfc822; {recipient}\r
Action: {action}\r
Status: {status}\r
{told}\r
--b\r
Content-Type: text/rfc822-headers\r
\r
From: ida@acme.example\r
Message-ID: {about}\r
Subject: Hello\r
\r
--b--\r
""".encode()


def complaint(about: str = OURS, kind: str = "abuse") -> bytes:
    """A feedback report (RFC 5965) whose recipient is blackened."""
    return f"""From: feedback@mailbox.example\r
To: abuse@acme.example\r
Subject: FW: Hello\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r
\r
--b\r
Content-Type: text/plain\r
\r
This is a report.\r
\r
--b\r
Content-Type: message/feedback-report\r
\r
Feedback-Type: {kind}\r
User-Agent: Mailbox/1.0\r
Version: 1\r
Original-Rcpt-To: redacted@mailbox.example\r
\r
--b\r
Content-Type: message/rfc822\r
\r
From: ida@acme.example\r
Message-ID: {about}\r
Subject: Hello\r
\r
Good day.\r
\r
--b--\r
""".encode()
