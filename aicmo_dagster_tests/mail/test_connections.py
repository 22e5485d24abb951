"""Several connections at once: who may leave when, and how many are in doubt at any time."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from aicmo_dagster.mail.conversations import LEAVE, Conversation
from aicmo_dagster.mail.parcels import Parcel
from aicmo_dagster.mail.replies import Delivery
from aicmo_dagster.mail.smtp import Smtp
from aicmo_dagster_tests.bench.mailing import free_port
from aicmo_dagster_tests.mail.books import Notebook

CONTENT = b"Subject: x\r\n\r\n.a line\r\n"


def parcels(count: int) -> list[Parcel]:
    return [
        Parcel("ida@acme.example", f"lead{n}@x.example", f"<{n}@acme.example>", CONTENT)
        for n in range(count)
    ]


class Watching:
    """Takes everything as soon as as much is under way as expected, and watches how much is."""

    def __init__(self) -> None:
        self.peers: set[object] = set()
        self.taken: list[str] = []
        self.at_once = self.most_at_once = 0
        self.expected = 1

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.peers.add(session.peer)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        deadline = asyncio.get_running_loop().time() + 20
        while self.most_at_once < self.expected and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.005)
        self.at_once -= 1
        self.taken += envelope.rcpt_tos
        return "250 taken"


@pytest.fixture
def server() -> Iterator[tuple[Watching, str]]:
    handler, port = Watching(), free_port()
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    yield handler, f"smtp://127.0.0.1:{port}"
    controller.stop()


def test_as_many_are_under_way_as_there_are_connections(server: tuple[Watching, str]) -> None:
    handler, url = server
    handler.expected = 3
    transport, book = Smtp(f"{url}?connections=3"), Notebook()
    transport.deliver(parcels(12), book)
    transport.close()
    assert sorted(handler.taken) == sorted(f"lead{n}@x.example" for n in range(12))
    assert handler.most_at_once == len(handler.peers) == 3
    assert set(book.states().values()) == {"accepted"}
    assert len(book.outcomes) == 12


def test_a_connection_carries_as_many_messages_as_it_may(server: tuple[Watching, str]) -> None:
    handler, url = server
    transport = Smtp(f"{url}?connections=1&messages=2")
    transport.deliver(parcels(5), Notebook())
    transport.close()
    assert len(handler.peers) == 3


def test_what_the_book_forbids_does_not_leave(server: tuple[Watching, str]) -> None:
    handler, url = server
    transport, book = Smtp(f"{url}?connections=2"), Notebook(forbidden={"<1@acme.example>"})
    transport.deliver(parcels(4), book)
    transport.close()
    assert sorted(handler.taken) == [f"lead{n}@x.example" for n in (0, 2, 3)]
    assert "<1@acme.example>" not in book.states()


def test_no_message_leaves_before_its_attempt_and_one_a_connection_is_in_doubt(
    server: tuple[Watching, str],
) -> None:
    """What a kill leaves in doubt: begun, and with no outcome recorded."""
    handler, url = server
    doubtful: list[int] = []

    class Strict(Notebook):
        def write(
            self, outcomes: Sequence[tuple[Parcel, Delivery]], attempts: Sequence[Parcel]
        ) -> set[str]:
            for parcel in attempts:
                assert parcel.recipient not in handler.taken
            allowed = super().write(outcomes, attempts)
            doubtful.append(len(set(self.attempts)) - len(self.outcomes))
            return allowed

    transport, book = Smtp(f"{url}?connections=3"), Strict()
    transport.deliver(parcels(20), book)
    transport.close()
    assert max(doubtful) <= 3


def test_a_parcel_is_asked_for_only_when_a_connection_is_free(
    server: tuple[Watching, str],
) -> None:
    handler, url = server
    asked: list[int] = []

    def some() -> Iterator[Parcel]:
        for n, parcel in enumerate(parcels(8)):
            asked.append(n - len(handler.taken))
            yield parcel

    transport = Smtp(f"{url}?connections=2")
    transport.deliver(some(), Notebook())
    transport.close()
    assert max(asked) <= 3


def said(extensions: set[str], *replies: tuple[int, bytes]) -> tuple[list[bytes], Conversation]:
    """What a conversation says until it has no reply left, and the conversation."""
    conversation = Conversation(parcels(1)[0], extensions)
    steps, words = conversation.steps(), []
    waiting: list[Any] = list(replies)
    say = next(steps)
    try:
        while True:
            if say is LEAVE:
                say = next(steps)
                continue
            words.append(say.words)
            say = steps.send(waiting.pop(0))
    except (StopIteration, IndexError):
        return words, conversation


def test_commands_are_pipelined_where_the_server_takes_that() -> None:
    ok = (250, b"ok")
    words, conversation = said({"pipelining", "size", "dsn"}, ok, ok, (354, b"go"), ok)
    envelope = (
        b"MAIL FROM:<ida@acme.example> SIZE=23 RET=HDRS ENVID=0\r\n"
        b"RCPT TO:<lead0@x.example> NOTIFY=FAILURE,DELAY\r\nDATA\r\n"
    )
    assert words == [envelope, b"", b"", b"Subject: x\r\n\r\n..a line\r\n.\r\n"]
    assert conversation.delivery == Delivery("accepted", "250 ok")
    assert conversation.reusable


def test_a_server_that_waits_for_a_message_to_nobody_gets_a_lone_dot() -> None:
    """RFC 2920, section 3.1: DATA may be answered by 354 though every recipient was refused."""
    replies = [(250, b"ok"), (550, b"5.1.1 no"), (354, b"go"), (554, b"nobody"), (250, b"reset")]
    words, conversation = said({"pipelining"}, *replies)
    assert words[3:] == [b".\r\n", b"RSET\r\n"]
    assert conversation.delivery == Delivery("rejected", "550 5.1.1 no", "address")
    assert conversation.reusable


def test_a_server_that_takes_data_from_a_sender_it_refused_is_left() -> None:
    """A lone dot would send an empty message."""
    replies = [(550, b"5.7.1 no"), (250, b"ok"), (354, b"go")]
    words, conversation = said({"pipelining"}, *replies)
    assert b".\r\n" not in words
    assert not re.search(rb"RSET", b"".join(words))
    assert conversation.delivery == Delivery("deferred", "550 5.7.1 no", "sender")
    assert not conversation.reusable
