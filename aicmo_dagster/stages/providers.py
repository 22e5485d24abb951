"""The providers that the settings have a key for, and asking them within their rate limits.

Not here: what is asked (`search`, `enrich`), or what the providers' words mean (`sources`).
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from aicmo_dagster.domain.tokens import person_key
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.settings import Provider, Settings
from aicmo_dagster.sources import apollo, dropcontact
from aicmo_dagster.sources.apollo import Apollo
from aicmo_dagster.sources.dropcontact import Dropcontact
from aicmo_dagster.sources.http import Http, RateLimited
from aicmo_dagster.sources.people import Limits
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import rate_windows

PATIENCE = timedelta(seconds=70)
"""The longest that a rate limit is waited for; a longer one parks the harvest."""

LENGTHS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}

Given = TypeVar("Given")


@dataclass(frozen=True)
class Time:
    """The clock, and waiting: what a harvest does while a provider makes it wait."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random


REAL_TIME = Time()


@dataclass(frozen=True)
class Providers:
    """The clients of the providers that there is a key for."""

    apollo: Apollo | None
    dropcontact: Dropcontact | None
    workspace: Workspace
    time: Time

    def within_limits(self, endpoint: str, key: str, ask: Callable[[], Given]) -> Given:
        """What `ask` gives, once the windows of `endpoint` have room for it.

        Raises:
            RateLimited: If that takes longer than PATIENCE; says for how long.
        """
        hashed = person_key(self.workspace.settings.secret_key(), endpoint, key)
        while True:
            with self.workspace.database.write() as connection:
                until = rate_windows.take(connection, endpoint, hashed, now=self.time.now())
            if until is None:
                break
            wait = until - self.time.now()
            if wait > PATIENCE:
                text = f"{endpoint}: its limit is used up until {until:%Y-%m-%d %H:%M} UTC"
                raise RateLimited(text, wait.total_seconds(), None)
            self.time.sleep(max(wait.total_seconds(), 0.01))
        try:
            given = ask()
        except RateLimited as error:
            self._park(endpoint, hashed, error)
            raise
        self._learn(endpoint, hashed, getattr(given, "limits", None))
        return given

    def _park(self, endpoint: str, hashed: str, error: RateLimited) -> None:
        length = LENGTHS.get(error.window or "minute", LENGTHS["minute"])
        seconds = error.until if error.until is not None else length.total_seconds()
        until = self.time.now() + timedelta(seconds=seconds)
        with self.workspace.database.write() as connection:
            rate_windows.park(connection, endpoint, hashed, error.window or "minute", until)

    def _learn(self, endpoint: str, hashed: str, limits: Limits | None) -> None:
        told = {name: getattr(limits, name) for name in LENGTHS} if limits else {}
        windows = {
            name: rate_windows.Window(limit=w.limit, length=LENGTHS[name], left=w.left)
            for name, w in told.items()
            if w is not None
        }
        if windows:
            with self.workspace.database.write() as connection:
                rate_windows.learn(connection, endpoint, hashed, windows, self.time.now())


@contextmanager
def open_providers(workspace: Workspace, clock: Time = REAL_TIME) -> Iterator[Providers]:
    """The providers of the workspace's settings, their connections closed at the end."""
    settings = workspace.settings
    https = {
        "apollo": _http(settings.apollo, apollo.key_headers, clock),
        "dropcontact": _http(settings.dropcontact, dropcontact.key_headers, clock),
    }
    try:
        yield Providers(
            Apollo(https["apollo"]) if https["apollo"] else None,
            Dropcontact(https["dropcontact"]) if https["dropcontact"] else None,
            workspace,
            clock,
        )
    finally:
        for http in filter(None, https.values()):
            http.close()


def key_of(settings: Settings, name: str) -> str:
    """The provider's key.

    Raises:
        AicmoError: If there is none; says what to set.
    """
    provider: Provider = getattr(settings, name)
    if provider.api_key is None:
        raise AicmoError(f"there is no key for {name}: set AICMO_{name.upper()}_API_KEY")
    return provider.api_key


def _http(provider: Provider, headers: Callable[[str], dict[str, str]], clock: Time) -> Http | None:
    if provider.api_key is None:
        return None
    return Http(
        provider.url,
        headers(provider.api_key),
        sleep=clock.sleep,
        jitter=clock.jitter,
        clock=clock.monotonic,
    )
