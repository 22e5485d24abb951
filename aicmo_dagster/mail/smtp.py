"""Handing messages to an SMTP server, phase by phase, so that no failure is taken for another.

Before the final dot nothing has been accepted, and trying again is safe; after it, silence means
that nobody knows. Not here: what a reply means (`replies`), or what follows (`store.ledger`).
"""

import re
import smtplib
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from aicmo_dagster.errors import AicmoError, BadInput, Problem
from aicmo_dagster.mail.messages import Undeliverable, ascii_address
from aicmo_dagster.mail.replies import Delivery, State, judged, without_recipient

_VARIABLE = "AICMO_SMTP_URL"
_EXPECTED = (
    "smtp://user:password@host:587?tls=starttls, ?tls=none or smtps://user:password@host; "
    "percent-encode @ : / ? # % in user and password"
)
_LINE_START = re.compile(rb"^\.", re.MULTILINE)
_PATH = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")
_LONE_BREAK = re.compile(rb"(?<!\r)\n|\r(?!\n)")


@dataclass(frozen=True)
class Timeouts:
    """Seconds that each phase may take; RFC 5321, section 4.5.3.2."""

    connect: float = 30
    command: float = 300
    data: float = 120
    block: float = 180
    dot: float = 600


@dataclass(frozen=True)
class Server:
    """An SMTP server and how to get in."""

    host: str
    port: int
    security: str
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def read_smtp_url(url: str) -> Server:
    """The server that `url` names. Without `tls`, STARTTLS is demanded, except of this machine.

    Raises:
        BadInput: Saying what is wrong without quoting any of it, since it may hold the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        _refuse("an address or port that cannot be read")
    if parts.scheme not in ("smtp", "smtps"):
        _refuse("no smtp:// or smtps:// at its beginning")
    if not parts.hostname or parts.path not in ("", "/") or parts.fragment:
        _refuse("no plain host after smtp:// or smtps://")
    security = _security(parts.scheme, parts.hostname, parts.query)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        _refuse("a user without a password, or the other way round")
    if not (user + password).isascii():
        _refuse("a user or password beyond ASCII, which SMTP cannot carry")
    default = {"tls": 465, "starttls": 587, "none": 25}[security]
    return Server(parts.hostname, port or default, security, user, password)


def _security(scheme: str, host: str, query: str) -> str:
    """tls, starttls or none."""
    options = parse_qsl(query, keep_blank_values=True)
    if [name for name, _ in options] not in ([], ["tls"]):
        _refuse("an option other than tls")
    if scheme == "smtps":
        return _refuse("tls= with smtps://, which is encrypted anyway") if options else "tls"
    local = host in ("localhost", "127.0.0.1", "::1")
    security = dict(options).get("tls", "none" if local else "starttls")
    return security if security in ("starttls", "none") else _refuse("a tls other than these")


def _refuse(found: str) -> NoReturn:
    raise BadInput(Problem(_VARIABLE, "", found, _EXPECTED)) from None


class Smtp:
    """One connection to an SMTP server, kept from message to message; for one thread.

    Args:
        url: As in AICMO_SMTP_URL.
        timeouts: How long each phase may take.
    """

    def __init__(self, url: str, timeouts: Timeouts = Timeouts()) -> None:
        self._server = read_smtp_url(url)
        self.name = f"smtp {self._server.host}"
        self._timeouts = timeouts
        self._session: smtplib.SMTP | None = None

    def deliver(self, sender: str, recipient: str, message_id: str, content: bytes) -> Delivery:
        """What the server said to `content`, sent from `sender` to `recipient` alone.

        A connection that the server closed between two messages is opened again once.

        Raises:
            AicmoError: If the server cannot be reached or does not let us in.
            Undeliverable: If an address or the content would break the protocol.
        """
        sender = ascii_address(sender)
        _check(recipient, content)
        reused = self._session is not None
        delivery = self._attempt(sender, recipient, content)
        if reused and delivery.state == "planned" and self._session is None:
            delivery = self._attempt(sender, recipient, content)
        return delivery

    def was_delivered(self, message_id: str) -> None:
        """Nothing: SMTP has no way to ask."""
        return

    def close(self) -> None:
        """The connection is ended politely, if there is one."""
        session, self._session = self._session, None
        if session is not None:
            _set_timeout(session, min(self._timeouts.command, 5))
            with suppress(OSError, smtplib.SMTPException):
                session.quit()
            session.close()

    def _attempt(self, sender: str, recipient: str, content: bytes) -> Delivery:
        session = self._session = self._session or self._open()
        try:
            refused = self._announce(session, sender, recipient, content)
        except (OSError, smtplib.SMTPException) as error:
            self._drop()
            return Delivery("planned", f"the connection failed before the end: {_kind(error)}")
        if refused is None:
            return self._finish(session, recipient)
        self._after(session, refused)
        return refused

    def _announce(
        self, session: smtplib.SMTP, sender: str, recipient: str, content: bytes
    ) -> Delivery | None:
        """All of the message but its final dot is with the server, or the server's refusal."""
        limits = self._timeouts
        _set_timeout(session, limits.command)
        size = f" SIZE={len(content)}" if session.has_extn("size") else ""
        # Not session.mail() and rcpt(): they read an address anew, and may understand another.
        code, words = session.docmd("MAIL", f"FROM:<{sender}>{size}")
        if code != 250:
            return _refusal(code, words, recipient, "deferred")
        code, words = session.docmd("RCPT", f"TO:<{recipient}>")
        if code not in (250, 251):
            return _refusal(code, words, recipient)
        _set_timeout(session, limits.data)
        code, words = session.docmd("DATA")
        if code != 354:
            return _refusal(code, words, recipient)
        _set_timeout(session, limits.block)
        ended = content if content.endswith(b"\r\n") else content + b"\r\n"
        session.send(_LINE_START.sub(b"..", ended))
        return None

    def _finish(self, session: smtplib.SMTP, recipient: str) -> Delivery:
        """What the server says to the final dot; if it says nothing, nobody knows."""
        _set_timeout(session, self._timeouts.dot)
        try:
            session.send(b".\r\n")
            code, words = session.getreply()
        except (OSError, smtplib.SMTPException) as error:
            self._drop()
            return Delivery("unknown", f"no answer to the message: {_kind(error)}")
        delivery = _outcome(code, words, recipient, judged(code, _text(words)))
        if delivery.state == "unknown" or code == 421:
            self._drop()
        return delivery

    def _after(self, session: smtplib.SMTP, refused: Delivery) -> None:
        """The session is ready for another transaction, or gone."""
        if refused.state == "planned":
            self._drop()
            return
        _set_timeout(session, self._timeouts.command)
        try:
            code, _ = session.rset()
        except (OSError, smtplib.SMTPException):
            code = 0
        if code != 250:
            self._drop()

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _open(self) -> smtplib.SMTP:
        """A session that the server has let us into."""
        try:
            return self._connected()
        except smtplib.SMTPAuthenticationError as error:
            problem = f"refuses the user or password ({error.smtp_code})"
        except smtplib.SMTPNotSupportedError:
            problem = "offers no log-in, or no STARTTLS; see tls= and user:password@"
        except smtplib.SMTPResponseException as error:
            problem = f"does not take mail from us now ({error.smtp_code})"
        except ssl.SSLError as error:
            problem = f"cannot be reached over TLS ({error.reason or _kind(error)})"
        except (OSError, smtplib.SMTPException) as error:
            problem = f"cannot be used ({_kind(error)})"
        raise AicmoError(f"{_VARIABLE}: {self._server} {problem}") from None

    def _connected(self) -> smtplib.SMTP:
        server, limits = self._server, self._timeouts
        session = smtplib.SMTP(timeout=limits.connect)
        if server.security == "tls":
            session = smtplib.SMTP_SSL(timeout=limits.connect, context=ssl.create_default_context())
        # smtplib checks a certificate against the host it was constructed with.
        session._host = server.host  # type: ignore[attr-defined]
        try:
            code, words = session.connect(server.host, server.port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, words)
            self._introduce(session)
        except BaseException:
            session.close()
            raise
        return session

    def _introduce(self, session: smtplib.SMTP) -> None:
        """Greeted, encrypted as demanded, and logged in."""
        server = self._server
        assert session.sock is not None
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _set_timeout(session, self._timeouts.command)
        session.ehlo_or_helo_if_needed()
        if server.security == "starttls":
            code, words = session.starttls(context=ssl.create_default_context())
            if code != 220:
                raise smtplib.SMTPResponseException(code, words)
            session.ehlo_or_helo_if_needed()
        if server.user:
            session.login(server.user, server.password)


def _check(recipient: str, content: bytes) -> None:
    """Neither address nor content can be read as another command."""
    if not _PATH.fullmatch(recipient):
        raise Undeliverable("the address cannot be given in SMTP")
    if _LONE_BREAK.search(content):
        raise Undeliverable("the message has line ends other than CRLF")


def _refusal(code: int, words: bytes, recipient: str, state: State | None = None) -> Delivery:
    """The outcome of a reply before the final dot.

    A server that goes away (421), or whose answer makes no sense, has refused nothing: that is
    the connection's fault.
    """
    if code == 421 or not 400 <= code < 600:
        return _outcome(code, words, recipient, "planned")
    return _outcome(code, words, recipient, state or judged(code, _text(words)))


def _outcome(code: int, words: bytes, recipient: str, state: State) -> Delivery:
    return Delivery(state, without_recipient(code, _text(words), recipient))


def _text(words: bytes) -> str:
    return words.decode("utf-8", "replace")


def _kind(error: Exception) -> str:
    """The kind of `error`, without its text, which may quote what was being sent."""
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return "timed out"
    closed = isinstance(error, smtplib.SMTPServerDisconnected)
    return "closed by the server" if closed else type(error).__name__


def _set_timeout(session: smtplib.SMTP, seconds: float) -> None:
    if session.sock is not None:
        session.sock.settimeout(seconds)
