"""What follows from a server's refusals, through a real server."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from aicmo_dagster.domain.links import read_click_token
from aicmo_dagster.mail.parcels import Book, Parcel
from aicmo_dagster.mail.replies import Delivery
from aicmo_dagster.settings import Dkim
from aicmo_dagster.stages.nurturing.dispatch import AHEAD
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.ledger import sends_of_lead, state_counts
from aicmo_dagster.store.links import newest_links
from aicmo_dagster.store.outcomes import release
from aicmo_dagster.store.suppressions import any_suppressed
from aicmo_dagster.store.workers import this_worker
from aicmo_dagster_tests.bench.mailing import KEY, enrol_in, free_port
from aicmo_dagster_tests.samples import NOON, SECRET, campaign_document, lead_id, routed_leads
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

HOUR = timedelta(hours=1)


class Refusing:
    """Answers each RCPT by its address's number, and counts what it was asked."""

    def __init__(self, answers: Callable[[int], str]) -> None:
        self.answers = answers
        self.asked: list[int] = []
        self.got: list[bytes] = []
        self.taken: Callable[[], str] = lambda: "250 ok"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        number = int(address.partition("@")[0].removeprefix("lead"))
        self.asked.append(number)
        answer = self.answers(number)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.got.append(bytes(envelope.content or b""))
        return self.taken()


Make = Callable[..., tuple[Workspace, Refusing]]


@pytest.fixture
def make(tmp_path: Path, database_url: str) -> Iterator[Make]:
    opened: list[Any] = []

    def start(
        leads: int,
        answers: Callable[[int], str],
        caps: dict[str, int] | None = None,
        **columns: Any,
    ) -> Any:
        handler, port = Refusing(answers), free_port()
        controller = Controller(handler, hostname="127.0.0.1", port=port)
        controller.start()
        url = f"smtp://127.0.0.1:{port}?connections=1"
        workspace = open_test_workspace(tmp_path, database_url, smtp_url=url)
        opened.extend((controller.stop, workspace.database.close))
        changes = {"nurture": campaign_document()["nurture"] | {"caps": caps}} if caps else {}
        enrol_in(workspace.database, tmp_path, leads, columns=columns, **changes)
        return workspace, handler

    yield start
    for close in opened:
        close()


def send(workspace: Workspace, hours: float = 0) -> Report:
    return nurture(workspace, KEY, lambda: NOON + hours * HOUR)


def states(workspace: Workspace) -> dict[str, int]:
    with workspace.database.read() as connection:
        return state_counts(connection, KEY)


def route_to(workspace: Workspace, version: int) -> None:
    """All leads follow this version of the document."""
    with workspace.database.write() as connection:
        replace_frame(connection, "routed_leads", KEY, routed_leads(2, campaign_version=version))


def follow(workspace: Workspace, content: bytes) -> list[str]:
    """Where the links in the HTML of a message lead."""
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    html = message.get_body(("html",))
    assert html is not None
    tokens = re.findall(r"/t/c/([\w.-]+)", html.get_content())
    with workspace.database.read() as connection:
        known = newest_links(connection, NOON, 10)
    places = [read_click_token(SECRET, token) for token in tokens]
    return [known[KEY, str(place.link)] for place in places if place]


def test_a_place_under_the_cap_that_a_refusal_leaves_free_is_taken_by_the_next(make: Make) -> None:
    """Although more was claimed, up to the cap, before that was known; what waits counts once."""
    later = {1: "450 later", 3: "450 later"}
    workspace, handler = make(6, lambda n: later.get(n, "250 ok"), {"per_sender_per_day": 3})

    report = send(workspace)

    assert len(handler.got) == 3
    assert states(workspace) == {"accepted": 3, "deferred": 2, "planned": 1}
    waiting = {"the sender's cap is reached": 1, "deferred by the mail server": 2}
    assert report.reasons == waiting


class Insisting:
    """Takes every message, and tells again what the ledger could not take."""

    name = "insisting"

    def deliver(self, parcels: Iterable[Parcel], book: Book) -> None:
        for parcel in parcels:
            book.write([], [parcel])
            with pytest.raises(UnicodeEncodeError):
                book.write([(parcel, Delivery("accepted", "\ud800"))], [])
            book.write([(parcel, Delivery("accepted", "250 ok"))], [])

    def was_delivered(self, message_id: str) -> None: ...

    def close(self) -> None: ...


def test_an_outcome_that_could_not_be_written_may_be_told_again(make: Make) -> None:
    workspace, _ = make(2, lambda number: "250 ok")
    report = nurture(workspace, KEY, lambda: NOON, Insisting())
    assert report.figures["now_accepted"] == 2
    assert states(workspace) == {"accepted": 2}


class Disturbed:
    """While it gathers messages, another run of this process gives back what was claimed."""

    name = "disturbed"

    def __init__(self, database: Database) -> None:
        self.sent: list[str] = []
        self._database = database

    def deliver(self, parcels: Iterable[Parcel], book: Book) -> None:
        batch = []
        for parcel in parcels:
            if not batch:
                with self._database.write() as connection:
                    release(connection, KEY, worker=this_worker())
            batch.append(parcel)
        allowed = book.write([], batch)
        taken = [parcel for parcel in batch if parcel.message_id in allowed]
        self.sent += [parcel.message_id for parcel in taken]
        book.write([(parcel, Delivery("accepted", "250 ok")) for parcel in taken], [])

    def was_delivered(self, message_id: str) -> None: ...

    def close(self) -> None: ...


def test_what_is_claimed_again_while_it_waits_leaves_once(make: Make) -> None:
    workspace, _ = make(AHEAD + 1, lambda number: "250 ok")
    transport = Disturbed(workspace.database)
    nurture(workspace, KEY, lambda: NOON, transport)
    assert len(transport.sent) == len(set(transport.sent)) == AHEAD + 1


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


def test_a_link_leads_to_its_target_before_the_message_is_out(make: Make) -> None:
    """Also one that was made for the lead alone; and a repeat carries the very same links."""
    workspace, handler = make(2, lambda _: "250 ok")
    body = "[a](https://acme.example/guide) [b](https://acme.example/?lead={{ company }})"
    step = {"id": "intro", "subject": "Hello", "body": body}
    apply(workspace, KEY, None, sequences={"everyone": {"steps": [step]}})
    route_to(workspace, 2)

    def taken() -> str:
        with workspace.database.read() as connection:
            known = newest_links(connection, NOON, 10).values()
        return "250 ok" if len(known) == 3 and len(handler.got) > 2 else "451 4.3.0 later"

    handler.taken = taken
    send(workspace)
    assert states(workspace) == {"deferred": 2}
    send(workspace, 1)

    assert states(workspace) == {"accepted": 2}
    first, again = (sorted(handler.got[i : i + 2]) for i in (0, 2))
    assert first == again
    targets = [follow(workspace, content) for content in first]
    assert [sorted(urls) for urls in targets] == [
        [f"https://acme.example/?lead=Company%20{n}", "https://acme.example/guide"] for n in (1, 2)
    ]


def test_what_was_claimed_before_the_machine_slept_is_judged_anew(make: Make) -> None:
    """Whoever objects meanwhile is not written to, nor anybody outside of the window."""
    workspace, server = make(3, lambda number: "250 ok")
    slept = timedelta(days=3)
    nurture(workspace, KEY, lambda: NOON + (slept if server.got else timedelta(0)))
    assert len(server.got) == 1
    assert states(workspace) == {"accepted": 1, "planned": 2}
    assert send(workspace, 72).figures["now_accepted"] == 2


def test_each_message_leaves_signed_and_to_its_own_lead(make: Make, tmp_path: Path) -> None:
    """They are more than are written together, so that threads sign some while others leave."""
    assert AHEAD < 25
    workspace, handler = make(25, lambda _: "250 ok")
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    path = tmp_path / "dkim.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    signing = Dkim("acme.example", "spring", path)
    send(replace(workspace, settings=replace(workspace.settings, dkim=signing)))

    assert states(workspace) == {"accepted": 25}
    assert all(content.startswith(b"DKIM-Signature: ") for content in handler.got)
    told = [message_from_bytes(content)["To"] for content in handler.got]
    assert [f"lead{n}@" in to for n, to in zip(handler.asked, told, strict=True)].count(True) == 25
    assert sorted(handler.asked) == list(range(1, 26))
