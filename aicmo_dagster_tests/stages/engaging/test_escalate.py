"""Handoffs that nobody takes up: reminders by mail and by webhook, each level once."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.mail.delivery import open_transport
from aicmo_dagster.mail.parcels import Parcel
from aicmo_dagster.stages.engaging import escalate
from aicmo_dagster.stages.operating import by_hand
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import escalations
from aicmo_dagster.store.handoffs import add_handoff, find_handoff
from aicmo_dagster.store.workers import this_worker
from aicmo_dagster_tests.bench.mailing import free_port
from aicmo_dagster_tests.handoff.receiver import Receiver
from aicmo_dagster_tests.samples import NOON, campaign_document, lead_id
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

DAY = timedelta(days=1)
BOSS, HEAD = "sales-lead@acme.example", "head@acme.example"


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    opened = open_test_workspace(tmp_path, database_url, allow_private_urls=True)
    yield opened
    opened.database.close()


def start(workspace: Workspace, *levels: dict[str, Any], leads: int = 1) -> None:
    """Leads were handed over at noon; whom their handoffs are escalated to."""
    rules = list(levels) or {"after_days_without_owner_action": 2, "to": BOSS}
    nurture = campaign_document()["nurture"] | {"escalate": rules}
    apply(workspace, "spring", None, nurture=nurture)
    for number in range(1, leads + 1):
        told = {"lead_id": lead_id(number), "first_name": f"Ann{number}", "company": "Blåbær"}
        document = {"data": {"lead": told}}
        with workspace.database.write() as connection:
            add_handoff(
                connection,
                "spring",
                lead_id(number),
                "csv",
                f"msg_{number}",
                "replied",
                document,
                NOON,
            )


def run(workspace: Workspace, days: float) -> Report:
    now = NOON + days * DAY
    escalate.plan(workspace, "spring", now)
    return escalate.deliver(workspace, lambda: now)


def take_up(workspace: Workspace, days: float) -> bool:
    told = {"by": "ida", "who": "cli:ida", "now": NOON + days * DAY}
    with workspace.database.write() as connection:
        return by_hand.acknowledge(connection, "spring", lead_id(1), **told)


def mails(workspace: Workspace) -> list[tuple[str, str, str]]:
    """To, subject and text of each mail in the outbox, in order."""
    found = []
    for path in workspace.settings.outbox.glob("*.eml"):
        message = message_from_bytes(path.read_bytes(), policy=policy.default)
        assert message["Auto-Submitted"] == "auto-generated"
        found.append((message["To"], message["Subject"], message.get_content()))
    return sorted(found)


def states(workspace: Workspace) -> list[tuple[int, str, str]]:
    with workspace.database.read() as connection:
        rows = escalations.escalations_of(connection, "spring")
    return [(row["level"], row["channel"], row["state"]) for row in rows]


def test_a_handoff_that_nobody_takes_up_is_brought_to_its_owner_once(workspace: Workspace) -> None:
    start(workspace)
    run(workspace, 1.9)
    assert mails(workspace) == []
    run(workspace, 2.1)
    run(workspace, 9)

    ((to, subject, text),) = mails(workspace)
    assert (to, subject) == (BOSS, "Waits for an owner: Ann1, Blåbær")
    assert "aicmo handoff ack msg_1" in text
    assert states(workspace) == [(1, "mail", "sent")]


def test_each_level_goes_to_its_own_owner_in_its_time(
    workspace: Workspace, receiver: Receiver
) -> None:
    start(
        workspace,
        {"after_days_without_owner_action": 1, "to": BOSS},
        {"after_days_without_owner_action": 3, "to": HEAD, "url": receiver.url},
    )
    run(workspace, 1.5)
    assert [to for to, _, _ in mails(workspace)] == [BOSS]
    assert receiver.got == []
    run(workspace, 3.5)

    assert [to for to, _, _ in mails(workspace)] == [HEAD, BOSS]
    ((_, headers, body),) = receiver.got
    told = json.loads(body)
    assert (told["type"], told["data"]["level"]) == ("lead.escalated", 2)
    assert told["data"]["handoff"] == "msg_1"
    assert headers["webhook-id"].startswith("msg_")
    assert states(workspace) == [(1, "mail", "sent"), (2, "mail", "sent"), (2, "webhook", "sent")]


def test_nothing_follows_once_somebody_has_taken_the_lead_up(workspace: Workspace) -> None:
    start(workspace, leads=2)
    run(workspace, 1)
    with workspace.database.read() as connection:
        assert find_handoff(connection, "msg_1") == ("spring", lead_id(1))
        with pytest.raises(AicmoError, match="no handoff msg_9"):
            find_handoff(connection, "msg_9")
    assert take_up(workspace, 1)
    assert not take_up(workspace, 1)
    run(workspace, 3)

    assert [subject for _, subject, _ in mails(workspace)] == ["Waits for an owner: Ann2, Blåbær"]
    assert [state for _, _, state in states(workspace)] == ["dropped", "sent"]


def test_what_is_still_to_come_follows_the_document_as_it_is_now(workspace: Workspace) -> None:
    start(workspace)
    run(workspace, 1)
    start(workspace, {"after_days_without_owner_action": 5, "to": HEAD})
    run(workspace, 3)
    assert mails(workspace) == []
    run(workspace, 5.1)
    assert [to for to, _, _ in mails(workspace)] == [HEAD]
    apply(workspace, "spring", None)
    start(workspace, {"after_days_without_owner_action": 1, "to": HEAD}, leads=2)
    apply(workspace, "spring", None)
    run(workspace, 9)
    assert len(mails(workspace)) == 1


def test_a_webhook_that_fails_comes_again_under_its_key_until_it_is_taken(
    workspace: Workspace, receiver: Receiver
) -> None:
    start(workspace, {"after_days_without_owner_action": 1, "url": receiver.url})
    receiver.answers = [(500, {}, {})]
    assert run(workspace, 2).figures == {"due_later": 1}
    assert run(workspace, 2).rows_in == 0
    assert run(workspace, 2.1).figures == {"sent": 1}

    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1
    assert len(receiver.got) == 2


@pytest.mark.parametrize("arrived", [True, False])
def test_after_a_crash_the_outbox_tells_whether_the_mail_was_sent(
    workspace: Workspace, arrived: bool
) -> None:
    start(workspace)
    crash(workspace)
    if arrived:
        with workspace.database.read() as connection:
            (row,) = escalations.escalations_of(connection, "spring")
        outbox = open_transport(None, workspace.settings.outbox)
        parcel = Parcel(
            "ida@acme.example", BOSS, row["key"], b"Auto-Submitted: auto-generated\r\n\r\n"
        )
        outbox.deliver([parcel], _Yes())
    run(workspace, 3)
    run(workspace, 4)

    assert len(list(workspace.settings.outbox.glob("*.eml"))) == 1
    assert states(workspace) == [(1, "mail", "sent")]


def test_after_a_crash_a_mail_that_may_have_left_is_never_sent_again(
    workspace: Workspace,
) -> None:
    handler, port = _Taking(), free_port()
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        settings = workspace.settings
        by_smtp = replace(settings, smtp_url=f"smtp://127.0.0.1:{port}")
        sending = Workspace(by_smtp, workspace.database)
        start(sending, leads=2)
        crash(sending)
        run(sending, 3)
        run(sending, 4)
    finally:
        controller.stop()

    assert sorted(state for _, _, state in states(workspace)) == ["sent", "unknown"]
    assert handler.count == 1


def test_a_reminder_that_did_not_leave_in_a_crash_is_dropped_once_the_lead_is_taken_up(
    workspace: Workspace,
) -> None:
    start(workspace)
    crash(workspace)
    take_up(workspace, 3)
    run(workspace, 3)
    run(workspace, 4)

    assert mails(workspace) == []
    assert states(workspace) == [(1, "mail", "dropped")]


def test_reminders_wait_while_the_mail_server_is_away(workspace: Workspace) -> None:
    start(workspace)
    away = replace(workspace.settings, smtp_url=f"smtp://127.0.0.1:{free_port()}")
    report = run(Workspace(away, workspace.database), 3)
    assert report.figures == {"due_later": 1}
    with workspace.database.read() as connection:
        assert not escalations.any_escalation_due(connection, NOON + 3 * DAY)
        assert escalations.any_escalation_due(connection, NOON + 3.1 * DAY)
    run(workspace, 3.1)

    assert len(mails(workspace)) == 1


def crash(workspace: Workspace) -> None:
    """A worker that has ended was about to send the first reminder."""
    escalate.plan(workspace, "spring", NOON)
    with workspace.database.write() as connection:
        first = escalations.due_escalations(connection, NOON + 3 * DAY, 1)
        ended = f"{this_worker().rpartition(':')[0]}:1.00"
        settings = workspace.settings
        name = open_transport(settings.smtp_url, settings.outbox).name
        told = {"worker": ended, "transport": name, "now": datetime.now(UTC)}
        assert escalations.begin_mail(connection, first, **told)


class _Taking:
    count = 0

    async def handle_DATA(self, *_: object) -> str:
        self.count += 1
        return "250 ok"


class _Yes:
    def write(self, results: object, attempts: list[Parcel]) -> set[str]:
        return {parcel.message_id for parcel in attempts}
