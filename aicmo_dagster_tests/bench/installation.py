"""A whole installation runs campaigns once: what became of them, beside what one process makes.

Not here: the processes (`cluster`), or which campaigns and what is measured (`bench_workers`).
"""

import os
import pickle
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import psycopg2
import sqlalchemy as sa
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG
from dagster_graphql import DagsterGraphQLClient

from aicmo_dagster.defs.assets import STAGE_FUNCTIONS
from aicmo_dagster.defs.jobs import full_pipeline_job
from aicmo_dagster.defs.partitions import add_partitions
from aicmo_dagster.defs.resources import WORKER_TAG, Clock
from aicmo_dagster.defs.runs import open_instance
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.ledger import state_counts
from aicmo_dagster_tests.bench.cluster import Cluster, running_redis
from aicmo_dagster_tests.samples import NOON, campaign_document, leads_csv
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

SENT_EACH = 50
AS_OF = NOON.isoformat()

Rows = dict[tuple[str, str], pd.DataFrame]
"""By campaign and stage."""


@dataclass(frozen=True)
class Planned:
    """A campaign, none of whose leads is another's.

    Args:
        key: Its key.
        first: The number of its first lead.
        leads: How many a file of its own has.
        sender: Who sends its mail.
        changes: What its document has otherwise.
    """

    key: str
    first: int
    leads: int
    sender: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kill:
    """When a worker is killed: while it has a run of that status, after so many successes."""

    status: dg.DagsterRunStatus
    after: int


@dataclass(frozen=True)
class Outcome:
    """What became of the campaigns.

    Args:
        per_minute: Campaigns, from the first launch to the last success.
        rows: The rows of each campaign and stage.
        retries: Runs beyond one a campaign.
        kills: How many workers were killed.
        by_worker: Worker to how many runs it ended.
        sent_by_shared_sender: Mails of the campaigns that share one.
    """

    per_minute: float
    rows: Rows
    retries: int
    kills: int
    by_worker: Mapping[str, int]
    sent_by_shared_sender: int


class Installation:
    """Two databases, a broker and all processes, for one run of each campaign."""

    def __init__(
        self,
        folder: Path,
        server: str,
        campaigns: Sequence[Planned],
        shared: Sequence[Planned] = (),
        **settings: Any,
    ) -> None:
        """All is made ready in `folder` and on `server`; those of `shared` have one sender."""
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self._campaigns, self._shared = campaigns, shared
        self._dagster = _new_database(server, f"dagster_{folder.name}", "postgresql+psycopg2")
        url = _new_database(server, f"aicmo_{folder.name}")
        self._workspace = _prepare(folder / "home", url, [*campaigns, *shared], **settings)

    def run(self, workers: Sequence[str], kill: Kill | None = None) -> Outcome:
        """Every campaign has succeeded; the first of `workers` was killed on the way, if asked."""
        with running_redis(self._folder) as broker:
            cluster = Cluster(self._folder, self._workspace.settings, broker, self._dagster)
            cluster.configure()
            os.environ.update(cluster.environment())
            try:
                with open_instance(self._workspace.settings) as instance:
                    port = cluster.start_dagster()
                    for worker in workers:
                        cluster.start_worker(worker)
                    cluster.await_workers(instance.run_launcher, len(workers))
                    return self._run_all(cluster, instance, port, workers[0], kill)
            finally:
                cluster.stop()
                self._workspace.database.close()

    def _run_all(
        self,
        cluster: Cluster,
        instance: dg.DagsterInstance,
        port: int,
        victim: str,
        kill: Kill | None,
    ) -> Outcome:
        keys = [planned.key for planned in (*self._campaigns, *self._shared)]
        add_partitions(instance, keys)
        begun = time.monotonic()
        _submit(port, keys)
        kills = 0
        while (done := _succeeded(instance)) < len(keys):
            if kill and not kills and done >= kill.after and _has(instance, victim, kill.status):
                cluster.kill(victim)
                kills += 1
            time.sleep(0.1 if kill and not kills else 0.5)
        per_minute = 60 * len(keys) / (time.monotonic() - begun)
        retries = instance.get_runs_count() - len(keys)
        return Outcome(
            per_minute,
            _rows(self._workspace, self._campaigns),
            retries,
            kills,
            _by_worker(instance),
            self._sent_by_shared_sender(),
        )

    def _sent_by_shared_sender(self) -> int:
        with self._workspace.database.read() as connection:
            counts = [state_counts(connection, planned.key) for planned in self._shared]
        return sum(count.get("accepted", 0) for count in counts)


def rows_of_one_process(folder: Path, campaigns: Sequence[Planned]) -> Rows:
    """The rows that this process makes of the same campaigns, one after the other, on SQLite.

    They are kept in `folder`, and made only once.
    """
    kept = folder / "one process"
    found: Rows = pickle.loads(kept.read_bytes()) if kept.exists() else {}
    new = [planned for planned in campaigns if (planned.key, STAGES[0]) not in found]
    if new:
        home = folder / f"one process, {len(found)}"
        workspace = _prepare(home, f"sqlite:///{folder}/{len(found)}.db", new)
        for planned in new:
            for stage in STAGES:
                STAGE_FUNCTIONS[stage](workspace, planned.key, Clock(as_of=AS_OF))
        found |= _rows(workspace, new)
        workspace.database.close()
        kept.write_bytes(pickle.dumps(found))
    keys = {planned.key for planned in campaigns}
    return {at: frame for at, frame in found.items() if at[0] in keys}


def differences(rows: Rows, expected: Rows) -> int:
    """How many frames are not the expected ones."""
    return sum(not rows[at].equals(frame) for at, frame in expected.items())


def _prepare(home: Path, url: str, campaigns: Sequence[Planned], **settings: Any) -> Workspace:
    """A workspace with the campaigns applied."""
    home.mkdir(parents=True)
    workspace = open_test_workspace(home, url, **settings)
    for planned in campaigns:
        nurture = campaign_document()["nurture"]
        nurture["sender"]["address"] = f"{planned.sender}@acme.example"
        nurture["caps"] = {"per_sender_per_day": SENT_EACH}
        path = apply(workspace, planned.key, 0, nurture=nurture, **planned.changes)
        path.write_text(leads_csv(planned.leads, planned.first), encoding="utf-8")
    return workspace


def _submit(port: int, keys: Sequence[str]) -> None:
    client = DagsterGraphQLClient("127.0.0.1", port_number=port)
    config = {"resources": {"clock": {"config": {"as_of": AS_OF}}}}
    for key in keys:
        tags = {"dagster/partition": key}
        client.submit_job_execution(full_pipeline_job.name, run_config=config, tags=tags)


def _succeeded(instance: dg.DagsterInstance) -> int:
    return instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))


def _has(instance: dg.DagsterInstance, worker: str, status: dg.DagsterRunStatus) -> bool:
    """Whether `worker` has taken a run that is in `status`."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[status])):
        task = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task and _taker(instance, task).startswith(f"{worker}@"):
            return True
    return False


def _taker(instance: dg.DagsterInstance, task: str) -> str:
    """The host name of the worker that has begun `task`; empty if none has, or it has ended."""
    result = instance.run_launcher.celery.AsyncResult(task)  # type: ignore[attr-defined]
    told = result.info if result.state == "STARTED" else None
    return told.get("hostname", "") if isinstance(told, dict) else ""


def _by_worker(instance: dg.DagsterInstance) -> Mapping[str, int]:
    """Worker to how many runs it ended."""
    runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
    return Counter(run.tags[WORKER_TAG] for run in runs if WORKER_TAG in run.tags)


def _rows(workspace: Workspace, campaigns: Sequence[Planned]) -> Rows:
    with workspace.database.read() as connection:
        return {
            (planned.key, stage): read_frame(connection, stage, planned.key)
            for planned in campaigns
            for stage in STAGES
        }


def _new_database(server: str, name: str, driver: str = "postgresql") -> str:
    connection = psycopg2.connect(server)
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    url = sa.make_url(server).set(drivername=driver, database=name)
    return url.render_as_string(hide_password=False)
