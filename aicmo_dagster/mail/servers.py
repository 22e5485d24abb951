"""An SMTP server as AICMO_SMTP_URL names it, and how a session with it is opened.

Opening is the standard library's part: greeting, TLS, log-in. Not here: handing messages over
(`conversations`, `smtp`).
"""

import smtplib
import socket
import ssl
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from aicmo_dagster.errors import AicmoError, BadInput, Problem, Transient

_VARIABLE = "AICMO_SMTP_URL"
_EXPECTED = (
    "smtp://user:password@host:587?tls=starttls, ?tls=none or smtps://user:password@host, with "
    "connections=1 to 64 and messages=1 to 100000 if wanted; percent-encode @ : / ? # % in user "
    "and password"
)
_MOST = {"connections": 64, "messages": 100_000}


@dataclass(frozen=True)
class Timeouts:
    """Seconds that each phase may take; RFC 5321, section 4.5.3.2."""

    connect: float = 30
    command: float = 300
    data: float = 120
    block: float = 180
    dot: float = 600


STANDARD = Timeouts()


@dataclass(frozen=True)
class Server:
    """An SMTP server and how to get in.

    Args:
        host: Its name or address.
        port: Its port.
        security: tls, starttls or none.
        user: Whom to log in as; empty where nobody need.
        password: The user's.
        connections: How many to keep open at once.
        messages: How many to hand over on one connection.
    """

    host: str
    port: int
    security: str
    user: str = ""
    password: str = field(default="", repr=False)
    connections: int = 4
    messages: int = 100

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
    options = _options(parts.query)
    security = _security(parts.scheme, parts.hostname, options.pop("tls", None))
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        _refuse("a user without a password, or the other way round")
    if not (user + password).isascii():
        _refuse("a user or password beyond ASCII, which SMTP cannot carry")
    default = {"tls": 465, "starttls": 587, "none": 25}[security]
    limits = {name: _limit(name, value) for name, value in options.items()}
    return Server(parts.hostname, port or default, security, user, password, **limits)


def _options(query: str) -> dict[str, str]:
    options = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in options]
    if len(set(names)) < len(names) or not {"tls", *_MOST}.issuperset(names):
        _refuse("an option other than tls, connections and messages, or one of them twice")
    return dict(options)


def _security(scheme: str, host: str, wanted: str | None) -> str:
    """tls, starttls or none."""
    if scheme == "smtps":
        return _refuse("tls= with smtps://, which is encrypted anyway") if wanted else "tls"
    local = host in ("localhost", "127.0.0.1", "::1")
    security = wanted if wanted is not None else "none" if local else "starttls"
    return security if security in ("starttls", "none") else _refuse("a tls other than these")


def _limit(name: str, value: str) -> int:
    known = value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= _MOST[name]
    return int(value) if known else _refuse(f"{name}= without a whole number in its range")


def _refuse(found: str) -> NoReturn:
    raise BadInput(Problem(_VARIABLE, "", found, _EXPECTED)) from None


def open_session(server: Server, limits: Timeouts) -> smtplib.SMTP:
    """A session that the server has let us into.

    Raises:
        Transient: If it cannot be reached or takes no mail now.
        AicmoError: If it is not who it should be, or lets nobody in.
    """
    passing = False
    try:
        return _connected(server, limits)
    except smtplib.SMTPAuthenticationError as error:
        problem = f"refuses the user or password ({error.smtp_code})"
    except smtplib.SMTPNotSupportedError:
        problem = "offers no log-in, or no STARTTLS; see tls= and user:password@"
    except smtplib.SMTPResponseException as error:
        problem = f"does not take mail from us now ({error.smtp_code})"
        passing = True
    except ssl.SSLError as error:
        problem = f"cannot be reached over TLS ({error.reason or kind_of(error)})"
    except (OSError, smtplib.SMTPException) as error:
        problem = f"cannot be used ({kind_of(error)})"
        passing = True
    text = f"{_VARIABLE}: {server} {problem}"
    raise (Transient(text) if passing else AicmoError(text)) from None


def _connected(server: Server, limits: Timeouts) -> smtplib.SMTP:
    session = smtplib.SMTP(timeout=limits.connect)
    if server.security == "tls":
        session = smtplib.SMTP_SSL(timeout=limits.connect, context=ssl.create_default_context())
    # smtplib checks a certificate against the host it was constructed with.
    session._host = server.host  # type: ignore[attr-defined]
    try:
        code, words = session.connect(server.host, server.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, words)
        _introduce(session, server, limits)
    except BaseException:
        session.close()
        raise
    return session


def _introduce(session: smtplib.SMTP, server: Server, limits: Timeouts) -> None:
    """Greeted, encrypted as demanded, and logged in."""
    assert session.sock is not None
    # Small writes go out at once: a delayed acknowledgement costs 40 ms a message.
    session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    session.sock.settimeout(limits.command)
    session.ehlo_or_helo_if_needed()
    if server.security == "starttls":
        code, words = session.starttls(context=ssl.create_default_context())
        if code != 220:
            raise smtplib.SMTPResponseException(code, words)
        session.ehlo_or_helo_if_needed()
    if server.user:
        session.login(server.user, server.password)


def kind_of(error: Exception) -> str:
    """The kind of `error`, without its text, which may quote what was being sent."""
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return "timed out"
    closed = isinstance(error, smtplib.SMTPServerDisconnected | ConnectionError)
    return "closed by the server" if closed else type(error).__name__
