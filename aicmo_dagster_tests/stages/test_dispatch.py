"""What follows from a server's refusals, through a real server."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from aicmo_dagster.stages.nurture import nurture
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.ledger import sends_of_lead, state_counts
from aicmo_dagster.store.suppressions import any_suppressed
from aicmo_dagster_tests.bench.mailing import KEY, enrol_in, free_port
from aicmo_dagster_tests.samples import NOON, lead_id
from aicmo_dagster_tests.workspaces import open_test_workspace

HOUR = timedelta(hours=1)


class Refusing:
    """Answers each RCPT by its address's number, and counts what it was asked."""

    def __init__(self, answers: Callable[[int], str]) -> None:
        self.answers = answers
        self.asked: list[int] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        number = int(address.partition("@")[0].removeprefix("lead"))
        self.asked.append(number)
        answer = self.answers(number)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer


Make = Callable[..., tuple[Workspace, Refusing]]


@pytest.fixture
def make(tmp_path: Path, database_url: str) -> Iterator[Make]:
    opened: list[Any] = []

    def start(leads: int, answers: Callable[[int], str], **columns: Any) -> Any:
        handler, port = Refusing(answers), free_port()
        controller = Controller(handler, hostname="127.0.0.1", port=port)
        controller.start()
        url = f"smtp://127.0.0.1:{port}?connections=1"
        workspace = open_test_workspace(tmp_path, database_url, smtp_url=url)
        opened.extend((controller.stop, workspace.database.close))
        enrol_in(workspace.database, tmp_path, leads, columns=columns)
        return workspace, handler

    yield start
    for close in opened:
        close()


def send(workspace: Workspace, hours: float = 0) -> Report:
    return nurture(workspace, KEY, lambda: NOON + hours * HOUR)


def states(workspace: Workspace) -> dict[str, int]:
    with workspace.database.read() as connection:
        return state_counts(connection, KEY)


def test_a_dead_address_is_suppressed_at_the_first_hit(make: Make) -> None:
    workspace, _ = make(2, lambda n: "550 5.1.1 unknown" if n == 1 else "250 ok")
    send(workspace)
    assert states(workspace) == {"rejected": 1, "accepted": 1}
    with workspace.database.read() as connection:
        assert any_suppressed(connection)
        row = sends_of_lead(connection, KEY, lead_id(1))[0]
    assert (row["state"], row["fault"], row["reply"]) == (
        "rejected",
        "address",
        "550 5.1.1 unknown",
    )


def test_a_provider_that_refuses_us_is_left_alone_and_its_leads_are_not_suppressed(
    make: Make,
) -> None:
    """Five refusals in a row are enough; nobody of the others is even asked about."""
    addresses = [f"lead{n}@gmail.com" for n in range(1, 13)]
    refusing = {"answer": "550 5.7.26 unauthenticated"}
    workspace, handler = make(12, lambda _: refusing["answer"], email=addresses)
    send(workspace)
    assert len(handler.asked) in (5, 6)
    assert states(workspace).get("accepted") is None
    with workspace.database.read() as connection:
        assert not any_suppressed(connection)
    send(workspace, 0.1)
    assert len(handler.asked) in (5, 6)
    refusing["answer"] = "250 ok"
    send(workspace, 0.3)
    send(workspace, 13)
    assert states(workspace) == {"accepted": 12}


def test_a_message_that_nobody_takes_parks_its_step(make: Make) -> None:
    workspace, handler = make(9, lambda _: "554 5.6.0 malformed")
    send(workspace)
    assert len(handler.asked) in (3, 4)
    assert "accepted" not in states(workspace)


def test_a_refusal_of_one_provider_is_no_reason_to_spare_another(make: Make) -> None:
    addresses = [f"lead{n}@{'gmail.com' if n < 9 else f'c{n}.example'}" for n in range(1, 12)]
    workspace, _ = make(11, lambda n: "550 5.7.1 no" if n < 9 else "250 ok", email=addresses)
    send(workspace)
    assert states(workspace)["accepted"] == 3
