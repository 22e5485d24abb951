"""40 campaigns of 2,000 leads through web server, daemon, code server and Celery workers.

With one worker and with two, by the files in deploy, on PostgreSQL and Redis; one of two workers is
killed on the way. The rows must be those of a single process, and limits hold over all workers.
The API is no part of it, since it runs nothing.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import psycopg2
import sqlalchemy as sa
from dagster_graphql import DagsterGraphQLClient

from aicmo_dagster.defs.assets import STAGE_FUNCTIONS
from aicmo_dagster.defs.jobs import full_pipeline_job
from aicmo_dagster.defs.partitions import add_partitions
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.defs.runs import open_instance
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.ledger import state_counts
from aicmo_dagster_tests.bench.bench_mail_killed import postgresql
from aicmo_dagster_tests.bench.cluster import Cluster, redis_server, running_redis
from aicmo_dagster_tests.bench.measure import Measured
from aicmo_dagster_tests.samples import NOON, campaign_document, leads_csv
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

CAMPAIGNS, LEADS = 40, 2_000
SENT_EACH = 50
SHARED = ("shared-1", "shared-2", "shared-3", "shared-4")
"""Campaigns of one sender, whose cap is one campaign's."""

AS_OF = NOON.isoformat()
KEYS = [f"campaign-{number:02}" for number in range(CAMPAIGNS)]


def run(scratch: Path) -> Iterator[Measured]:
    """Throughput by workers, and what a killed worker and shared limits did to the rows."""
    if redis_server() is None:
        raise RuntimeError("redis-server is not installed")
    size = f"{CAMPAIGNS} campaigns of {LEADS:,} leads"
    with postgresql() as server:
        expected = _in_one_process(scratch / "one process", _new_database(server, "calm"))
        one = _Installation(scratch / "one", server, "one", ["first"])
        alone = one.throughput()
        different = one.differences(expected)
        two = _Installation(scratch / "two", server, "two", ["first", "second"])
        both = two.throughput()
        different += two.differences(expected)
        killed = _Installation(scratch / "killed", server, "killed", ["first", "second"])
        killed.throughput(kill="first")
        lost = killed.differences(expected)
        yield Measured("one worker", size, alone, "campaigns/min")
        yield Measured("two workers", size, both, "campaigns/min", alone, "one worker", 1.0, True)
        yield Measured("frames unlike those of one process", size, different, "frames", bound=0)
        yield Measured("the same, a worker killed", size, lost, "frames", bound=0)
        yield Measured("runs beside one a campaign", size, killed.retries, "runs", bound=2)
        sent = two.sent_by_shared_sender
        yield Measured(
            "sent by a shared sender", f"cap {SENT_EACH}", sent, "mails", bound=SENT_EACH
        )


class _Installation:
    """An installation that runs all campaigns once; afterwards only its rows are left."""

    def __init__(self, folder: Path, server: str, name: str, workers: list[str]) -> None:
        folder.mkdir()
        self._folder, self._workers = folder, workers
        self._dagster = _new_database(server, f"dagster_{name}", "postgresql+psycopg2")
        self._workspace = _prepare(folder / "home", _new_database(server, f"aicmo_{name}"))
        self.retries = 0
        self.sent_by_shared_sender = 0

    def throughput(self, kill: str | None = None) -> float:
        """Campaigns a minute, from the first launch to the last success."""
        with running_redis(self._folder) as broker:
            cluster = Cluster(self._folder, self._workspace.settings, broker, self._dagster)
            cluster.configure()
            os.environ.update(cluster.environment())
            try:
                with open_instance(self._workspace.settings) as instance:
                    port = cluster.start_dagster()
                    for worker in self._workers:
                        cluster.start_worker(worker)
                    cluster.await_workers(instance.run_launcher, len(self._workers))
                    return self._run_all(cluster, instance, port, kill)
            finally:
                cluster.stop()

    def differences(self, expected: dict[tuple[str, str], pd.DataFrame]) -> int:
        """How many frames are not the expected ones."""
        found = _frames(self._workspace)
        with self._workspace.database.read() as connection:
            sent = (state_counts(connection, key).get("accepted", 0) for key in SHARED)
            self.sent_by_shared_sender = sum(sent)
        self._workspace.database.close()
        return sum(not found[at].equals(frame) for at, frame in expected.items())

    def _run_all(
        self, cluster: Cluster, instance: dg.DagsterInstance, port: int, kill: str | None
    ) -> float:
        keys = [*KEYS, *SHARED]
        add_partitions(instance, keys)
        client = DagsterGraphQLClient("127.0.0.1", port_number=port)
        config = {"resources": {"clock": {"config": {"as_of": AS_OF}}}}
        begun = time.monotonic()
        for key in keys:
            tags = {"dagster/partition": key}
            client.submit_job_execution(full_pipeline_job.name, run_config=config, tags=tags)
        while (done := _succeeded(instance)) < len(keys):
            if kill and done >= len(keys) / 4:
                cluster.kill(kill)
                kill = None
            time.sleep(0.2)
        self.retries = instance.get_runs_count() - len(keys)
        return 60 * len(keys) / (time.monotonic() - begun)


def _succeeded(instance: dg.DagsterInstance) -> int:
    return instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))


def _prepare(home: Path, database_url: str) -> Workspace:
    """A workspace with all campaigns applied; nobody is in two of them."""
    home.mkdir(parents=True)
    workspace = open_test_workspace(home, database_url)
    for number, key in enumerate([*KEYS, *SHARED]):
        nurture = campaign_document()["nurture"]
        sender = "shared" if key in SHARED else key
        nurture["sender"]["address"] = f"{sender}@acme.example"
        nurture["caps"] = {"per_sender_per_day": SENT_EACH}
        leads = 100 if key in SHARED else LEADS
        path = apply(workspace, key, 0, nurture=nurture)
        path.write_text(leads_csv(leads, 1 + number * LEADS), encoding="utf-8")
    return workspace


def _in_one_process(home: Path, database_url: str) -> dict[tuple[str, str], pd.DataFrame]:
    """The rows that this process makes of the campaigns, one after the other."""
    workspace = _prepare(home, database_url)
    for key in KEYS:
        for stage in STAGES:
            STAGE_FUNCTIONS[stage](workspace, key, Clock(as_of=AS_OF))
    found = _frames(workspace)
    workspace.database.close()
    return found


def _frames(workspace: Workspace) -> dict[tuple[str, str], pd.DataFrame]:
    with workspace.database.read() as connection:
        return {(k, stage): read_frame(connection, stage, k) for k in KEYS for stage in STAGES}


def _new_database(server: str, name: str, driver: str = "postgresql") -> str:
    connection = psycopg2.connect(server)
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    url = sa.make_url(server).set(drivername=driver, database=name)
    return url.render_as_string(hide_password=False)
