import email
import email.policy
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.markdown import Rendered
from aicmo_dagster.domain.sections.nurture import Sender
from aicmo_dagster.mail.headers import Undeliverable
from aicmo_dagster.mail.messages import Outgoing, Skeleton

IDA = Sender(
    name="Ida Berg",
    address="ida@acme.example",
    reply_to="ida+replies@acme.example",
    postal_address="Kai 7, 5003 Bergen",
)
OF_ALL = {"sender": IDA, "campaign": "nordic", "sequence": "executives", "step": "intro"}
PLAIN = Outgoing(
    recipient="jo@lead.example",
    recipient_name="Jo Hansen",
    message_id="<0123456789abcdef@acme.example>",
    date=datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
    rendered=Rendered("Pipeline hygiene", "Hi Jo,\n\nbye\n", "<p>Hi Jo,</p>\n<p>bye</p>\n"),
    unsubscribe_url="https://aicmo.example/u/token",
)
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(CHARACTERS, max_size=300)
LINES = TEXTS.map(lambda text: " ".join("".join(filter(str.isprintable, text)).split()))
"""As a rendered subject is: one line of printable text without double spaces."""


def build(**changes: Any) -> bytes:
    """The message of PLAIN in the skeleton of OF_ALL, some fields of either changed."""
    shared = OF_ALL | {name: changes.pop(name) for name in OF_ALL if name in changes}
    return Skeleton(**shared).message(replace(PLAIN, **changes))


def parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert message.defects == []
    return message


def raw(content: bytes, name: str) -> str:
    """A header as a reader of RFC 2047 sees it.

    Not by the library's newer parser, which in Python 3.11 puts a space between encoded words.
    """
    value = email.message_from_bytes(content, policy=email.policy.compat32)[name]
    return str(make_header(decode_header(re.sub(r"\r\n(?=[ \t])", "", value))))


def header_lines(content: bytes) -> list[str]:
    return content.partition(b"\r\n\r\n")[0].decode("ascii").split("\r\n")


def test_a_message_has_each_header_once_and_in_order() -> None:
    content = build(in_reply_to="<b@x.example>", references=("<a@x>", "<b@x>"))

    assert header_lines(content) == [
        "From: Ida Berg <ida@acme.example>",
        "To: Jo Hansen <jo@lead.example>",
        "Reply-To: ida+replies@acme.example",
        "Subject: Pipeline hygiene",
        "Date: Sun, 01 Mar 2026 09:30:00 +0000",
        "Message-ID: <0123456789abcdef@acme.example>",
        "In-Reply-To: <b@x.example>",
        "References: <a@x> <b@x>",
        "List-Unsubscribe: <https://aicmo.example/u/token>,",
        " <mailto:ida+replies@acme.example?subject=unsubscribe%20token>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "List-ID: <nordic.acme.example>",
        "Feedback-ID: nordic:executives.intro:nurture:acme.example",
        "MIME-Version: 1.0",
        "Content-Type: multipart/alternative;",
        ' boundary="=_427132213c238ca6b314cf0a7bacf5cf"',
    ]


def test_what_is_not_given_makes_no_header() -> None:
    sender = Sender(name="Ida", address="ida@acme.example", postal_address="Kai 7")
    message = parsed(build(sender=sender))

    assert not {"Reply-To", "In-Reply-To", "References", "Auto-Submitted"} & set(message.keys())
    assert "<mailto:ida@acme.example?subject=unsubscribe%20token>" in message["List-Unsubscribe"]


def test_one_click_is_announced_over_https_only() -> None:
    content = build(unsubscribe_url="http://127.0.0.1:8000/u/token")

    assert "List-Unsubscribe: <http://127.0.0.1:8000/u/token>," in header_lines(content)
    assert parsed(content)["List-Unsubscribe-Post"] is None


def test_the_text_comes_before_the_html() -> None:
    parts = [part for part in parsed(build()).walk() if not part.is_multipart()]

    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    assert [part.get_content().replace("\r\n", "\n") for part in parts] == [
        "Hi Jo,\n\nbye\n",
        "<p>Hi Jo,</p>\n<p>bye</p>\n",
    ]


def test_the_same_message_is_the_same_bytes_and_another_has_another_boundary() -> None:
    assert build() == build()
    boundaries = {parsed(build(message_id=f"<{n}@x>")).get_boundary() for n in (1, 2)}
    assert len(boundaries) == 2


@example("=?utf-8?q?Bcc?=", "=?utf-8?q?Bcc?=", "x")
@example("=?utf-8?q?=0D=0ABcc:x?=", "a" * 2000, "  .\n..\nFrom x\n=\n")
@example('Berg, Ida \\ "I" <x@y>', "Ångström " * 30 + "x", "é" * 1000)
@given(LINES, LINES, TEXTS)
@settings(max_examples=50, deadline=None)
def test_a_message_reads_back_as_it_was(name: str, subject: str, words: str) -> None:
    content = build(recipient_name=name, rendered=Rendered(subject, words, f"<p>{words}"))
    message = parsed(content)

    assert raw(content, "Subject") == subject
    shown, address = parseaddr(email.message_from_bytes(content)["To"])
    assert str(make_header(decode_header(re.sub(r"\r\n(?=[ \t])", "", shown)))) == name
    assert address == PLAIN.recipient
    for part, sent in zip(message.iter_parts(), (words, f"<p>{words}"), strict=True):
        assert lines(part.get_content()) == lines(sent)


def lines(text: str) -> list[str]:
    """`text` without regard to how its lines end, or to whether the last one does."""
    split = re.split(r"\r\n|\r|\n", text)
    return split[:-1] if split[-1] == "" and len(split) > 1 else split


def oracle(**changes: Any) -> EmailMessage:
    """The same message made by the standard library, from the same fields."""
    shared = OF_ALL | {name: changes.pop(name) for name in OF_ALL if name in changes}
    outgoing, sender = replace(PLAIN, **changes), shared["sender"]
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = Address(sender.name, addr_spec=sender.address)
    message["To"] = Address(outgoing.recipient_name or "", addr_spec=outgoing.recipient)
    message["Reply-To"] = Address("", addr_spec=sender.reply_to)
    message["Subject"] = outgoing.rendered.subject
    message["Date"] = outgoing.date
    message["Message-ID"] = outgoing.message_id
    message.set_content(outgoing.rendered.text)
    message.add_alternative(outgoing.rendered.html, subtype="html")
    return parsed(message.as_bytes())


@example("Zoë Ångström-O'Hara, Jr.", "Café: 100 % = ok?", "x" * 200 + "\n.\n", 0)
@given(LINES, LINES, TEXTS, st.integers(0, 2**33))
@settings(max_examples=60, deadline=None)
def test_a_message_reads_as_the_standard_library_s_own_does(
    name: str, subject: str, words: str, seconds: int
) -> None:
    """The fast path is held equal to the slow one: headers, kinds of parts, texts."""
    changes: dict[str, Any] = {
        "recipient_name": name,
        "rendered": Rendered(subject, words, f"<p>{words}"),
        "date": datetime.fromtimestamp(seconds, UTC),
    }
    fast, slow = parsed(build(**changes)), oracle(**changes)
    assert fast["Date"].datetime == slow["Date"].datetime
    for header in ("From", "To", "Reply-To"):
        assert [a.addr_spec for a in fast[header].addresses] == [
            a.addr_spec for a in slow[header].addresses
        ]
    for header in ("Message-ID", "MIME-Version"):
        assert fast[header] == slow[header]
    assert [p.get_content_type() for p in fast.walk()] == [
        p.get_content_type() for p in slow.walk()
    ]
    for part, other in zip(fast.iter_parts(), slow.iter_parts(), strict=True):
        assert lines(part.get_content()) == lines(other.get_content())


@example("x\r\nBcc: a@b.example", "y")
@given(TEXTS, TEXTS)
@settings(max_examples=50, deadline=None)
def test_a_name_never_makes_a_header(name: str, words: str) -> None:
    plain = parsed(build()).keys()
    content = build(recipient_name=f"Jo\r\nBcc: {name}", rendered=Rendered("x", words, words))

    assert parsed(content).keys() == plain


def test_a_name_is_shown_on_one_line_without_control_characters() -> None:
    content = build(recipient_name=" Jo\x00\u2028\tHansen\r\n")

    assert "To: Jo Hansen <jo@lead.example>" in header_lines(content)


@given(TEXTS, LINES)
@settings(max_examples=50, deadline=None)
def test_every_line_is_short_ends_in_crlf_and_is_ascii(words: str, subject: str) -> None:
    content = build(rendered=Rendered(subject, words, words * 10))

    content.decode("ascii")
    assert content.endswith(b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
    assert max(map(len, content.split(b"\r\n"))) <= 998
    body = content.partition(b"\r\n\r\n")[2]
    assert max(map(len, body.split(b"\r\n"))) <= 76


def test_a_long_url_or_thread_is_not_encoded() -> None:
    url = f"https://aicmo.example/u/{'a' * 300}"
    thread = tuple(f"<{n:064}@a-very-long-host-name.acme.example>" for n in range(5))
    content = build(unsubscribe_url=url, in_reply_to=thread[-1], references=thread)
    message = parsed(content)

    assert b"=?" not in content
    assert message["List-Unsubscribe"].split(",")[0] == f"<{url}>"
    assert message["References"].split() == list(thread)
    assert message["In-Reply-To"] == thread[-1]


def test_an_international_sender_domain_is_sent_in_ascii() -> None:
    sender = Sender(name="Ida", address="ida@bücher.example", postal_address="Kai 7")
    message = parsed(build(sender=sender))

    assert message["From"].addresses[0].addr_spec == "ida@xn--bcher-kva.example"
    assert message["List-ID"] == "<nordic.xn--bcher-kva.example>"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("jörg@lead.example", "SMTPUTF8"),
        ("jo@bücher.example", "IDNA"),
        ("jo@lead.example\r\nBcc: x@y.example", "the address"),
        ("jo@lead.example, x@y.example", "the address"),
        ("jo <jo@lead.example>", "the address"),
        ("jo@x@lead.example", "address"),
        ("jo..hansen(x)@lead.example", "address"),
        ("lead.example", "address"),
        ("@lead.example", "address"),
        ("", "address"),
        (f"{'j' * 1000}@lead.example", "too long"),
    ],
)
def test_an_address_that_cannot_be_written_parks_the_lead_without_quoting_it(
    address: str, said: str
) -> None:
    with pytest.raises(Undeliverable, match=said) as failure:
        build(recipient=address)
    assert "jo" not in str(failure.value)


@pytest.mark.parametrize(
    "change",
    [
        {"message_id": "<a@b>\r\nBcc: x"},
        {"message_id": "no brackets"},
        {"in_reply_to": "<a@b> <c@d>"},
        {"references": ("<a@b>", "x\n y")},
        {"unsubscribe_url": "https://x.example/>, <mailto:x@y>"},
        {"unsubscribe_url": "javascript:x"},
        {"unsubscribe_url": f"https://x.example/{'a' * 1000}"},
        {"campaign": "x\r\ny"},
        {"step": "x\ny"},
        {"rendered": Rendered("x\r\nBcc: y", "", "")},
        {"rendered": Rendered("x\x00y", "", "")},
    ],
)
def test_no_field_can_bring_in_a_header(change: dict[str, Any]) -> None:
    with pytest.raises(Undeliverable):
        build(**change)


def test_a_date_without_a_zone_is_refused_and_another_zone_is_kept_apart() -> None:
    with pytest.raises(ValueError, match="time zone"):
        build(date=datetime(2026, 3, 1))

    later = PLAIN.date + timedelta(hours=1)
    assert parsed(build(date=later))["Date"].datetime == later
