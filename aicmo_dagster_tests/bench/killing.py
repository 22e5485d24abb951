"""Workers that send a campaign and are killed, again and again, and what arrived in the end.

Not here: how often (`bench_mail_killed`, and a short one in `stages/nurturing/test_killed.py`).
"""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

from aicmo_dagster.settings import Settings
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import open_database
from aicmo_dagster.store.ledger import state_counts
from aicmo_dagster_tests.bench.mailing import KEY, enrol_in, free_port, wait_for
from aicmo_dagster_tests.forked import processes
from aicmo_dagster_tests.samples import NOON

TURN = timedelta(hours=12)
"""From one worker's start to the next one's, on their clock: what was put off is due again."""

DELAY = 0.002
"""Seconds that the server takes before and after it has taken a message."""


@dataclass(frozen=True)
class Aftermath:
    """What is left when a campaign was sent in spite of kills.

    Args:
        leads: Enrolled.
        kills: Of single workers.
        arrived: Messages at the server, by how often each of them arrived.
        states: Where the ledger says that they stand.
        connections: That a worker kept open.
    """

    leads: int
    kills: int
    arrived: Counter[str]
    states: dict[str, int]
    connections: int

    @property
    def duplicates(self) -> int:
        """Messages that arrived more than once."""
        return sum(count - 1 for count in self.arrived.values())

    @property
    def lost(self) -> int:
        """Leads of whom nothing arrived and nothing is listed as unknown."""
        return self.leads - self.states.get("unknown", 0) - self.states.get("accepted", 0)

    @property
    def unproven(self) -> int:
        """Sends that the ledger says were accepted, beyond those that arrived."""
        return max(self.states.get("accepted", 0) - len(self.arrived), 0)


def workspace_at(home: Path, database_url: str, smtp_url: str | None) -> Workspace:
    """The workspace that workers and observers share."""
    settings = Settings(
        home=home,
        database_url=database_url,
        dagster_home=home / "dagster",
        smtp_url=smtp_url,
        configured_secret_key="a key for kill tests",
    )
    return Workspace(settings, open_database(database_url))


def send_despite_kills(
    home: Path,
    database_url: str,
    *,
    leads: int,
    kills: int,
    workers: int,
    connections: int,
    seed: int,
) -> Aftermath:
    """A campaign of `leads` leads, sent by `workers` processes of which one is killed at a time."""
    draw = random.Random(seed)
    observer = workspace_at(home, database_url, None)
    enrol_in(observer.database, home, leads)
    with recorder(home) as (port, taken):
        url = f"smtp://127.0.0.1:{port}?connections={connections}"
        running: list[BaseProcess] = []
        killed = 0
        try:
            while killed < kills:
                running = [each for each in running if each.is_alive()]
                while len(running) < workers:
                    running.append(_worker(home, database_url, url, killed))
                # A point of the campaign, not of time: a slow machine is killed as often as a fast.
                _wait_until(taken, killed, kills, leads, draw, running)
                victim = draw.choice(running)
                victim.kill()
                victim.join()
                killed += 1
        finally:
            for each in running:
                each.kill()
                each.join()
        _finish(home, url, observer, kills)
    with observer.database.read() as connection:
        states = state_counts(connection, KEY)
    observer.database.close()
    arrived = Counter(taken.read_text(encoding="ascii").split())
    return Aftermath(leads, killed, arrived, states, connections)


def send_at_once(home: Path, database_url: str, *, leads: int, workers: int) -> Aftermath:
    """A campaign sent by `workers` processes that all begin at the same time."""
    observer = workspace_at(home, database_url, None)
    enrol_in(observer.database, home, leads)
    with recorder(home) as (port, taken):
        url = f"smtp://127.0.0.1:{port}?connections=2"
        running = [_worker(home, database_url, url, 0) for _ in range(workers)]
        for each in running:
            each.join()
        exits = {each.exitcode for each in running}
        assert exits == {0}, exits
    with observer.database.read() as connection:
        states = state_counts(connection, KEY)
    observer.database.close()
    return Aftermath(leads, 0, Counter(taken.read_text(encoding="ascii").split()), states, 2)


def _wait_until(
    taken: Path,
    killed: int,
    kills: int,
    leads: int,
    draw: random.Random,
    running: list[BaseProcess],
) -> None:
    """Until a random share more of the messages has arrived, or the workers have no more to do."""
    size = 51  # octets of one line of the list, about
    share = leads / (kills + 1)
    wanted = min((killed + draw.uniform(0.2, 1.0)) * share, leads * 0.97) * size
    deadline = time.monotonic() + 60
    while (taken.stat().st_size if taken.exists() else 0) < wanted:
        if all(not each.is_alive() for each in running) or time.monotonic() > deadline:
            return
        time.sleep(draw.uniform(0.0005, 0.004))


def _finish(home: Path, url: str, observer: Workspace, turn: int) -> None:
    """Whatever is left is sent by workers that nobody kills, one after the other."""
    for later in range(turn, turn + 8):
        worker = _worker(home, str(observer.settings.database_url), url, later)
        worker.join()
        assert worker.exitcode == 0
        with observer.database.read() as connection:
            if not {"planned", "deferred"} & set(state_counts(connection, KEY)):
                return


def _worker(home: Path, database_url: str, url: str, turn: int) -> BaseProcess:
    """A worker that begins at once: the processes it is forked from have imported everything."""
    worker = processes().Process(target=_work, args=(home, database_url, url, turn))
    worker.start()
    return worker


@contextmanager
def recorder(home: Path) -> Iterator[tuple[int, Path]]:
    """A server in a process of its own that lists what it takes: its port, and the list."""
    port, taken = free_port(), home / "taken"
    taken.touch()
    command = [sys.executable, "-m", "aicmo_dagster_tests.bench.recorder"]
    process = subprocess.Popen([*command, str(port), str(taken), str(DELAY)])
    try:
        wait_for(port)
        yield port, taken
    finally:
        process.terminate()
        process.wait()


def _work(home: Path, database_url: str, url: str, turn: int) -> None:
    """One run of the campaign, later each time, so that what was put off is due again."""
    workspace = workspace_at(home, database_url, url)
    nurture(workspace, KEY, lambda: NOON + turn * TURN)
    workspace.database.close()
