"""Campaigns on a minute's cron while daemons, code server and runs are killed, and what came of it.

Not here: how often (`bench_cron_killed`, and a short one in `test_cron_killed.py`).
"""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psutil
import sqlalchemy as sa

from aicmo_dagster.defs.in_turn import RUN_KEY
from aicmo_dagster.settings import Settings
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.database import open_database
from aicmo_dagster.store.tables import ticks
from aicmo_dagster_tests.bench.system import CODE, System, wait_until
from aicmo_dagster_tests.samples import campaign, leads_csv

WORKER = "worker"
SOON = {
    "run_monitoring": {
        "enabled": True,
        "start_timeout_seconds": 45,
        "max_runtime_seconds": 600,
        "poll_interval_seconds": 5,
        "free_slots_after_run_end_seconds": 10,
    }
}
"""As dagster.yaml has it, but sooner."""


@dataclass(frozen=True)
class Aftermath:
    """What became of the ticks.

    Args:
        ticks: Those that were taken.
        states: How many ended how; `claimed` ones have not.
        runs: Runs of all ticks, further tries of a lost one too.
        doubled: Ticks with more than one good run.
        unlike: Ticks that say that they succeeded and have no good run, or the reverse.
        unexplained: Ticks that failed or were skipped without a reason.
        kills: By whom they met.
    """

    ticks: int
    states: dict[str, int]
    runs: int
    doubled: int
    unlike: int
    unexplained: int
    kills: dict[str, int]


@contextmanager
def workspace_in(home: Path, url: str = "") -> Iterator[Workspace]:
    """The workspace that the system works on: in the database `url`, or in the home's own."""
    url = url or f"sqlite:///{home / 'aicmo.db'}"
    settings = Settings(home=home, database_url=url, dagster_home=home / "dagster")
    database = open_database(url)
    try:
        yield Workspace(settings, database)
    finally:
        database.close()


def apply_many(
    workspace: Workspace, keys: list[str], schedule: dict[str, str], since: datetime, leads: int = 3
) -> None:
    """The campaigns are applied over `leads` leads each, as if at `since`."""
    columns = {"email": "Email", "first_name": "First", "company": "Account"}
    source = {"type": "csv", "path": "leads.csv", "columns": columns}
    for start, key in enumerate(keys):
        folder = workspace.settings.home / "campaigns" / key
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "leads.csv"
        if not file.exists():  # what is written anew would be harvested anew
            file.write_text(leads_csv(leads, start=start * leads + 1), encoding="utf-8")
        document = campaign(key, sources=[source], schedule=schedule)
        with workspace.database.write() as connection:
            apply_campaign(connection, document, {}, folder, since)


def kill_at_random(
    home: Path, *, campaigns: int, kills: int, every: float, daemons: int, seed: int
) -> Aftermath:
    """A cron of each minute, and a kill about `every` so many seconds."""
    draw, met = random.Random(seed), Counter[str]()
    system = System(home, **SOON)
    names = [f"daemon-{number}" for number in range(daemons)]
    with workspace_in(home) as workspace:
        now = datetime.now(UTC)
        keys = [f"c{number:02}" for number in range(campaigns)]
        apply_many(workspace, keys, {"harvest": "* * * * *"}, now - timedelta(minutes=2))
        try:
            _start_all(system, names)
            for _ in range(kills):
                time.sleep(draw.uniform(0.4, 1.6) * every)
                met[_kill_one(system, names, draw)] += 1
            apply_many(workspace, keys, {}, datetime.now(UTC))
            wait_until(lambda: not _claimed(workspace), 420, "the end of every tick")
        finally:
            system.stop()
        with system.instance() as instance:
            return aftermath(workspace, instance, dict(met))


def aftermath(
    workspace: Workspace, instance: dg.DagsterInstance, kills: dict[str, int]
) -> Aftermath:
    """What the ticks say, beside what Dagster says of their runs."""
    with workspace.database.read() as connection:
        rows = connection.execute(sa.select(ticks)).all()
    runs: dict[str, list[dg.DagsterRun]] = {}
    for run in instance.get_runs():
        if RUN_KEY in run.tags:
            runs.setdefault(_tick_of(run.tags[RUN_KEY]), []).append(run)
    made = {run.run_id: _routed_in(instance, run) for found in runs.values() for run in found}
    good = {
        row: sum(row.campaign in made[run.run_id] for run in runs.get(_tick_of(row.run_key), ()))
        for row in rows
    }
    return Aftermath(
        ticks=len(rows),
        states=dict(Counter(row.state for row in rows)),
        runs=sum(map(len, runs.values())),
        doubled=sum(count > 1 for count in good.values()),
        unlike=sum((row.state == "succeeded") != (good[row] == 1) for row in rows),
        unexplained=sum(row.state in ("failed", "skipped") and not row.reason for row in rows),
        kills=kills,
    )


def _routed_in(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[str]:
    """The campaigns for which the run was good, by what Dagster knows.

    A run that several share may end badly, or be killed, after it was good for some of them.
    """
    own = run.tags.get("dagster/partition")
    if own is not None:
        return {own} if run.is_success else set()
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    made = [
        e.dagster_event.step_materialization_data.materialization
        for e in entries
        if e.dagster_event
    ]
    return {str(each.partition) for each in made if each.asset_key == dg.AssetKey("routed_leads")}


def _tick_of(run_key: str) -> str:
    """The key of a tick's first run, which those after a lost one begin with."""
    return run_key.partition("#")[0]


def _start_all(system: System, daemons: list[str]) -> None:
    system.start(CODE)
    system.wait_for_code()
    for name in daemons:
        system.start(name)


def _kill_one(system: System, daemons: list[str], draw: random.Random) -> str:
    """One of them is killed, and started again unless it is a run; tells which kind it was."""
    victim = draw.choice([CODE, *daemons, WORKER, WORKER])
    if victim == WORKER:
        workers = system.run_workers()
        if workers:
            try:
                draw.choice(workers).kill()
            except psutil.NoSuchProcess:
                return "nobody"
            return WORKER
        victim = daemons[0]
    system.kill(victim)
    system.start(victim)
    if victim == CODE:
        system.wait_for_code()
    return victim.partition("-")[0]


def _claimed(workspace: Workspace) -> int:
    with workspace.database.read() as connection:
        count = sa.select(sa.func.count()).select_from(ticks).where(ticks.c.state == "claimed")
        return connection.scalar(count) or 0
