"""A campaign's life that everything befalls: kills, faults of mail, providers, database and disk.

It is lived in processes of their own, which are begun again whenever they end. The providers stay
in the caller's process and the journal of arrivals on a disk of its own, so that both tell the
truth whatever happened. Not here: what befalls (`troubles`), or what must hold in the end
(`invariants`).
"""

import errno
import json
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.mail.delivery import Transport
from aicmo_dagster.simulation.post import Journal, PostOffice
from aicmo_dagster.simulation.world import World
from aicmo_dagster.stages.operating.faults import is_transient
from aicmo_dagster_tests.forked import processes
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.simulation.invariants import breaches
from aicmo_dagster_tests.simulation.places import (
    Disk,
    keep_commits,
    start_database,
    stop_database,
)
from aicmo_dagster_tests.simulation.postal import MOODS, Folder, Wire
from aicmo_dagster_tests.simulation.troubles import (
    BACK,
    FORWARD,
    SLOW,
    Conditions,
    Trouble,
    UnsteadyClock,
    drawn_troubles,
    provider_faults,
)
from aicmo_dagster_tests.simulation.worlds import (
    LIVELY,
    MONDAY,
    living,
    market,
    nurture,
    settle,
)
from aicmo_dagster_tests.stages.harvesting.harvests import open_harvest_workspace, search

CRONS = {"harvest": "0 6 */3 * *", "nurture": "15 */4 * * *"}
SEARCHED = 30
DELAY = 0.004
"""Seconds that the mail server takes to say that it has a message: when most kills befall."""

LONGEST = 20.0
"""Real seconds that a trouble may last where the life does not go on meanwhile."""

QUIET_DAYS = 2
"""Of the life's end, in which nothing more befalls it."""


@dataclass(frozen=True)
class Aftermath:
    """A life that came to its end in spite of everything.

    Args:
        befallen: What befell it, how often.
        failures: What runs failed of meanwhile, by the kind of error.
        letters: Messages that arrived.
        spent: Credits that the providers took.
        breaches: Every invariant that does not hold.
    """

    befallen: Counter[str]
    failures: Counter[str]
    letters: int
    spent: float
    breaches: list[str]


@dataclass(frozen=True)
class _Given:
    """What each process of a life is told."""

    home: Path
    records: Path
    database_url: str
    providers_url: str
    until: datetime
    seed: int
    conditions: Conditions
    by_smtp: bool


def live_despite(
    disk: Disk,
    records: Path,
    database_url: str,
    *,
    people: int,
    days: int,
    kinds: Sequence[str],
    seed: int,
    per_day: int = 25,
) -> Aftermath:
    """A campaign over `people` of a list and SEARCHED of Apollo's, which `kinds` of trouble befall.

    Args:
        disk: What the campaign's files lie on, and may be full.
        records: What never is: the journal lies there.
        database_url: A database of ours alone, on that disk or behind a server of ours.
        people: How many there are on the list.
        days: How long the campaign lives.
        kinds: What befalls it, each once.
        seed: Of all chance.
        per_day: How many mails the sender may send within a day.
    """
    home = disk.folder / "home"
    home.mkdir()
    if not database_url.startswith("sqlite"):
        keep_commits(database_url)
    with StandIn(SEARCHED, specials=False).running() as stand_in:
        workspace = open_harvest_workspace(home, database_url, stand_in.url, 1, SLOW)
        market(home, people, seed)
        sources = [*living().model_dump(mode="json")["sources"], search(SEARCHED)]
        enrich = {"waterfall": ["apollo", "dropcontact"], "max_credits": 500}
        sending = nurture(caps={"per_sender_per_day": per_day, "per_domain_per_hour": 3})
        document = living(sources=sources, enrich=enrich, schedule=CRONS, nurture=sending)
        settle(workspace, document)
        workspace.database.close()
        life = _Life(disk, records, database_url, stand_in, seed, MONDAY + timedelta(days=days))
        life.live(kinds)
        journal = Journal(records / "journal")
        found = breaches(workspace, ["spring"], journal, life.until, life.repeated)
        for provider in ("apollo", "dropcontact"):
            twice = stand_in.ledger.paid_twice(provider)
            found += [f"{provider} was paid twice for {len(twice)} people"] if twice else []
        found += life.oddities
        spent, letters = stand_in.ledger.spent(), len(journal.letters)
        journal.close()
        workspace.database.close()
    return Aftermath(life.befallen, life.failures(), letters, spent, found)


@dataclass
class _Life:
    """A life under way, as those see it who trouble it."""

    disk: Disk
    records: Path
    database_url: str
    stand_in: StandIn
    seed: int
    until: datetime
    befallen: Counter[str] = field(default_factory=Counter)
    oddities: list[str] = field(default_factory=list)
    repeated: list[tuple[datetime, datetime]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._conditions = Conditions.of(processes())
        self._process: BaseProcess | None = None

    def live(self, kinds: Sequence[str]) -> None:
        """It is lived to its end, and each of `kinds` befalls it."""
        able = [kind for kind in kinds if self._can(kind)]
        end = self.until - timedelta(days=QUIET_DAYS)
        try:
            for trouble in drawn_troubles(self._draw, able, MONDAY, end):
                self._await(trouble.at)
                self.befallen[trouble.kind] += 1
                self._befall(trouble)
            self._await(None)
        finally:
            self._kill()

    def failures(self) -> Counter[str]:
        """What runs failed of."""
        path = self.records / "failures"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return Counter(line.split(":")[0] for line in lines)

    def _can(self, kind: str) -> bool:
        if kind == "database":
            return not self.database_url.startswith("sqlite")
        return kind != "disk" or self.disk.bounded

    def _befall(self, trouble: Trouble) -> None:
        {
            "kill": self._killed,
            "mail": self._mail_fails,
            "provider": self._provider_fails,
            "database": self._database_restarts,
            "disk": self._disk_is_full,
            "forward": lambda _: self._clock_is_set(FORWARD),
            "back": lambda _: self._clock_is_set(BACK),
        }[trouble.kind](trouble)

    def _killed(self, trouble: Trouble) -> None:
        time.sleep(self._draw.random() / 20)
        self._kill()

    def _mail_fails(self, trouble: Trouble) -> None:
        self._conditions.mail_is(self._draw.choice(MOODS[1:]))
        self._last(trouble)
        self._conditions.mail_is("well")

    def _provider_fails(self, trouble: Trouble) -> None:
        self.stand_in.faults.set(*provider_faults(self._draw))
        self._last(trouble)
        self.stand_in.faults.set()

    def _database_restarts(self, trouble: Trouble) -> None:
        time.sleep(self._draw.random() / 50)
        try:
            stop_database(self.database_url)
            time.sleep(self._draw.random() / 2)
        finally:  # other tests may have databases there
            start_database(self.database_url)

    def _disk_is_full(self, trouble: Trouble) -> None:
        self.disk.fill()
        self._last(trouble)
        self.disk.free()
        if not self.database_url.startswith("sqlite"):
            start_database(self.database_url)

    def _clock_is_set(self, by: timedelta) -> None:
        self._running()
        before = self._now()
        self._conditions.shift.value = by.total_seconds()
        deadline = time.monotonic() + 10 * LONGEST
        while self._conditions.shift.value and time.monotonic() < deadline:
            self._running()
            time.sleep(0.02)
        if by < timedelta(0):
            # What was shown twice ends at the latest where the clock stood when it was set.
            self.repeated.append((before + 2 * by, self._now() - 2 * by))

    def _last(self, trouble: Trouble) -> None:
        """The trouble has lasted, and the life has gone on as far as it could."""
        half = trouble.at + trouble.lasts / 2
        self._await(half if trouble.killed else trouble.at + trouble.lasts, LONGEST)
        if trouble.killed:
            self._kill()
            self._await(trouble.at + trouble.lasts, LONGEST)

    def _await(self, moment: datetime | None, seconds: float = 240.0) -> None:
        """The life has come to `moment`, or to its end; or that took longer than `seconds`."""
        deadline = time.monotonic() + seconds
        while (moment is None or self._now() < moment) and not self._ended():
            if time.monotonic() > deadline:
                if moment is None:
                    self.oddities.append("the life did not come to its end in time")
                return
            self._running()
            time.sleep(0.02)

    def _ended(self) -> bool:
        return self._process is not None and self._process.exitcode == 0

    def _running(self) -> None:
        """A process lives on: another one, if the last has ended of itself."""
        if self._process is not None and self._process.exitcode is None:
            return
        if self._process is not None and self._process.exitcode > 0:
            self.oddities.append(f"a process ended with {self._process.exitcode}")
            self.until = min(self.until, self._now())
        given = _Given(
            self.disk.folder / "home",
            self.records,
            self.database_url,
            self.stand_in.url,
            self.until,
            self.seed,
            self._conditions,
            by_smtp=self._draw.random() < 0.6,
        )
        self._process = processes().Process(target=_live, args=(given,))
        self._process.start()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def _now(self) -> datetime:
        """How far the life has come, by its journal."""
        path = self.records / "journal"
        if not path.exists():
            return MONDAY
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 4096, 0))
            lines = file.read().split(b"\n")[1:-1]
        for line in reversed(lines):
            told = json.loads(line)
            if at := told.get("begun") or told.get("ended"):
                return datetime.fromisoformat(at)
        return MONDAY


def _live(given: _Given) -> None:
    os.environ["NO_PROXY"] = "127.0.0.1"
    home = given.home
    while True:
        try:
            workspace = open_harvest_workspace(
                home, given.database_url, given.providers_url, 1, SLOW
            )
            break
        except AicmoError:  # whoever starts it tries again
            time.sleep(0.05)
    world = World(
        workspace,
        LIVELY,
        given.seed,
        UnsteadyClock(MONDAY, given.conditions),
        Journal(given.records / "journal"),
        pause=partial(time.sleep, DELAY),
        carrier=partial(_carrier, given),
        endures=partial(_endures, given.records / "failures"),
    )
    world.run(given.until)
    world.close()
    workspace.database.close()


def _carrier(given: _Given, office: PostOffice) -> Transport:
    if given.by_smtp:
        return Wire(office, given.conditions.mail)
    return Folder(office, given.home / "outbox")


def _endures(path: Path, failure: Exception) -> bool:
    """What a run may fail of when the world around it does; each is written down."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{type(failure).__name__}: {' '.join(str(failure).split())[:300]}\n")
    no_room = isinstance(failure, OSError) and failure.errno == errno.ENOSPC
    return no_room or is_transient(failure) or isinstance(failure, AicmoError)
