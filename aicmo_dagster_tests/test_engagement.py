"""Engagement from end to end: mail out, HTTP and mail in, verdicts, a signed handoff, silence."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from standardwebhooks.webhooks import Webhook as Verifier

from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.engaging.engage import engage
from aicmo_dagster.stages.engaging.listen import listen
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.handoffs import list_handoffs
from aicmo_dagster.store.ledger import sends_of_lead
from aicmo_dagster_tests.api.conftest import BROWSER
from aicmo_dagster_tests.api.servers import running
from aicmo_dagster_tests.bench.mailing import free_port
from aicmo_dagster_tests.handoff.receiver import Receiver, receiving
from aicmo_dagster_tests.mail.inbound.letters import letter
from aicmo_dagster_tests.samples import campaign_document
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

BODY = "Our [offer](https://acme.example/offer) and our [prices](https://acme.example/prices)."
STEPS = [
    {"id": "intro", "subject": "Hello", "body": BODY},
    {"id": "nudge", "wait": {"hours": 0}, "body": BODY},
    {"id": "last", "wait": {"days": 3}, "body": "Good bye."},
]
TARGETS = ("https://acme.example/offer", "https://acme.example/prices")
DAY = timedelta(days=1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@dataclass
class Post:
    """An SMTP server and what it took, in order."""

    port: int
    got: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        message = message_from_bytes(bytes(envelope.content or b""), policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.got.append(message)
        return "250 ok"

    def to(self, name: str) -> list[EmailMessage]:
        """The lead's messages, the first first."""
        return [each for each in self.got if f"{name}@" in each["To"]]


@pytest.fixture
def post() -> Iterator[Post]:
    taking = Post(free_port())
    controller = Controller(taking, hostname="127.0.0.1", port=taking.port)
    controller.start()
    yield taking
    controller.stop()


@pytest.fixture
def workspace(tmp_path: Path, database_url: str, post: Post) -> Iterator[Workspace]:
    for folder in ("new", "cur", "tmp"):
        (tmp_path / "Maildir" / folder).mkdir(parents=True)
    opened = open_test_workspace(
        tmp_path,
        database_url,
        smtp_url=f"smtp://127.0.0.1:{post.port}?connections=1",
        inbound_url=f"maildir:{tmp_path / 'Maildir'}",
        allow_private_urls=True,
    )
    yield opened
    opened.database.close()


def run(workspace: Workspace, at: datetime) -> None:
    for stage in (harvest, score_leads, qualify_leads, route_leads):
        stage(workspace, "spring", at)
    nurture(workspace, "spring", lambda: at)


def leads(workspace: Workspace) -> dict[str, str]:
    with workspace.database.read() as connection:
        frame = read_frame(connection, "raw_leads", "spring", ["lead_id", "email"])
    return {
        email.partition("@")[0]: lead_id
        for email, lead_id in zip(frame["email"], frame["lead_id"], strict=True)
    }


def states(workspace: Workspace, lead_id: str) -> dict[str, str]:
    with workspace.database.read() as connection:
        return {s["step"]: s["state"] for s in sends_of_lead(connection, "spring", lead_id)}


def links(message: EmailMessage) -> tuple[list[str], str]:
    """The paths of a message's links and of its pixel, as its HTML has them."""
    html = message.get_body(("html",))
    assert html is not None
    pixels = re.findall(r"/t/o/[\w.-]+", html.get_content())
    return re.findall(r"/t/c/[\w.-]+", html.get_content()), pixels[0]


def verified(workspace: Workspace, receiver: Receiver) -> dict[str, Any]:
    """What the first handoff says; its signature, of a time to come, is checked."""
    _, headers, body = receiver.got[0]
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    signer = Verifier(workspace.settings.webhook_secret())
    assert headers["webhook-signature"] == signer.sign(headers["webhook-id"], at, body.decode())
    return json.loads(body)["data"]


def test_from_a_scanner_s_burst_to_a_handoff_and_to_silence(
    workspace: Workspace, receiver: Receiver, post: Post
) -> None:
    begun = datetime.now(UTC) - timedelta(hours=1)
    rule = {"to": "webhook", "url": receiver.url, "pause_colleagues": True}
    nurturing = campaign_document()["nurture"] | {"graduate": rule}
    steps = {"everyone": {"steps": STEPS}}
    path = apply(workspace, "spring", 3, sequences=steps, nurture=nurturing)
    text = path.read_text(encoding="utf-8").replace("@company2.", "@company1.")
    path.write_text(text, encoding="utf-8")
    run(workspace, begun)
    run(workspace, begun + timedelta(seconds=1))
    ann, colleague, other = (leads(workspace)[f"lead{n}"] for n in (1, 2, 3))
    (intro, seen), (nudge, _) = map(links, post.to("lead1"))
    settled = datetime.now(UTC) + timedelta(minutes=10)

    with (
        running(workspace.settings) as address,
        httpx.Client(base_url=address, headers={"User-Agent": BROWSER}, trust_env=False) as client,
    ):
        assert client.get(seen).status_code == 200
        for link in (*intro, *nudge):
            assert client.get(link).status_code == 302
    engage(workspace, lambda: settled)
    assert receiver.got == []

    time.sleep(2.1)  # longer than a burst goes on
    with (
        running(workspace.settings) as address,
        httpx.Client(base_url=address, headers={"User-Agent": BROWSER}, trust_env=False) as client,
    ):
        for link in (intro[0], nudge[0]):
            assert client.get(link).headers["location"] == TARGETS[0]
        while not receiver.got:  # the clicks are on their way from the disk to the database
            engage(workspace, lambda: settled)
        told = verified(workspace, receiver)
        assert told["lead"]["lead_id"] == ann
        assert told["reason"] == "clicked in 2 steps"

        found = re.search(r"/u/[\w.-]+", post.to("lead3")[0]["List-Unsubscribe"])
        assert found is not None
        assert client.post(found[0], data={"List-Unsubscribe": "One-Click"}).status_code == 200

    message_id = str(post.to("lead1")[0]["Message-ID"])
    inbox = workspace.settings.home / "Maildir" / "new"
    (inbox / "1.1.host").write_bytes(letter(In_Reply_To=message_id))
    assert listen(workspace, settled).figures == {"reply": 1}
    engage(workspace, lambda: settled)

    with path.open("a", encoding="utf-8") as file:
        file.write("lead3@company3.example,Ann3,Company Three\n")
    for days in (4, 5):
        run(workspace, begun + days * DAY)

    both = {"intro": "accepted", "nudge": "accepted"}
    assert states(workspace, ann) == both | {"last": "cancelled"}
    assert states(workspace, colleague) == both | {"last": "planned"}
    assert states(workspace, other) == both | {"last": "cancelled"}
    with workspace.database.read() as connection:
        assert [row["lead_id"] for row in list_handoffs(connection, "spring")] == [ann]
    assert len(receiver.got) == 1
    assert [len(post.to(f"lead{n}")) for n in (1, 2, 3)] == [2, 2, 2]
