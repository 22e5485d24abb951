"""Sending as a whole: ledger, templates and a transport together."""

import re
import socket
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import archive_campaign
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.deciding.routing import route, send, states
from aicmo_dagster_tests.workspaces import open_test_workspace

INTRO = {"id": "intro", "subject": "Hello {{ first_name }}", "body": "Good day, {{ company }}."}
NUDGE = {"id": "nudge", "wait": {"days": 2}, "body": "Did you see my last mail?"}


def outbox(workspace: Workspace) -> list[EmailMessage]:
    files = sorted(workspace.settings.outbox.glob("*.eml"))
    return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in files]


def test_a_message_is_personal_and_complete(workspace: Workspace) -> None:
    route(workspace, 1, INTRO)
    send(workspace)
    (message,) = outbox(workspace)
    assert message["Subject"] == "Hello Ann1"
    assert "lead1@company1.example" in message["To"]
    for header in ("From", "Date", "Message-ID", "List-Unsubscribe", "MIME-Version"):
        assert len(message.get_all(header)) == 1
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        assert part is not None
        text = part.get_content()
        assert "Good day, Company 1." in text
        assert "Kai 7, 5003 Bergen" in text
        assert re.search(r"http://127\.0\.0\.1:8000/u/[\w.-]+", text)


def test_a_follow_up_waits_and_continues_the_thread(workspace: Workspace) -> None:
    route(workspace, 1, INTRO, NUDGE)
    send(workspace)
    send(workspace, days=1.9)
    (first,) = outbox(workspace)
    send(workspace, days=2)
    (second,) = (m for m in outbox(workspace) if m["Message-ID"] != first["Message-ID"])
    assert second["In-Reply-To"] == second["References"] == first["Message-ID"]
    assert second["Subject"] == first["Subject"]
    send(workspace, days=9)
    assert states(workspace) == {"accepted": 2}


def test_a_follow_up_with_a_subject_starts_a_thread_of_its_own(workspace: Workspace) -> None:
    route(workspace, 1, INTRO, NUDGE | {"subject": "Another matter"})
    send(workspace)
    send(workspace, days=2)
    (second,) = (m for m in outbox(workspace) if m["Subject"] == "Another matter")
    assert second["In-Reply-To"] is None


def test_a_lead_that_lacks_a_token_is_held_and_the_others_are_sent(workspace: Workspace) -> None:
    route(workspace, 3, INTRO | {"body": "{% if company == 'Company 2' %}{{ title }}{% endif %}Hi"})
    report = send(workspace)
    assert states(workspace) == {"accepted": 2, "deferred": 1}
    assert report.figures["now_held"] == 1
    assert send(workspace, days=0.5).figures.get("now_held") is None


def test_leads_in_flight_follow_the_version_they_were_routed_by(workspace: Workspace) -> None:
    route(workspace, 1, INTRO, NUDGE)
    send(workspace)
    changed = [
        INTRO | {"subject": "New"},
        NUDGE | {"body": "New text"},
        {"id": "more", "body": "x"},
    ]
    route(workspace, 2, *changed)
    send(workspace, days=2)
    texts = {m["To"]: m["Subject"] for m in outbox(workspace) if m["In-Reply-To"] is None}
    assert {subject for address, subject in texts.items() if "lead2@" in address} == {"New"}
    followed = [m for m in outbox(workspace) if m["In-Reply-To"] and "lead1@" in m["To"]]
    part = followed[0].get_body(("plain",))
    assert part is not None
    assert "Did you see" in part.get_content()


def test_an_archived_campaign_sends_nothing(workspace: Workspace) -> None:
    route(workspace, 2, INTRO)
    with workspace.database.write() as connection:
        archive_campaign(connection, "spring", NOON)
    send(workspace)
    assert outbox(workspace) == []


def test_a_mail_server_that_is_down_leaves_every_send_planned(
    tmp_path: Path, database_url: str
) -> None:
    closed = open_test_workspace(tmp_path, database_url, smtp_url="smtp://127.0.0.1:1?tls=none")
    route(closed, 3, INTRO)
    with pytest.raises(AicmoError, match="AICMO_SMTP_URL"):
        send(closed)
    assert states(closed) == {"planned": 3}
    closed.database.close()
    opened = open_test_workspace(tmp_path, database_url)
    send(opened, days=1)
    assert states(opened) == {"accepted": 3}
    opened.database.close()


def test_mail_goes_through_a_real_server(tmp_path: Path, database_url: str) -> None:
    received: list[Envelope] = []

    class Recorder:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            received.append(envelope)
            return "250 taken"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(Recorder(), hostname="127.0.0.1", port=port)
    controller.start()
    workspace = open_test_workspace(
        tmp_path, database_url, smtp_url=f"smtp://127.0.0.1:{port}?tls=none"
    )
    try:
        route(workspace, 5, INTRO)
        send(workspace)
        send(workspace)
    finally:
        controller.stop()
        workspace.database.close()
    assert sorted(envelope.rcpt_tos[0] for envelope in received) == [
        f"lead{number}@company{number}.example" for number in range(1, 6)
    ]
    assert not workspace.settings.outbox.exists()
