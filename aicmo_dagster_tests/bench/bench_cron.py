"""The cron of 1,000 campaigns with a real daemon, code server and web server, on SQLite.

CPU seconds are of all processes together. What an idle system takes in the same time is not part of
what a tick costs. Beside them stands a plain Dagster job of five trivial assets, through the same
queue, with a system of its own.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from aicmo_dagster.stages.harvest import harvest
from aicmo_dagster.stages.qualify import qualify_leads
from aicmo_dagster.stages.route import route_leads
from aicmo_dagster.stages.score import score_leads
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.results import record_success
from aicmo_dagster.store.tables import ticks
from aicmo_dagster_tests.bench.cron_killing import apply_many, workspace_in
from aicmo_dagster_tests.bench.measure import Measured
from aicmo_dagster_tests.bench.system import CODE, System, wait_until

CAMPAIGNS = 1000
HARVESTS = 50
NURTURES = 200
PLAIN_RUNS = 10
IDLE_SECONDS = 60.0
SETTLE_SECONDS = 40.0
PREPARED = (harvest, score_leads, qualify_leads, route_leads)

FAR = {"harvest": "0 6 1 1 *", "nurture": "0 6 1 1 *"}
"""Due on New Year's Day."""


@dataclass(frozen=True)
class Tick:
    """What a tick cost: CPU seconds above those of idling, and seconds to its first run."""

    cpu: float
    first_run: float
    runs: int


def run(scratch: Path) -> Iterator[Measured]:
    """An idle minute, a tick of harvests, a tick of nurtures, and plain runs."""
    plain = plain_cost(scratch / "plain")
    yield from idle_and_harvests(scratch / "harvests", plain)
    yield from nurtures(scratch / "nurtures", plain)


def idle_and_harvests(home: Path, plain: float) -> Iterator[Measured]:
    """All campaigns idle for a minute, then some of them due."""
    with workspace_in(_made(home)) as workspace:
        keys = [f"c{number:04}" for number in range(CAMPAIGNS)]
        apply_many(workspace, keys, FAR, datetime.now(UTC))
        system = _started(home)
        try:
            time.sleep(SETTLE_SECONDS)
            idle = _cpu_over(system, IDLE_SECONDS)
            yield Measured("idle minute", f"{CAMPAIGNS:,} campaigns", idle, "CPU s", bound=3)
            tick = due(system, workspace, keys[:HARVESTS], "harvest", idle / IDLE_SECONDS)
        finally:
            system.stop()
    size = f"{HARVESTS} of {CAMPAIGNS:,} campaigns due"
    yield Measured("harvests, to the first run", size, tick.first_run, "s", bound=45)
    yield Measured("harvest, a campaign", size, tick.cpu / HARVESTS, "CPU s", bound=3)
    against = "plain run"
    yield Measured("harvest, a campaign", size, tick.cpu / HARVESTS, "CPU s", plain, against)


def nurtures(home: Path, plain: float) -> Iterator[Measured]:
    """Campaigns with mail that is due, which share runs."""
    with workspace_in(_made(home)) as workspace:
        keys = [f"c{number:04}" for number in range(NURTURES)]
        apply_many(workspace, keys, FAR, datetime.now(UTC))
        for key in keys:
            _route(workspace, key)
        system = _started(home)
        try:
            time.sleep(SETTLE_SECONDS)
            idle = _cpu_over(system, IDLE_SECONDS / 4) / (IDLE_SECONDS / 4)
            tick = due(system, workspace, keys, "nurture", idle)
        finally:
            system.stop()
    size = f"{NURTURES} campaigns due, {tick.runs} runs"
    each = tick.cpu / NURTURES
    yield Measured("nurture, a campaign", size, each, "CPU s", bound=0.3)
    yield Measured("nurture, a campaign", size, each, "CPU s", plain, "plain run")


def plain_cost(home: Path) -> float:
    """CPU seconds of one plain run through sensor, queue and code server."""
    system = System(_made(home), "aicmo_dagster_tests.bench.plain_job")
    try:
        system.start(CODE)
        system.wait_for_code()
        begun = system.cpu()
        system.start("daemon")
        with system.instance() as instance:
            wait_until(lambda: _ended(instance) == PLAIN_RUNS, 120, "the end of plain runs")
        # The daemon's own start is part of it: some 2 CPU s over all runs.
        return (system.cpu() - begun) / PLAIN_RUNS
    finally:
        system.stop()


def due(system: System, workspace: Workspace, keys: list[str], job: str, idle_rate: float) -> Tick:
    """The campaigns are due with the next minute, and are waited for."""
    now = datetime.now(UTC)
    at = now.replace(second=0, microsecond=0) + timedelta(minutes=1 + (now.second > 50))
    apply_many(workspace, keys, {**FAR, job: f"{at.minute} {at.hour} * * *"}, now)
    time.sleep((at - datetime.now(UTC)).total_seconds())
    cpu, begun = system.cpu(), time.monotonic()
    with system.instance() as instance:
        wait_until(lambda: _first_start(instance) is not None, 90, "the first run")
        wait_until(lambda: _finished(workspace) == len(keys), 200, "the end of the runs")
        seconds = time.monotonic() - begun
        first = _first_start(instance)
        runs = instance.get_runs_count()
    assert first is not None
    spent = system.cpu() - cpu - idle_rate * seconds
    return Tick(spent, first - at.timestamp(), runs)


def _started(home: Path) -> System:
    system = System(home)
    system.start(CODE)
    system.wait_for_code()
    system.start("daemon")
    system.start("web")
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


def _first_start(instance: dg.DagsterInstance) -> float | None:
    starts = [record.start_time for record in instance.get_run_records()]
    return min((start for start in starts if start), default=None)


def _finished(workspace: Workspace) -> int:
    query = sa.select(sa.func.count()).select_from(ticks).where(ticks.c.state != "claimed")
    with workspace.database.read() as connection:
        return connection.scalar(query) or 0
