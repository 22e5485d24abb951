"""The one reader of the environment.

Everything else is handed a `Settings`; nothing here opens a database or a network connection.
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
import socket
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from aicmo_dagster.errors import AicmoError, BadInput, Problem

CODE_LOCATION = "aicmo_dagster"
"""The name of the Dagster code location, as in workspace.yaml and pyproject.toml."""

SECRETS = (
    "AICMO_DATABASE_URL",
    "AICMO_SMTP_URL",
    "AICMO_INBOUND_URL",
    "AICMO_SECRET_KEY",
    "AICMO_WEBHOOK_SECRET",
    "AICMO_ALERT_URL",
    "AICMO_APOLLO_API_KEY",
    "AICMO_DROPCONTACT_API_KEY",
    "AICMO_HUBSPOT_API_KEY",
)
"""Variables that may hold a secret; with ``_FILE`` after it, each may name a file that does."""


CAMPAIGN_PARTITIONS = "campaigns"
"""The name of Dagster's partitions, of which there is one a campaign."""


@dataclass(frozen=True)
class Provider:
    """Where a provider is reached, its key, requests at once, and the seconds of an answer."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    at_once: int = 2
    timeout: float = 60


@dataclass(frozen=True)
class DatabaseLimits:
    """What one process may ask of its database.

    Args:
        connections: To PostgreSQL, at most so many at once; a run seldom needs more than two.
        statement_seconds: How long a statement may take there, and a transaction may idle; 0: for
            ever.
        cache_kib: What a connection to SQLite keeps of the file: enough that bulk loads do not
            spill. A read of many rows fills it.
    """

    connections: int = 15
    statement_seconds: int = 900
    cache_kib: int = 65_536


USUAL_LIMITS = DatabaseLimits()


@dataclass(frozen=True)
class Dkim:
    """How mail is signed: the domain, the selector that names the key in its DNS, and the key."""

    domain: str
    selector: str
    key_file: Path


@dataclass(frozen=True)
class Settings:
    """What the environment says, with the defaults filled in.

    Args:
        home: The folder of everything local: database, outbox, Dagster's state.
        database_url: An SQLAlchemy URL; a plain ``postgresql://`` is accepted.
        dagster_home: Dagster's own folder; ``home / "dagster"`` unless DAGSTER_HOME is set.
        smtp_url: Where mail goes; none means the outbox folder.
        public_url: The base of tracking and unsubscribe links, without a slash at the end.
        configured_secret_key: AICMO_SECRET_KEY, if it is set.
        apollo: Apollo; a campaign may use it if there is a key.
        dropcontact: Dropcontact, likewise.
        dkim: How mail is signed; none means that it is not, or that the mail server does it.
        inbound_url: Where replies and bounces arrive: an IMAP folder or a Maildir.
        trusted_proxies: Addresses and networks, separated by commas, of the proxies whose word is
            taken for a client's address.
        hubspot: HubSpot; a campaign may hand over to it if there is a key.
        configured_webhook_secret: AICMO_WEBHOOK_SECRET, if it is set.
        allow_private_urls: Whether leads may be handed over to addresses inside.
        dagster_url: Where Dagster's web server is reached, without a slash at the end.
        api_rate: How many requests each token may make, such as ``600/minute``.
        api_origins: Origins, separated by blanks, whose pages may call the API; none by default.
        alert_url: Where incidents are told, if anywhere.
        database_limits: What one process may ask of the database's server.
    """

    home: Path
    database_url: str = field(repr=False)
    dagster_home: Path
    smtp_url: str | None = field(default=None, repr=False)
    public_url: str = "http://127.0.0.1:8000"
    configured_secret_key: str | None = field(default=None, repr=False)
    apollo: Provider = Provider("https://api.apollo.io/api/v1")
    dropcontact: Provider = Provider("https://api.dropcontact.com/v1")
    dkim: Dkim | None = None
    inbound_url: str | None = field(default=None, repr=False)
    trusted_proxies: str = ""
    hubspot: Provider = Provider("https://api.hubapi.com")
    configured_webhook_secret: str | None = field(default=None, repr=False)
    allow_private_urls: bool = False
    dagster_url: str = "http://127.0.0.1:3000"
    api_rate: str = "600/minute"
    api_origins: str = ""
    alert_url: str | None = field(default=None, repr=False)
    database_limits: DatabaseLimits = USUAL_LIMITS

    def process_environment(self) -> dict[str, str]:
        """The variables that make a child process, wherever it starts, see these settings.

        One that is not set is empty here, so that it also hides what the environment says; so are
        those that name a secret's file, which has been read.
        """
        variables = {
            "AICMO_HOME": str(self.home),
            "AICMO_DATABASE_URL": self.database_url,
            "DAGSTER_HOME": str(self.dagster_home),
            "AICMO_SMTP_URL": self.smtp_url,
            "AICMO_PUBLIC_URL": self.public_url,
            "AICMO_SECRET_KEY": self.configured_secret_key,
            "AICMO_APOLLO_API_KEY": self.apollo.api_key,
            "AICMO_APOLLO_URL": self.apollo.url,
            "AICMO_APOLLO_AT_ONCE": str(self.apollo.at_once),
            "AICMO_DROPCONTACT_API_KEY": self.dropcontact.api_key,
            "AICMO_DROPCONTACT_URL": self.dropcontact.url,
            "AICMO_DROPCONTACT_AT_ONCE": str(self.dropcontact.at_once),
            "AICMO_DKIM_DOMAIN": self.dkim and self.dkim.domain,
            "AICMO_DKIM_SELECTOR": self.dkim and self.dkim.selector,
            "AICMO_DKIM_KEY_FILE": self.dkim and str(self.dkim.key_file),
            "AICMO_INBOUND_URL": self.inbound_url,
            "AICMO_TRUSTED_PROXIES": self.trusted_proxies,
            "AICMO_HUBSPOT_API_KEY": self.hubspot.api_key,
            "AICMO_HUBSPOT_URL": self.hubspot.url,
            "AICMO_WEBHOOK_SECRET": self.configured_webhook_secret,
            "AICMO_ALLOW_PRIVATE_URLS": "1" if self.allow_private_urls else None,
            "AICMO_DAGSTER_URL": self.dagster_url,
            "AICMO_API_RATE": self.api_rate,
            "AICMO_API_ORIGINS": self.api_origins,
            "AICMO_ALERT_URL": self.alert_url,
            "AICMO_DATABASE_CONNECTIONS": str(self.database_limits.connections),
            "AICMO_DATABASE_TIMEOUT": str(self.database_limits.statement_seconds),
        }
        files_read = {f"{name}_FILE": "" for name in SECRETS}
        return {name: value or "" for name, value in variables.items()} | files_read

    @property
    def outbox(self) -> Path:
        """The folder that mail goes to when no SMTP server is set."""
        return self.home / "outbox"

    @property
    def spool(self) -> Path:
        """The folder of events that are not in the database yet."""
        return self.home / "spool"

    @property
    def departures(self) -> Path:
        """The folder of which paid calls have left, while their outcome is not known."""
        return self.home / "departures"

    @property
    def copies(self) -> Path:
        """The folder of copies of remote files and imports, while they are read."""
        return self.home / "copies"

    def secret_key(self) -> bytes:
        """The key that signs links and names messages; made once in `home` unless one is set.

        Raises:
            AicmoError: If the file that keeps it is empty; links signed with it could be forged.
        """
        if self.configured_secret_key:
            return self.configured_secret_key.encode()
        path = self.home / "secret_key"
        if not path.exists():
            _write_new(path, secrets.token_hex(32))
        key = path.read_bytes().strip()
        if not key:
            raise AicmoError(
                f"{path} is empty; restore it from a backup, or remove it for a new key"
            )
        return key

    def webhook_secret(self) -> str:
        """What webhooks are signed with, in the form that Standard Webhooks prescribes.

        Raises:
            BadInput: If AICMO_WEBHOOK_SECRET is none.
        """
        if self.configured_webhook_secret is None:
            derived = hmac.new(self.secret_key(), b"webhook secret", hashlib.sha256).digest()
            return f"whsec_{base64.b64encode(derived).decode()}"
        try:
            key = base64.b64decode(self.configured_webhook_secret.removeprefix("whsec_"))
        except ValueError:
            key = b""
        if not 24 <= len(key) <= 64:
            expected = "whsec_ and 24 to 64 octets in base64"
            raise BadInput(Problem("AICMO_WEBHOOK_SECRET", "", "something else", expected))
        return self.configured_webhook_secret


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environment`, else from the process's own and `.env`; makes `home`."""
    if environment is None:
        environment = {**_from_file(), **os.environ}
    environment = {**environment, **_secrets_from_files(environment)}
    home = Path(environment.get("AICMO_HOME") or ".aicmo").absolute()
    _make_folder(home)
    return Settings(
        home=home,
        database_url=environment.get("AICMO_DATABASE_URL") or f"sqlite:///{home / 'aicmo.db'}",
        dagster_home=Path(environment.get("DAGSTER_HOME") or home / "dagster").absolute(),
        smtp_url=environment.get("AICMO_SMTP_URL") or None,
        public_url=(environment.get("AICMO_PUBLIC_URL") or Settings.public_url).rstrip("/"),
        configured_secret_key=environment.get("AICMO_SECRET_KEY") or None,
        apollo=_provider(environment, "APOLLO", Settings.apollo),
        dropcontact=_provider(environment, "DROPCONTACT", Settings.dropcontact),
        dkim=_dkim(environment),
        inbound_url=environment.get("AICMO_INBOUND_URL") or None,
        trusted_proxies=environment.get("AICMO_TRUSTED_PROXIES") or "",
        hubspot=_provider(environment, "HUBSPOT", Settings.hubspot),
        configured_webhook_secret=environment.get("AICMO_WEBHOOK_SECRET") or None,
        allow_private_urls=environment.get("AICMO_ALLOW_PRIVATE_URLS") == "1",
        dagster_url=(environment.get("AICMO_DAGSTER_URL") or Settings.dagster_url).rstrip("/"),
        api_rate=environment.get("AICMO_API_RATE") or Settings.api_rate,
        api_origins=environment.get("AICMO_API_ORIGINS") or "",
        alert_url=environment.get("AICMO_ALERT_URL") or None,
        database_limits=DatabaseLimits(
            _number(environment, "AICMO_DATABASE_CONNECTIONS", 1, DatabaseLimits.connections),
            _number(environment, "AICMO_DATABASE_TIMEOUT", 0, DatabaseLimits.statement_seconds),
        ),
    )


def has_mailbox(environment: Mapping[str, str] | None = None) -> bool:
    """Whether `load_settings` would find where replies arrive; says nothing of what is wrong."""
    if environment is None:
        try:
            environment = {**_from_file(), **os.environ}
        except BadInput:
            return False
    return any(environment.get(f"AICMO_INBOUND_URL{suffix}") for suffix in ("", "_FILE"))


def _secrets_from_files(environment: Mapping[str, str]) -> dict[str, str]:
    """The secrets whose files are named, as Docker and Kubernetes mount them.

    Raises:
        BadInput: If a secret is given twice, or its file cannot be read or is empty.
    """
    found = {}
    for name in SECRETS:
        path = environment.get(f"{name}_FILE")
        if not path:
            continue
        if environment.get(name):
            told = f"{name} as well"
            raise BadInput(Problem(f"{name}_FILE", "", told, "one of the two"))
        try:
            found[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            found[name] = ""
        if not found[name]:
            told = f"{path}, which is empty or cannot be read"
            raise BadInput(Problem(f"{name}_FILE", "", told, "a file that holds the secret"))
    return found


def _number(environment: Mapping[str, str], name: str, least: int, default: int) -> int:
    text = environment.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < least:
        raise BadInput(Problem(name, "", repr(text), f"a whole number, {least} or more"))
    return int(text)


def _provider(environment: Mapping[str, str], name: str, default: Provider) -> Provider:
    url = environment.get(f"AICMO_{name}_URL") or default.url
    key = environment.get(f"AICMO_{name}_API_KEY") or None
    at_once = environment.get(f"AICMO_{name}_AT_ONCE") or str(default.at_once)
    if not re.fullmatch(r"[1-9]|[12][0-9]|3[0-2]", at_once):
        expected = "a number of requests at once, from 1 to 32"
        raise BadInput(Problem(f"AICMO_{name}_AT_ONCE", "", repr(at_once), expected))
    return Provider(url.rstrip("/"), key, int(at_once))


def _dkim(environment: Mapping[str, str]) -> Dkim | None:
    """All three variables, or none of them."""
    names = [f"AICMO_DKIM_{part}" for part in ("DOMAIN", "SELECTOR", "KEY_FILE")]
    domain, selector, key_file = (environment.get(name) or None for name in names)
    if domain and selector and key_file:
        return Dkim(domain, selector, Path(key_file).absolute())
    missing = [n for n in names if not environment.get(n)]
    if len(missing) < len(names):
        given = ", ".join(name for name in names if name not in missing)
        expected = "all of AICMO_DKIM_DOMAIN, AICMO_DKIM_SELECTOR and AICMO_DKIM_KEY_FILE, or none"
        raise BadInput(Problem(missing[0], "", f"nothing beside {given}", expected))
    return None


def host_name() -> str:
    """This machine's name, as workers and message ids carry it."""
    return socket.gethostname() or "localhost"


def _from_file() -> dict[str, str]:
    """What `.env` in the working folder sets; nothing where there is none."""
    try:
        return {name: value for name, value in dotenv_values(".env").items() if value}
    except UnicodeDecodeError as error:
        raise BadInput(Problem(".env", "", "bytes that are not UTF-8", "a UTF-8 text")) from error


def _make_folder(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise AicmoError(
            f"AICMO_HOME: {home} cannot be written ({error.strerror}); "
            "make it writable or set AICMO_HOME to a folder that is"
        ) from error


def _write_new(path: Path, text: str) -> None:
    """Write `text` to a file that only this user can read; whoever comes first wins."""
    # Each has a draft of its own, with mode 0600; a link to it appears whole or not at all.
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f"{path.name}.") as draft:
        draft.write(text)
        draft.flush()
        os.fsync(draft.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft.name)
