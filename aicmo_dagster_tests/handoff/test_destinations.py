"""Each destination against a real server or file."""

import csv
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from standardwebhooks.webhooks import Webhook as Verifier

from aicmo_dagster.handoff.connections import is_private_refusal, open_session
from aicmo_dagster.handoff.csv_files import COLUMNS, CsvFile
from aicmo_dagster.handoff.delivery import next_wait, wait_asked
from aicmo_dagster.handoff.forgetting import forget
from aicmo_dagster.handoff.hubspot import HubSpot
from aicmo_dagster.handoff.webhooks import Webhook
from aicmo_dagster_tests.handoff.receiver import Receiver, receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DOCUMENT: dict[str, Any] = {
    "type": "lead.graduated",
    "timestamp": "2026-03-04T12:00:00+00:00",
    "data": {
        "campaign": "spring",
        "reason": "replied",
        "lead": {
            "lead_id": "01",
            "email": "zoë@bücher.example",
            "first_name": "Zoë",
            "phone": None,
        },
        "score": {"score": 71.5},
    },
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def webhook(url: str, *, allow_private: bool = True) -> Webhook:
    return Webhook(url, SECRET, allow_private=allow_private, clock=lambda: datetime.now(UTC))


def test_a_webhook_is_signed_as_its_standard_says(receiver: Receiver) -> None:
    outcome = webhook(receiver.url).deliver("msg_1", DOCUMENT)

    ((_, headers, body),) = receiver.got
    assert outcome.state == "delivered"
    assert Verifier(SECRET).verify(body, headers) == DOCUMENT
    assert {name.lower(): value for name, value in headers.items()}["webhook-id"] == "msg_1"


def test_the_signature_is_that_of_the_standard_s_test_vector() -> None:
    signed = Verifier(SECRET).sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        '{"test": 2432232314}',
    )

    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("status", "state"),
    [(204, "delivered"), (301, "failed"), (410, "refused"), (404, "failed"), (500, "failed")],
)
def test_what_a_webhook_s_answer_means(receiver: Receiver, status: int, state: str) -> None:
    receiver.answers.append((status, {"Location": f"{receiver.url}/elsewhere"}, {}))

    assert webhook(receiver.url).deliver("msg_1", DOCUMENT).state == state
    assert len(receiver.got) == 1


def test_a_receiver_may_ask_for_time(receiver: Receiver) -> None:
    receiver.answers.append((429, {"Retry-After": "7200"}, {}))

    outcome = webhook(receiver.url).deliver("msg_1", DOCUMENT)

    assert (outcome.state, outcome.wait) == ("failed", timedelta(hours=2))


def test_a_receiver_that_is_not_there_is_tried_again() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"

    assert webhook(url).deliver("msg_1", DOCUMENT).state == "failed"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_a_webhook_reaches_no_private_address(receiver: Receiver, host: str) -> None:
    """Neither by address nor by a name that leads to one."""
    url = receiver.url.replace("127.0.0.1", host)

    outcome = webhook(url, allow_private=False).deliver("msg_1", DOCUMENT)

    assert outcome.state == "refused"
    assert "private" in outcome.reason
    assert receiver.got == []


def test_another_failure_is_not_taken_for_a_private_address() -> None:
    with (
        open_session(allow_private=False) as session,
        pytest.raises(requests.RequestException) as raised,
    ):
        session.get("http://no-such-host.invalid", timeout=5)

    assert not is_private_refusal(raised.value)


def test_a_contact_is_upserted_by_address(receiver: Receiver) -> None:
    outcome = HubSpot(receiver.url, "a token", allow_private=True).deliver("msg_1", DOCUMENT)

    ((path, headers, body),) = receiver.got
    assert outcome.state == "delivered"
    assert path == "/crm/v3/objects/contacts/batch/upsert"
    assert headers["Authorization"] == "Bearer a token"
    (contact,) = json.loads(body)["inputs"]
    assert (contact["idProperty"], contact["id"]) == ("email", "zoë@bücher.example")
    assert contact["properties"] == {"email": "zoë@bücher.example", "firstname": "Zoë"}


@pytest.mark.parametrize(
    ("status", "answer", "state"),
    [
        (207, {"results": [], "errors": [{"category": "VALIDATION_ERROR"}]}, "refused"),
        (207, {"results": [{"id": "1"}], "errors": []}, "delivered"),
        (200, None, "failed"),
        (200, {"results": []}, "refused"),
        (400, {"category": "VALIDATION_ERROR", "message": "zoë@bücher.example"}, "refused"),
        (401, {}, "failed"),
        (429, {}, "failed"),
        (502, None, "failed"),
    ],
)
def test_what_hubspot_s_answer_means(
    receiver: Receiver, status: int, answer: Any, state: str
) -> None:
    receiver.answers.append((status, {}, answer))

    outcome = HubSpot(receiver.url, "a token", allow_private=True).deliver("msg_1", DOCUMENT)

    assert outcome.state == state
    assert "zoë" not in outcome.reason


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_a_row_is_added_once_however_often_it_is_delivered(tmp_path: Path) -> None:
    path = tmp_path / "handoffs" / "spring.csv"
    destination = CsvFile(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: destination.deliver(f"msg_{n % 4}", DOCUMENT), range(32)))

    header, *found = rows(path)
    assert tuple(header) == COLUMNS
    assert sorted(row[0] for row in found) == ["msg_0", "msg_1", "msg_2", "msg_3"]
    assert found[0][header.index("score")] == "71.5"
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    path = tmp_path / "spring.csv"
    lead = DOCUMENT["data"]["lead"] | {"first_name": text}
    CsvFile(path).deliver("msg_1", DOCUMENT | {"data": DOCUMENT["data"] | {"lead": lead}})

    assert rows(path)[1][COLUMNS.index("first_name")] == f"'{text}"


def test_a_file_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    assert CsvFile(tmp_path / "file" / "spring.csv").deliver("msg_1", DOCUMENT).state == "failed"


def test_a_cell_of_any_length_keeps_no_other_lead_from_the_file(tmp_path: Path) -> None:
    csv.field_size_limit(131_072)  # as the library has it, until a source is read
    path, long = tmp_path / "spring.csv", DOCUMENT["data"] | {"reason": "x" * 200_000}
    assert CsvFile(path).deliver("msg_1", DOCUMENT | {"data": long}).state == "delivered"

    csv.field_size_limit(131_072)
    assert CsvFile(path).deliver("msg_2", DOCUMENT).state == "delivered"
    csv.field_size_limit(131_072)
    assert forget(tmp_path, ["01"], []) == 2


def test_attempts_are_spread_over_days_and_end() -> None:
    waits = [next_wait("msg_1", attempt, None) for attempt in range(1, 12)]

    assert waits[9:] == [None, None]
    known = [wait for wait in waits if wait]
    assert known == sorted(known)
    assert timedelta(days=3) < sum(known, timedelta()) < timedelta(days=4)
    assert waits[0] != next_wait("msg_2", 1, None)


def test_a_wait_that_is_asked_for_is_kept_within_reason() -> None:
    assert next_wait("msg_1", 1, timedelta(hours=3)) == timedelta(hours=3)
    asked = next_wait("msg_1", 1, timedelta(days=300))
    assert asked is not None
    assert asked < timedelta(days=2)
    for header in (None, "", "soon", "-5", "9" * 30, "Wed, 21 Oct 2026 07:28:00 GMT"):
        assert wait_asked(header) is None
