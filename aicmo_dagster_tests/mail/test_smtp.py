"""A real server (aiosmtpd) for what servers should do, and a scripted socket for what they do."""

import asyncio
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from aicmo_dagster.errors import AicmoError, BadInput, Transient
from aicmo_dagster.mail.delivery import open_transport
from aicmo_dagster.mail.headers import Undeliverable
from aicmo_dagster.mail.lines import Line
from aicmo_dagster.mail.outbox import Outbox
from aicmo_dagster.mail.parcels import Parcel
from aicmo_dagster.mail.replies import Delivery, State
from aicmo_dagster.mail.servers import Timeouts, open_session, read_smtp_url
from aicmo_dagster.mail.smtp import Smtp
from aicmo_dagster_tests.mail.books import Notebook

ID = "<0123456789abcdef@acme.example>"
CONTENT = b"Subject: x\r\n\r\n.a line\r\n..two\r\n"
IMPATIENT = Timeouts(connect=1, command=0.3, data=0.3, block=0.3, dot=0.3)


def deliver(
    transport: Smtp, recipient: str = "jo@lead.example", content: bytes = CONTENT
) -> Delivery:
    book = Notebook()
    transport.deliver([Parcel("ida@acme.example", recipient, ID, content)], book)
    ((_, delivery),) = book.outcomes
    return delivery


class Recorder:
    """A handler that takes everything, or answers as it is told."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.taken: list[Envelope] = []
        self.peers: set[object] = set()
        self.options: list[str] = []
        self.known: list[bool] = []

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "mail" in self.answers:
            return self.answers["mail"]
        self.peers.add(session.peer)
        self.known.append(session.authenticated is True)
        self.options += options
        envelope.mail_from = address
        return "250 ok"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if "data" in self.answers:
            return self.answers["data"]
        self.taken.append(envelope)
        return "250 2.0.0 Ok: queued as 4F1"


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers on loopback and tells where each listens."""
    running: list[Controller] = []

    def start(handler: Recorder, **options: Any) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        running.append(Controller(handler, hostname="127.0.0.1", port=port, **options))
        running[-1].start()
        return f"127.0.0.1:{port}"

    yield start
    for controller in running:
        # Otherwise the loop is closed under connections that are still being ended.
        asyncio.run_coroutine_threadsafe(_connections_end(), controller.loop).result(5)
        controller.stop()


async def _connections_end() -> None:
    while asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.sleep(0.005)


Script = list[list[bytes | None]]
Play = Callable[..., tuple[str, list[bytes]]]
CUT = b"354 go, but the line is cut"
"""An answer after which the server reads one line more and is gone."""


@pytest.fixture
def play() -> Iterator[Play]:
    """Starts a server that plays a script, one list of answers a connection.

    An answer follows each line received, the first the connection itself; none means that the
    server closes instead. A message counts as one line, ended by its dot. When the answers are
    used up, it says nothing any more. With a `context` it speaks TLS.
    """
    stopping: list[Callable[[], object]] = []

    def start(script: Script, context: ssl.SSLContext | None = None) -> tuple[str, list[bytes]]:
        listener = socket.create_server(("127.0.0.1", 0))
        if context:
            listener = context.wrap_socket(listener, server_side=True)
        heard: list[bytes] = []
        thread = threading.Thread(target=play_all, args=(listener, script, heard))
        thread.start()
        # A listener that is shut down ends accept(), and with it the thread.
        stopping.extend((partial(listener.shutdown, socket.SHUT_RDWR), thread.join, listener.close))
        scheme = "smtps" if context else "smtp"
        return f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", heard

    yield start
    for stop in stopping:
        stop()


def play_all(listener: socket.socket, script: Script, heard: list[bytes]) -> None:
    for answers in script:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rb") as lines:
            play_one(connection, lines, answers, heard)


def play_one(
    connection: socket.socket, lines: Any, answers: list[bytes | None], heard: list[bytes]
) -> None:
    in_message = False
    for answer in [*answers, b""]:
        if answer is None:
            return
        if answer:
            connection.sendall(answer + b"\r\n")
        in_message = answer.startswith(b"354") and answer != CUT
        line = lines.readline()
        while in_message and line not in (b".\r\n", b""):
            line = lines.readline()
        heard.append(line.strip())
        if answer == CUT:
            return


def test_a_message_arrives_as_it_was_built(serve: Serve) -> None:
    recorder = Recorder()
    transport = Smtp(f"smtp://{serve(recorder)}")

    assert deliver(transport) == Delivery("accepted", "250 2.0.0 Ok: queued as 4F1")
    (taken,) = recorder.taken
    assert (taken.mail_from, taken.rcpt_tos) == ("ida@acme.example", ["jo@lead.example"])
    assert taken.content == CONTENT
    assert f"SIZE={len(CONTENT)}" in recorder.options
    transport.close()


def test_messages_share_one_connection(serve: Serve) -> None:
    recorder = Recorder()
    transport = Smtp(f"smtp://{serve(recorder)}")
    for _ in range(3):
        assert deliver(transport).state == "accepted"
    transport.close()

    assert len(recorder.taken) == 3
    assert len(recorder.peers) == 1


class Shaky(Notebook):
    """Cannot be written at the first outcome."""

    def write(
        self, outcomes: Sequence[tuple[Parcel, Delivery]], attempts: Sequence[Parcel]
    ) -> set[str]:
        if outcomes and not self.shaken:
            self.shaken = True
            raise Transient("the database is locked")
        return super().write(outcomes, attempts)

    shaken = False


def test_what_the_book_could_not_take_at_once_is_told_again(serve: Serve) -> None:
    recorder, book = Recorder(), Shaky()
    transport = Smtp(f"smtp://{serve(recorder)}")
    with pytest.raises(Transient):
        transport.deliver([Parcel("ida@acme.example", "jo@lead.example", ID, CONTENT)], book)
    transport.close()
    assert book.states() == {ID: "accepted"}


def test_after_close_it_connects_anew(serve: Serve) -> None:
    recorder = Recorder()
    transport = Smtp(f"smtp://{serve(recorder)}")
    for _ in range(2):
        assert deliver(transport).state == "accepted"
        transport.close()

    assert len(recorder.peers) == 2


def test_packets_are_not_held_back(serve: Serve) -> None:
    transport = Smtp(f"smtp://{serve(Recorder())}")
    deliver(transport)
    assert transport._lines
    assert transport._lines[0].socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    transport.close()


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("550 5.1.1 No such user", "rejected"),
        ("550 No such user", "rejected"),
        ("450 4.2.1 Greylisted", "deferred"),
        ("550 5.7.1 Blocked by policy", "deferred"),
        ("550 5.7.13 Account disabled", "rejected"),
        ("530 Authentication required", "deferred"),
    ],
)
@pytest.mark.parametrize("phase", ["jo@lead.example", "data"])
def test_a_refusal_counts_by_whose_fault_it_is(
    serve: Serve, phase: str, answer: str, state: State
) -> None:
    recorder = Recorder(**{phase: answer})
    transport = Smtp(f"smtp://{serve(recorder)}")

    delivery = deliver(transport)
    assert (delivery.state, delivery.reply) == (state, answer)
    recorder.answers.clear()
    assert deliver(transport).state == "accepted"
    assert len(recorder.peers) == 1
    transport.close()


@pytest.mark.parametrize("answer", ["550 5.1.0 Who are you", "553 no", "451 later"])
def test_a_refused_sender_is_never_the_lead_s_fault(serve: Serve, answer: str) -> None:
    recorder = Recorder(mail=answer)
    transport = Smtp(f"smtp://{serve(recorder)}")

    assert deliver(transport) == Delivery("deferred", answer, "sender")
    transport.close()


def test_a_reply_is_told_without_the_recipient(serve: Serve) -> None:
    recorder = Recorder(**{"Jo.H@lead.example": "550 5.1.1 <jo.h@LEAD.example>: jo.h unknown"})
    transport = Smtp(f"smtp://{serve(recorder)}")

    reply = deliver(transport, "Jo.H@lead.example").reply
    assert reply == "550 5.1.1 <[recipient]>: [recipient] unknown"
    transport.close()


GREETED: list[bytes | None] = [b"220 hi", b"250 hi"]
UNTIL_DATA: list[bytes | None] = [*GREETED, b"250 ok", b"250 ok"]
UNTIL_DOT: list[bytes | None] = [*UNTIL_DATA, b"354 go"]
ACCEPTING: list[bytes | None] = [*UNTIL_DOT, b"250 queued"]


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([*GREETED, None], "planned"),
        ([*GREETED, b"250 ok", None], "planned"),
        ([*UNTIL_DATA, None], "planned"),
        ([*GREETED], "planned"),
        ([*UNTIL_DATA], "planned"),
        ([*GREETED, b"421 4.3.2 closing", None], "planned"),
        ([*GREETED, b"250 ok", b"421 closing", None], "planned"),
        ([*UNTIL_DATA, b"421 closing", None], "planned"),
        ([*GREETED, b"gibberish"], "planned"),
        ([*UNTIL_DOT, None], "unknown"),
        ([*UNTIL_DOT], "unknown"),
        ([*UNTIL_DOT, b"gibberish"], "unknown"),
        ([*UNTIL_DOT, b"354 what"], "unknown"),
        ([*UNTIL_DOT, b"421 4.3.2 closing", None], "deferred"),
        ([*UNTIL_DOT, b"250 queued", None], "accepted"),
    ],
)
def test_a_failure_is_safe_to_repeat_before_the_final_dot_and_unknown_after_it(
    play: Play, answers: list[bytes | None], state: str
) -> None:
    url, _ = play([answers])
    transport = Smtp(url, IMPATIENT)

    assert deliver(transport).state == state
    transport.close()


def test_a_connection_lost_within_the_message_is_safe_to_repeat(play: Play) -> None:
    """The final dot never left, so that no server can have accepted the message."""
    url, heard = play([[*UNTIL_DATA, CUT]])
    transport = Smtp(url, IMPATIENT)

    lost = deliver(transport, content=CONTENT + b"more than fits into any buffer\r\n" * 500_000)
    assert lost == Delivery("planned", "the connection failed before the end: closed by the server")
    assert heard[-1] == b"Subject: x"


@pytest.mark.parametrize(
    "leaving", [[None], [b"421 idle for too long", None]], ids=["closed", "421"]
)
def test_a_connection_that_the_server_closed_meanwhile_is_opened_again(
    play: Play, leaving: list[bytes | None]
) -> None:
    url, heard = play([[*ACCEPTING, *leaving], ACCEPTING])
    transport = Smtp(url, IMPATIENT)

    assert deliver(transport).state == "accepted"
    assert deliver(transport).state == "accepted"
    assert heard.count(b".") == 2
    transport.close()


def test_an_unanswered_message_is_never_sent_again_by_itself(play: Play) -> None:
    url, heard = play([[*ACCEPTING, b"250 ok", b"250 ok", b"354 go", None], ACCEPTING])
    transport = Smtp(url, IMPATIENT)
    deliver(transport)

    assert deliver(transport).state == "unknown"
    assert heard.count(b".") == 2
    transport.close()


PIPELINING: list[bytes | None] = [b"220 hi", b"250-hi\r\n250 PIPELINING"]
ANNOUNCED: list[bytes | None] = [*PIPELINING, *UNTIL_DOT[2:], b""]
"""The server has read a whole message and, before it said anything, the first line of the next."""

WHOLE: list[bytes | None] = [*PIPELINING, *ACCEPTING[2:]]


@pytest.mark.parametrize(
    ("answers", "states"),
    [
        ([b"250 queued\r\n250 ok", b"250 ok", b"354 go", b"250 queued"], "accepted accepted"),
        ([b"550 5.1.1 no\r\n250 ok", b"250 ok", b"354 go", b"250 queued"], "rejected accepted"),
        ([b"250 queued\r\n250 ok", b"550 5.1.1 no", b"503 no", b"250 ok"], "accepted rejected"),
        ([b"250 queued", None], "accepted accepted"),
        ([b"421 4.3.2 closing", None], "deferred accepted"),
        ([None], "unknown accepted"),
        ([], "unknown accepted"),
        ([b"gibberish\r\n250 ok\r\n550 5.1.1 no\r\n550 5.1.1 no"], "unknown accepted"),
    ],
)
def test_the_next_is_announced_behind_a_message_and_fares_by_its_own(
    play: Play, answers: list[bytes | None], states: str
) -> None:
    """Whatever becomes of the first, each content leaves once, and the second is not in doubt."""
    url, heard = play([[*ANNOUNCED, *answers], WHOLE])
    transport, book = Smtp(f"{url}?connections=1", IMPATIENT), Notebook()
    transport.deliver(two_parcels(), book)
    transport.close()

    assert list(book.states().values()) == states.split()
    assert len(book.outcomes) == 2
    assert heard.count(b".") == (1 if states.endswith("rejected") else 2)
    assert heard[4:6] == [b".", b"MAIL FROM:<ida@acme.example>"]


def two_parcels() -> list[Parcel]:
    return [Parcel("ida@acme.example", f"jo{n}@x.example", f"<{n}@x>", CONTENT) for n in (1, 2)]


def test_what_was_announced_and_is_not_allowed_does_not_leave(play: Play) -> None:
    granted = [b"250 queued\r\n250 ok", b"250 ok", b"354 go", None]
    url, heard = play([[*ANNOUNCED, *granted]])
    transport, book = Smtp(f"{url}?connections=1", IMPATIENT), Notebook(forbidden={"<2@x>"})
    transport.deliver(two_parcels(), book)
    assert book.states() == {"<1@x>": "accepted"}
    assert heard.count(b".") == 1


def test_what_was_announced_behind_a_message_that_is_not_allowed_goes_elsewhere(play: Play) -> None:
    url, heard = play([[*PIPELINING, *UNTIL_DOT[2:], None], WHOLE])
    transport, book = Smtp(f"{url}?connections=1", IMPATIENT), Notebook(forbidden={"<1@x>"})
    transport.deliver(two_parcels(), book)
    transport.close()
    assert book.states() == {"<2@x>": "accepted"}
    assert heard.count(b".") == 1


class Broken(AicmoError):
    """What a test's parcels end with."""


def parcels_that_break() -> Iterator[Parcel]:
    yield two_parcels()[0]
    raise Broken("no more can be claimed")


@pytest.mark.parametrize(
    ("greeting", "connections"), [(GREETED, 2), (PIPELINING, 1)], ids=["beside", "behind"]
)
def test_where_no_more_can_be_had_what_is_under_way_is_brought_to_its_end(
    play: Play, greeting: list[bytes | None], connections: int
) -> None:
    url, heard = play([[*greeting, *ACCEPTING[2:], b""]])
    transport, book = Smtp(f"{url}?connections={connections}", IMPATIENT), Notebook()
    with pytest.raises(Broken):
        transport.deliver(parcels_that_break(), book)
    transport.close()
    assert (book.attempts, book.states()) == (["<1@x>"], {"<1@x>": "accepted"})
    assert heard.count(b".") == 1


def test_no_attempt_is_recorded_before_it_is_known_what_follows(play: Play) -> None:
    """What is in doubt when this process is killed has left, or would have at once."""
    url, _ = play([WHOLE])
    transport, book = Smtp(f"{url}?connections=1", IMPATIENT), Notebook()

    def parcels() -> Iterator[Parcel]:
        yield two_parcels()[0]
        assert book.attempts == []

    transport.deliver(parcels(), book)
    transport.close()
    assert book.states() == {"<1@x>": "accepted"}


def test_nothing_is_announced_on_a_connection_that_may_carry_no_more(play: Play) -> None:
    url, heard = play([WHOLE, WHOLE])
    transport, book = Smtp(f"{url}?connections=1&messages=1", IMPATIENT), Notebook()
    transport.deliver(two_parcels(), book)
    assert list(book.states().values()) == ["accepted", "accepted"]
    assert heard[heard.index(b".") + 1] == b"QUIT"


def test_a_refused_transaction_is_reset_and_a_failed_reset_ends_the_connection(play: Play) -> None:
    refused = [*GREETED, b"250 ok", b"550 5.1.1 unknown"]
    url, heard = play([[*refused, b"250 flushed", *ACCEPTING[2:]], ACCEPTING])
    transport = Smtp(url, IMPATIENT)
    assert deliver(transport).state == "rejected"
    assert deliver(transport).state == "accepted"
    assert b"rset" in [line.lower() for line in heard]
    transport.close()

    url, _ = play([[*refused, None], ACCEPTING])
    transport = Smtp(url, IMPATIENT)
    assert deliver(transport).state == "rejected"
    assert deliver(transport).state == "accepted"
    transport.close()


@pytest.mark.parametrize(
    "answers",
    [[b"421 too busy", None], [b"554 go away", None], [None], [], [b"220 hi", None], [b"220 hi"]],
)
def test_a_server_that_lets_nobody_in_is_an_error_naming_the_variable(
    play: Play, answers: list[bytes | None]
) -> None:
    url, _ = play([answers])
    transport = Smtp(url, Timeouts(connect=0.3, command=0.3))

    with pytest.raises(AicmoError, match=r"^AICMO_SMTP_URL: 127.0.0.1:\d+ ") as failure:
        deliver(transport)
    assert "\n" not in str(failure.value)


def test_a_server_that_is_not_there_is_an_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"smtp://user:S3cret@127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(AicmoError, match="AICMO_SMTP_URL") as failure:
            deliver(Smtp(url))
    assert "S3cret" not in str(failure.value)


def authenticator(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
) -> AuthResult:
    known = data.login == b"ida" and data.password == b"p@ss:w%rd"
    return AuthResult(success=known, handled=False)


AUTHENTICATED = {"authenticator": authenticator, "auth_require_tls": False}


def test_it_logs_in_with_what_the_url_says(serve: Serve) -> None:
    recorder = Recorder()
    transport = Smtp(f"smtp://ida:p%40ss%3Aw%25rd@{serve(recorder, **AUTHENTICATED)}")

    assert deliver(transport).state == "accepted"
    assert recorder.known == [True]
    transport.close()


def test_a_refused_log_in_is_an_error_without_the_password(serve: Serve) -> None:
    transport = Smtp(f"smtp://ida:S3cret@{serve(Recorder(), **AUTHENTICATED)}")

    with pytest.raises(AicmoError, match=r"AICMO_SMTP_URL: .* refuses the user or pass") as failure:
        deliver(transport)
    assert "S3cret" not in str(failure.value) + repr(transport.__dict__)
    assert failure.value.__suppress_context__


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of 127.0.0.1, signed by itself, in one file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    with path.open("a") as file:
        file.write(Path(f"{path}.crt").read_text())
    return path


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_server_that_leaves_with_the_next_unread_has_still_said_what_it_said(
    play: Play, certificate: Path, monkeypatch: pytest.MonkeyPatch, encrypted: bool
) -> None:
    """What is announced fits into no buffer, and the server resets the connection under it."""
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    url, _ = play([[*WHOLE, None]], tls(certificate) if encrypted else None)
    line = Line(open_session(read_smtp_url(url), IMPATIENT), IMPATIENT)
    first, second = two_parcels()
    line.begin(first)
    while not line.awaits_leave:
        assert select.select([line.socket], [], [], 5)[0]
        line.receive()
    line.allow(replace(second, recipient="j" * 10**7 + "@x.example"))
    assert not line.leaving
    reset = select.poll()
    reset.register(line.socket, 0)
    assert reset.poll(5000)
    line.send()

    assert line.conversation is not None
    assert line.conversation.delivery is not None
    assert (line.conversation.delivery.state, line.ended) == ("accepted", "closed by the server")
    line.close()


@pytest.mark.parametrize(
    ("scheme", "option", "server"),
    [("smtp", "?tls=starttls", "tls_context"), ("smtps", "", "ssl_context")],
)
def test_it_speaks_tls_and_checks_the_certificate(
    serve: Serve,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    option: str,
    server: str,
) -> None:
    recorder = Recorder()
    url = f"{scheme}://{serve(recorder, **{server: tls(certificate)})}{option}"

    with pytest.raises(AicmoError, match=r"cannot be reached over TLS .*CERTIFICATE_VERIFY_FAILED"):
        deliver(Smtp(url))
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    transport = Smtp(url)
    assert deliver(transport).state == "accepted"
    assert isinstance(transport._lines[0].socket, ssl.SSLSocket)
    transport.close()


def test_starttls_is_demanded_where_the_url_demands_it(serve: Serve) -> None:
    recorder = Recorder()

    with pytest.raises(AicmoError, match="STARTTLS"):
        deliver(Smtp(f"smtp://{serve(recorder)}?tls=starttls"))
    assert recorder.taken == []


@pytest.mark.parametrize("recipient", ["jö@x.example", "a@x>\r\nRCPT TO:<b@x", "a b@x", ""])
def test_an_address_that_would_be_another_command_is_refused(recipient: str) -> None:
    with pytest.raises(Undeliverable) as failure:
        deliver(Smtp("smtp://127.0.0.1:1"), recipient)
    assert not recipient or recipient not in str(failure.value)


@pytest.mark.parametrize("content", [b"a\n.\nMAIL FROM:<x>\r\n", b"a\rb\r\n", b"\n"])
def test_bare_line_ends_are_refused(content: bytes) -> None:
    """They are how one message is smuggled into another (VU#302671)."""
    with pytest.raises(Undeliverable, match="CRLF"):
        deliver(Smtp("smtp://127.0.0.1:1"), content=content)


def test_it_cannot_tell_what_was_delivered() -> None:
    assert Smtp("smtp://127.0.0.1:1").was_delivered(ID) is None


@pytest.mark.parametrize(
    ("url", "port", "security"),
    [
        ("smtp://mail.example", 587, "starttls"),
        ("smtp://mail.example?tls=starttls", 587, "starttls"),
        ("smtp://mail.example:2525/?tls=none", 2525, "none"),
        ("smtp://mail.example?tls=none", 25, "none"),
        ("smtp://127.0.0.1:1025", 1025, "none"),
        ("smtp://localhost:1025?tls=starttls", 1025, "starttls"),
        ("smtps://user:p%40ss@mail.example", 465, "tls"),
    ],
)
def test_a_url_names_port_and_security(url: str, port: int, security: str) -> None:
    server = read_smtp_url(url)

    assert (server.port, server.security) == (port, security)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:S3cret@mail.example",
        "user:S3cret@mail.example",
        "smtp://user:S3cret@",
        "smtp://user:S3c#ret@mail.example",
        "smtp://user:S3cret/x@mail.example",
        "smtp://user:S3cret@mail.example:port",
        "smtp://user:S3cret@mail.example:99999",
        "smtp://user:S3cret@mail.example?tsl=none",
        "smtp://user:S3cret@mail.example?tls=maybe",
        "smtp://user:S3cret@mail.example?tls=none&x=1",
        "smtps://user:S3cret@mail.example?tls=none",
        "smtp://:S3cret@mail.example",
        "smtp://S3cret@mail.example",
        "smtp://user:S3crét@mail.example",
        "smtp://user:S3cret@[mail.example",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_the_password(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(BadInput, match=r"AICMO_SMTP_URL: found .*; expected smtp://") as failure:
        open_transport(url, tmp_path)
    assert "S3c" not in str(failure.value)


def test_without_a_url_mail_goes_to_the_outbox(tmp_path: Path) -> None:
    assert isinstance(open_transport(None, tmp_path), Outbox)
    assert isinstance(open_transport("smtp://mail.example", tmp_path), Smtp)
