"""The cron of 1,000 campaigns with a real daemon, code server, web server and API.

On SQLite and on PostgreSQL, whose server counts. CPU seconds are of all processes together; what
an idle system takes in the same time is not part of what a tick costs. Beside them stands a plain
Dagster job of five trivial assets, through the same queue, with a system of its own.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg2
import sqlalchemy as sa

from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.results import record_success
from aicmo_dagster.store.tables import ticks
from aicmo_dagster_tests.bench.bench_mail_killed import postgresql
from aicmo_dagster_tests.bench.cron_killing import apply_many, workspace_in
from aicmo_dagster_tests.bench.measure import Measured
from aicmo_dagster_tests.bench.system import CODE, Stores, System, wait_until

CAMPAIGNS = 1000
HARVESTS = 50
NURTURES = 200
PLAIN_RUNS = 10
IDLE_SECONDS = 60.0
SETTLE_SECONDS = 70.0
"""Daemons do in their first minute what they never do again."""

PREPARED = (harvest, score_leads, qualify_leads, route_leads)
KEYS = [f"c{number:04}" for number in range(CAMPAIGNS)]

FAR = {"harvest": "0 6 1 1 *", "nurture": "0 6 1 1 *"}
"""Due on New Year's Day."""


@dataclass(frozen=True)
class Tick:
    """What a tick cost: CPU seconds above those of idling, and seconds to its first run."""

    cpu: float
    first_run: float
    runs: int


def run(scratch: Path) -> Iterator[Measured]:
    """On each engine an idle minute, a tick of nurtures, one of harvests, and plain runs."""
    for part in PARTS.values():
        yield from part(scratch)


def _on_sqlite(scratch: Path) -> Iterator[Measured]:
    plain = plain_cost(_made(scratch / "plain"), None)
    prepare(_made(scratch / "sqlite"), None)
    yield from ticks_of("SQLite", scratch / "sqlite", None, plain)


def _on_postgresql(scratch: Path) -> Iterator[Measured]:
    with postgresql() as server:
        plain = plain_cost(_made(scratch / "plain 2"), stores_on(server, "plain"))
        stores = stores_on(server, "cron")
        prepare(_made(scratch / "postgresql"), stores)
        yield from ticks_of("PostgreSQL", scratch / "postgresql", stores, plain)


PARTS: dict[str, Callable[[Path], Iterator[Measured]]] = {
    "sqlite": _on_sqlite,
    "postgresql": _on_postgresql,
}


def stores_on(server: str, name: str) -> Stores:
    """Two new databases on the server."""
    connection = psycopg2.connect(server)
    connection.autocommit = True
    with closing(connection), connection.cursor() as cursor:
        urls = []
        for database in (f"{name}_ours", f"{name}_dagsters"):
            cursor.execute(f"CREATE DATABASE {database}")
            url = sa.make_url(server).set(drivername="postgresql+psycopg2", database=database)
            urls.append(url.render_as_string(hide_password=False))
        cursor.execute("SHOW data_directory")
        (folder,) = cursor.fetchone() or ("",)
    lines = (Path(folder) / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    return Stores(*urls, server=int(lines[0]))


def prepare(home: Path, stores: Stores | None) -> None:
    """All campaigns are applied; those that will nurture have leads nobody has written to yet."""
    with workspace_in(home, stores.ours if stores else "") as workspace:
        apply_many(workspace, KEYS, FAR, datetime.now(UTC))
        for key in KEYS[:NURTURES]:
            _route(workspace, key)


def ticks_of(engine: str, home: Path, stores: Stores | None, plain: float) -> Iterator[Measured]:
    """All campaigns idle for a minute, then some are due for mail, then some for a harvest."""
    system = _started(home, stores)
    with workspace_in(home, stores.ours if stores else "") as workspace:
        try:
            time.sleep(SETTLE_SECONDS)
            idle = _cpu_over(system, IDLE_SECONDS)
            size = f"{CAMPAIGNS:,} campaigns, {engine}"
            yield Measured("idle minute", size, idle, "CPU s", bound=3)
            rate = idle / IDLE_SECONDS
            tick = due(system, workspace, KEYS[:NURTURES], "nurture", rate)
            yield from _told("nurture", f"{NURTURES} of {size}, {tick.runs} runs", tick, plain)
            tick = due(system, workspace, KEYS[-HARVESTS:], "harvest", rate)
            yield from _told("harvest", f"{HARVESTS} of {size}, {tick.runs} runs", tick, plain)
        finally:
            system.stop()


def _told(job: str, size: str, tick: Tick, plain: float) -> Iterator[Measured]:
    count, bound = (NURTURES, 0.3) if job == "nurture" else (HARVESTS, 3)
    each = tick.cpu / count
    yield Measured(f"{job}s, to the first run", size, tick.first_run, "s", bound=45)
    yield Measured(f"{job}, a campaign", size, each, "CPU s", bound=bound)
    yield Measured(f"{job}, a campaign", size, each, "CPU s", plain, "plain run")


def plain_cost(home: Path, stores: Stores | None) -> float:
    """CPU seconds of one plain run through sensor, queue and code server."""
    system = System(home, "aicmo_dagster_tests.bench.plain_job", stores)
    try:
        system.start(CODE)
        system.wait_for_code()
        begun = system.cpu()
        system.start("daemon")
        with system.instance() as instance:
            wait_until(lambda: _ended(instance) == PLAIN_RUNS, 200, "the end of plain runs")
        # The daemon's own start is part of it: some 2 CPU s over all runs.
        return (system.cpu() - begun) / PLAIN_RUNS
    finally:
        system.stop()


def due(system: System, workspace: Workspace, keys: list[str], job: str, idle_rate: float) -> Tick:
    """The campaigns are due with the next minute, and are waited for."""
    now = datetime.now(UTC)
    at = now.replace(second=0, microsecond=0) + timedelta(minutes=1 + (now.second > 40))
    apply_many(workspace, keys, {**FAR, job: f"{at.minute} {at.hour} * * *"}, now)
    time.sleep((at - datetime.now(UTC)).total_seconds())
    cpu, begun = system.cpu(), time.monotonic()
    with system.instance() as instance:
        wait_until(lambda: _first_start(instance, at) is not None, 90, "the first run")
        wait_until(lambda: _finished(workspace, job) == len(keys), 600, "the end of the runs")
        seconds = time.monotonic() - begun
        first = _first_start(instance, at)
        runs = len(instance.get_run_records(dg.RunsFilter(created_after=at)))
    assert first is not None
    spent = system.cpu() - cpu - idle_rate * seconds
    return Tick(spent, first - at.timestamp(), runs)


def _started(home: Path, stores: Stores | None) -> System:
    system = System(home, stores=stores)
    system.start(CODE)
    system.wait_for_code()
    for name in ("daemon", "web", "api"):
        system.start(name)
    return system


def _made(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    return home


def _route(workspace: Workspace, key: str) -> None:
    """The campaign has leads whom nobody has written to yet."""
    now = datetime.now(UTC)
    for stage in PREPARED:
        report = stage(workspace, key, now)
        with workspace.database.write() as connection:
            record_success(
                connection,
                key,
                report.stage,
                run_id="prepared",
                started_at=now,
                finished_at=now,
                rows_in=report.rows_in,
                rows_out=report.rows_out,
                figures={},
            )


def _cpu_over(system: System, seconds: float) -> float:
    before = system.cpu()
    time.sleep(seconds)
    return system.cpu() - before


def _ended(instance: dg.DagsterInstance) -> int:
    wanted = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE])
    return instance.get_runs_count(wanted)


def _first_start(instance: dg.DagsterInstance, since: datetime) -> float | None:
    found = instance.get_run_records(dg.RunsFilter(created_after=since))
    return min((record.start_time for record in found if record.start_time), default=None)


def _finished(workspace: Workspace, job: str) -> int:
    ended = ticks.c.state != "claimed", ticks.c.job == job
    query = sa.select(sa.func.count()).select_from(ticks).where(*ended)
    with workspace.database.read() as connection:
        return connection.scalar(query) or 0
