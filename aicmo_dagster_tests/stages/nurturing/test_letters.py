"""A sample message of each kind, from campaign to bytes, against every header rule there is."""

import base64
import email.policy
import re
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.mail.headers import Undeliverable
from aicmo_dagster.mail.inbound.reading import read
from aicmo_dagster.mail.inbound.traces import traces_in
from aicmo_dagster.settings import Dkim
from aicmo_dagster.stages.nurturing.letters import Letter, Letters
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.leads import read_leads
from aicmo_dagster.store.ledger import Send
from aicmo_dagster_tests.samples import NOON, campaign_document, lead_id, raw_leads
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

INTRO = {
    "id": "intro",
    "subject": "Hello {{ first_name }}",
    "body": "Good day, *{{ company }}*: [it](https://acme.example/?a=1&b=2).",
}
NUDGE = {"id": "nudge", "wait": {"days": 2}, "body": "Did you see my last mail?"}
TEST = {
    "id": "test",
    "wait": {"days": 2},
    "variants": [
        {"id": "short", "subject": "Short", "body": "x"},
        {"id": "long", "subject": "Ærlig talt — {{ company }}", "body": "På gjensyn, {{ city }}"},
    ],
}
SEQUENCES = {"everyone": {"steps": [INTRO, NUDGE, TEST]}}
SENT = [("intro", "<1@acme.example>"), ("other", "<2@acme.example>")]
KINDS = {
    "first": ("intro", None, []),
    "follow-up": ("nudge", None, SENT[:1]),
    "second follow-up": ("nudge", None, SENT),
    "variant": ("test", "short", SENT),
    "beyond ASCII": ("test", "long", SENT),
}
ONCE = (
    *("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"),
    *("List-Unsubscribe", "List-Unsubscribe-Post", "List-ID", "Feedback-ID", "DKIM-Signature"),
)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def workspace(
    tmp_path: Path, new_sqlite: Callable[[], str], key: rsa.RSAPrivateKey
) -> Iterator[Workspace]:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "dkim.pem").write_bytes(pem)
    signing = Dkim("acme.example", "spring", tmp_path / "dkim.pem")
    url = "https://t.acme.example"
    opened = open_test_workspace(tmp_path, new_sqlite(), public_url=url, dkim=signing)
    apply(opened, "spring", None, sequences=SEQUENCES)
    columns = {"first_name": "Åse", "last_name": 'O"Hara, Jr.', "company": "Blåbær", "city": "Bø"}
    with opened.database.write() as connection:
        replace_frame(connection, "raw_leads", "spring", raw_leads(1, **columns))
    yield opened
    opened.database.close()


def write(workspace: Workspace, kind: str, **changes: Any) -> bytes:
    """The message of one of KINDS."""
    return written(workspace, kind, **changes).content


def written(workspace: Workspace, kind: str, **changes: Any) -> Letter:
    """The message of one of KINDS with what belongs to it."""
    step, variant, thread = KINDS[kind]
    given: dict[str, Any] = {
        "lead_id": lead_id(1),
        "sequence": "everyone",
        "step": step,
        "variant": variant,
        "campaign_version": 1,
        "message_id": "<0123456789abcdef@acme.example>",
        "email": "lead1@company1.example",
        "recipient_domain": "company1.example",
        "attempts": 0,
    }
    with workspace.database.read() as connection:
        lead = read_leads(connection, "spring", [lead_id(1)])[lead_id(1)]
    letters = Letters(workspace, workspace.campaign("spring"))
    return letters.write(Send(**(given | changes)), lead, thread, NOON)


def parsed(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_keeps_every_rule_of_the_standards(
    workspace: Workspace, key: rsa.RSAPrivateKey, kind: str
) -> None:
    content = write(workspace, kind)
    message = parsed(content)
    head, _, body = content.partition(b"\r\n\r\n")
    # RFC 5322: each header once, lines of CRLF, short and in ASCII, no defects.
    assert message.defects == []
    assert all(len(message.get_all(name, [])) == 1 for name in ONCE)
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
    foldable = [
        line for line in content.split(b"\r\n") if not re.search(b"<(https:|mailto:)", line)
    ]
    assert max(map(len, foldable)) <= 78
    assert max(map(len, content.split(b"\r\n"))) <= 998
    content.decode("ascii")
    assert message["Date"].datetime == NOON
    assert re.fullmatch(r"<[^@<>\s]+@acme\.example>", message["Message-ID"])
    assert "Auto-Submitted" not in message
    assert "Precedence" not in message
    # RFC 8058 and RFC 2369: one https link and a mailto, one-click, both signed.
    found = re.fullmatch(r"<(https://[^>]+)>, <(mailto:[^>]+)>", message["List-Unsubscribe"])
    assert found is not None
    assert found[1].startswith("https://t.acme.example/u/")
    assert found[2].endswith(f"?subject=unsubscribe%20{found[1].rpartition('/')[2]}")
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["List-ID"] == "<spring.acme.example>"
    assert len(message["Feedback-ID"].split(":")) == 4
    # RFC 2046: text before HTML, each with the link and the postal address.
    parts = list(message.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    for part in parts:
        assert part["Content-Transfer-Encoding"] == "quoted-printable"
        assert found[1] in part.get_content()
        assert "Kai 7, 5003 Bergen" in part.get_content()
        assert ("/t/c/" in part.get_content()) == (kind == "first")
        assert ("/t/o/" in part.get_content()) == (part.get_content_type() == "text/html")
    # RFC 6376: verified, From oversigned, no length, both unsubscription headers in h=.
    assert dkim.verify(content, dnsfunc=lambda *_, **__: published(key))
    signature = "".join(message["DKIM-Signature"].split())
    signed = re.search(r"h=([^;]+);", signature)
    assert signed is not None
    names = signed[1].split(":")
    assert names.count("from") == 2
    assert {"list-unsubscribe", "list-unsubscribe-post", "date", "message-id"} <= set(names)
    assert "l=" not in signature.split("bh=")[0].replace("h=" + signed[1], "")
    assert head
    assert body


def published(key: rsa.RSAPrivateKey) -> bytes:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(key.public_key().public_bytes(*form))


def test_a_follow_up_continues_its_thread_under_the_same_subject(workspace: Workspace) -> None:
    first = parsed(write(workspace, "first"))
    assert first["In-Reply-To"] is None
    assert first["References"] is None
    followed = parsed(write(workspace, "second follow-up"))
    assert followed["In-Reply-To"] == "<2@acme.example>"
    assert followed["References"] == "<1@acme.example> <2@acme.example>"
    assert followed["Subject"] == first["Subject"] == "Hello Åse"
    assert parsed(write(workspace, "variant"))["References"] is None


def test_a_repeat_is_the_same_message_to_the_byte(workspace: Workspace) -> None:
    first = write(workspace, "first")
    assert write(workspace, "first", dated_at=NOON) == first
    earlier = NOON.replace(hour=1)
    assert parsed(write(workspace, "first", dated_at=earlier))["Date"].datetime == earlier


def test_replies_are_tagged_where_the_campaign_says_that_tags_arrive(workspace: Workspace) -> None:
    tag = "0123456789abcdef0123456789abcdef"
    assert parsed(write(workspace, "first"))["Reply-To"] is None
    nurture = campaign_document()["nurture"] | {"track": {"replies": True}}
    apply(workspace, "spring", None, sequences=SEQUENCES, nurture=nurture)
    message = parsed(write(workspace, "first", message_id=f"<{tag}@acme.example>"))

    assert message["Reply-To"] == f"ida+{tag}@acme.example"
    assert traces_in(read(f"To: {message['Reply-To']}\n\n".encode())).message_ids == (
        f"<{tag}@acme.example>",
    )


@pytest.mark.parametrize(
    ("track", "reply_to", "path"),
    [
        ({}, None, "ida@acme.example"),
        ({"replies": True}, None, "ida+0123456789abcdef@acme.example"),
        ({"replies": True}, "team@acme.example", "ida@acme.example"),
    ],
)
def test_bounces_go_to_a_tagged_address_where_the_sender_s_own_takes_tags(
    workspace: Workspace, track: dict[str, bool], reply_to: str | None, path: str
) -> None:
    document = campaign_document()["nurture"]
    sender = document["sender"] | ({"reply_to": reply_to} if reply_to else {})
    nurture = document | {"track": track, "sender": sender}
    apply(workspace, "spring", None, sequences=SEQUENCES, nurture=nurture)

    assert written(workspace, "first").sender == path


def test_an_address_that_needs_smtputf8_is_parked_with_the_reason(workspace: Workspace) -> None:
    with pytest.raises(Undeliverable, match="SMTPUTF8"):
        write(workspace, "first", email="åse@company1.example")


def test_mail_signed_by_another_domain_is_refused_before_any_is_sent(
    tmp_path: Path, new_sqlite: Callable[[], str], workspace: Workspace
) -> None:
    other = Dkim("other.example", "spring", tmp_path / "dkim.pem")
    opened = open_test_workspace(tmp_path, new_sqlite(), dkim=other)
    apply(opened, "spring", None)
    with pytest.raises(AicmoError, match=r"other.example is not aligned .* acme.example"):
        Letters(opened, opened.campaign("spring"))
    opened.database.close()
