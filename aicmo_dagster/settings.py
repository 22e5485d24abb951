"""The one reader of the environment.

Everything else is handed a `Settings`; nothing here opens a database or a network connection.
"""

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from aicmo_dagster.errors import AicmoError

CODE_LOCATION = "aicmo_dagster"
"""The name of the Dagster code location, as in workspace.yaml and pyproject.toml."""


@dataclass(frozen=True)
class Settings:
    """What the environment says, with the defaults filled in.

    Args:
        home: The folder of everything local: database, outbox, Dagster's state.
        database_url: An SQLAlchemy URL; a plain ``postgresql://`` is accepted.
        dagster_home: Dagster's own folder; ``home / "dagster"`` unless DAGSTER_HOME is set.
        smtp_url: Where mail goes; none means the outbox folder.
        public_url: The base of tracking and unsubscribe links, without a slash at the end.
    """

    home: Path
    database_url: str
    dagster_home: Path
    smtp_url: str | None = None
    public_url: str = "http://127.0.0.1:8000"
    configured_secret_key: str | None = None

    @property
    def outbox(self) -> Path:
        """The folder that mail goes to when no SMTP server is set."""
        return self.home / "outbox"

    def secret_key(self) -> bytes:
        """The key that signs links and message ids: AICMO_SECRET_KEY, else one made once in `home`."""
        if self.configured_secret_key:
            return self.configured_secret_key.encode()
        path = self.home / "secret_key"
        if not path.exists():
            _write_new(path, secrets.token_hex(32))
        return path.read_text(encoding="ascii").strip().encode()


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environment`, or from the process's own with `.env` beneath it; makes `home`."""
    if environment is None:
        from_file = {key: value for key, value in dotenv_values(".env").items() if value}
        environment = {**from_file, **os.environ}
    home = Path(environment.get("AICMO_HOME") or ".aicmo").absolute()
    _make_folder(home)
    return Settings(
        home=home,
        database_url=environment.get("AICMO_DATABASE_URL") or f"sqlite:///{home / 'aicmo.db'}",
        dagster_home=Path(environment.get("DAGSTER_HOME") or home / "dagster").absolute(),
        smtp_url=environment.get("AICMO_SMTP_URL") or None,
        public_url=(environment.get("AICMO_PUBLIC_URL") or Settings.public_url).rstrip("/"),
        configured_secret_key=environment.get("AICMO_SECRET_KEY") or None,
    )


def host_name() -> str:
    """This machine's name, as workers and message ids carry it."""
    return socket.gethostname() or "localhost"


def _make_folder(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = home / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise AicmoError(
            f"AICMO_HOME: {home} cannot be written ({error.strerror}); "
            "make it writable or set AICMO_HOME to a folder that is"
        ) from error


def _write_new(path: Path, text: str) -> None:
    """Write `text` to a file that only this user can read; whoever comes first wins."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
