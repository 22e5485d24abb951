"""The providers that the settings have a key for, and asking them within their rate limits.

Not here: what is asked (`search`, `paid_calls`), or what the providers' words mean (`sources`).
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import sqlalchemy as sa

from aicmo_dagster.domain.tokens import person_key
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.settings import Provider, Settings
from aicmo_dagster.sources import apollo, dropcontact
from aicmo_dagster.sources.apollo import Apollo
from aicmo_dagster.sources.dropcontact import Dropcontact
from aicmo_dagster.sources.http import Http, RateLimited
from aicmo_dagster.sources.passages import NotSent, Passage
from aicmo_dagster.sources.people import Limits
from aicmo_dagster.stages.harvesting.in_flight import InFlight, Later
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import rate_windows
from aicmo_dagster.store.rate_windows import Window

PATIENCE = timedelta(seconds=70)
"""The longest that a rate limit is waited for; a longer one parks the harvest."""

LENGTHS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}

Item = TypeVar("Item")
Given = TypeVar("Given")


def _published(*limits: int) -> dict[str, Window]:
    sized = zip(LENGTHS.items(), limits, strict=True)
    return {name: Window(limit=limit, length=length) for (name, length), limit in sized}


_ASSUMED: Mapping[str, Mapping[str, Window]] = {
    "apollo/search": _published(50, 200, 600),
    "apollo/match": _published(20, 100, 600),
    "apollo/organization": _published(50, 200, 600),
    "apollo/usage": _published(50, 200, 600),
    "dropcontact": {"second": Window(limit=60, length=timedelta(seconds=1))},
}
"""What holds until an answer tells more: Apollo's limits of its smallest plan, by team and endpoint
(the headers of each answer tell), and Dropcontact's of an account, of which no answer speaks."""


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
    _hashes: dict[str, str] = field(default_factory=dict, repr=False)
    _assumed: set[str] = field(default_factory=set)
    _told: dict[str, Mapping[str, Window]] = field(default_factory=dict)

    @contextmanager
    def turn(self, endpoint: str, *, durable: bool = False) -> Iterator[sa.Connection]:
        """One transaction, after those of all others who ask `endpoint` with the same key."""
        with self.workspace.database.write(durable=durable) as connection:
            rate_windows.await_turn(connection, endpoint, self.key_hash(endpoint))
            yield connection

    def take(self, connection: sa.Connection, endpoint: str, wanted: int = 1) -> int | datetime:
        """How many requests to `endpoint` may leave, which are counted; else when to try again.

        Args:
            connection: From `Database.write`, to be committed before the requests leave.
            endpoint: A key of the limits that are assumed.
            wanted: How many requests there are.
        """
        hashed = self.key_hash(endpoint)
        if endpoint not in self._assumed:
            rate_windows.assume(connection, endpoint, hashed, _ASSUMED[endpoint])
            self._assumed.add(endpoint)
        now = self.time.now()
        for count in (wanted, 1):
            until = rate_windows.take(connection, endpoint, hashed, cost=count, now=now)
            if until is None:
                return count
        assert until is not None
        return until

    def give_back(self, connection: sa.Connection, endpoint: str, count: int) -> None:
        """So many requests that `take` counted have never left."""
        if count:
            hashed, now = self.key_hash(endpoint), self.time.now()
            rate_windows.give_back(connection, endpoint, hashed, count=count, now=now)

    def ready(self, endpoint: str, width: int) -> int:
        """How many requests to `endpoint` may stand ready, counted, beside `width` under way.

        None where a window is so short that it matters when one leaves.
        """
        shortest = min(window.length for window in _ASSUMED[endpoint].values())
        return 2 * width if shortest >= LENGTHS["minute"] else 0

    def pause(self, until: datetime) -> None:
        """It is `until`.

        Raises:
            RateLimited: If that is further away than PATIENCE.
        """
        wait = until - self.time.now()
        if wait > PATIENCE:
            text = f"its limit of requests is used up until {until:%Y-%m-%d %H:%M} UTC"
            raise RateLimited(text, wait.total_seconds(), None)
        self.time.sleep(max(wait.total_seconds(), 0.01))

    def heed(self, connection: sa.Connection, endpoint: str, given: object) -> None:
        """What an answer or an error tells of the limits of `endpoint` holds for all workers."""
        if isinstance(given, RateLimited):
            self._park(connection, endpoint, given)
        elif isinstance(limits := getattr(given, "limits", None), Limits):
            self._learn(connection, endpoint, limits)

    def ask(self, endpoint: str, request: Callable[[], Given]) -> Given:
        """The answer to one request that is free, once the windows of `endpoint` have room for it.

        Raises:
            RateLimited: If that takes longer than PATIENCE, or it is refused in spite of it.
        """
        while True:
            with self.workspace.database.write() as connection:
                taken = self.take(connection, endpoint)
            if isinstance(taken, int):
                break
            self.pause(taken)
        try:
            given = request()
        except RateLimited as error:
            with self.workspace.database.write() as connection:
                self.heed(connection, endpoint, error)
            raise
        with self.workspace.database.write() as connection:
            self.heed(connection, endpoint, given)
        return given

    def key_hash(self, endpoint: str) -> str:
        """The keyed hash of the key that opens `endpoint`."""
        if endpoint not in self._hashes:
            settings = self.workspace.settings
            key = key_of(settings, endpoint.partition("/")[0])
            self._hashes[endpoint] = person_key(settings.secret_key(), endpoint, key)
        return self._hashes[endpoint]

    def _park(self, connection: sa.Connection, endpoint: str, error: RateLimited) -> None:
        window = error.window or "minute"
        seconds = error.until if error.until is not None else LENGTHS[window].total_seconds()
        until = self.time.now() + timedelta(seconds=seconds)
        rate_windows.park(connection, endpoint, self.key_hash(endpoint), window, until)

    def _learn(self, connection: sa.Connection, endpoint: str, limits: Limits) -> None:
        told = {name: getattr(limits, name) for name in LENGTHS}
        windows = {
            name: Window(limit=w.limit, length=LENGTHS[name], left=w.left)
            for name, w in told.items()
            if w is not None
        }
        if windows == self._told.get(endpoint, {}) and all(
            w.left is None for w in windows.values()
        ):
            return  # what has no end needs no counting
        hashed, now = self.key_hash(endpoint), self.time.now()
        rate_windows.learn(connection, endpoint, hashed, windows, now)
        self._told[endpoint] = windows


def free_requests(
    providers: Providers,
    endpoint: str,
    width: int,
    request: Callable[[Item], Callable[[Passage], Given]],
    land: Callable[[sa.Connection, Item, Given | AicmoError], None],
    settle: Callable[[], None] = lambda: None,
) -> InFlight[Item, Given]:
    """Requests that cost nothing, within the limits of `endpoint`.

    `land` is called for each that came back; it and `settle` are as for `InFlight`.
    """
    flight: InFlight[Item, Given]

    def start(
        connection: sa.Connection, items: list[Item]
    ) -> list[tuple[Item, Callable[[Passage], Given]]] | Later:
        taken = providers.take(connection, endpoint, len(items))
        if not isinstance(taken, int):
            return Later(taken)
        flight.queue.extendleft(reversed(items[taken:]))
        return [(item, request(item)) for item in items[:taken]]

    def land_each(connection: sa.Connection, landed: list[tuple[Item, Given | AicmoError]]) -> None:
        kept_back = [item for item, given in landed if isinstance(given, NotSent)]
        providers.give_back(connection, endpoint, len(kept_back))
        flight.queue.extendleft(reversed(kept_back))
        for item, given in landed:
            if not isinstance(given, NotSent):
                providers.heed(connection, endpoint, given)
                land(connection, item, given)

    flight = InFlight(
        width,
        providers.ready(endpoint, width),
        providers.time.monotonic,
        transaction=partial(providers.turn, endpoint),
        start=start,
        land=land_each,
        settle=settle,
        pause=providers.pause,
    )
    return flight


@contextmanager
def open_providers(workspace: Workspace, clock: Time = REAL_TIME) -> Iterator[Providers]:
    """The providers of the workspace's settings, their connections closed at the end."""
    settings = workspace.settings
    https = {
        "apollo": _http(settings.apollo, apollo.key_headers, apollo.ADVICE, clock),
        "dropcontact": _http(
            settings.dropcontact, dropcontact.key_headers, dropcontact.ADVICE, clock
        ),
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


def _http(
    provider: Provider, headers: Callable[[str], dict[str, str]], advice: str, clock: Time
) -> Http | None:
    if provider.api_key is None:
        return None
    return Http(
        provider.url,
        headers(provider.api_key),
        advice=advice,
        timeout=provider.timeout,
        patience=0,  # a limit is waited for in `take`, where all workers see it
        sleep=clock.sleep,
        jitter=clock.jitter,
        clock=clock.monotonic,
    )
