"""Campaigns spread over two Celery workers, one of which is killed, end as in one process.

The daemon's part, failing the lost run and starting it again, is played here by the test; the
benchmark `workers` has all processes. Redis is Debian's redis-server; .ci/run installs it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pandas as pd
import psycopg2
import pytest
import sqlalchemy as sa
from dagster._core.launcher import WorkerStatus
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from aicmo_dagster.definitions import defs
from aicmo_dagster.defs.assets import STAGE_FUNCTIONS
from aicmo_dagster.defs.jobs import full_pipeline_job
from aicmo_dagster.defs.partitions import add_partitions
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.defs.runs import fail_abandoned_runs, open_instance
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster_tests.bench.cluster import Cluster, launch, redis_server, running_redis
from aicmo_dagster_tests.samples import NOON, leads_csv
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(redis_server() is None, reason="redis-server is not installed"),
    # dagster-celery makes its task anew for each run.
    pytest.mark.filterwarnings("ignore::celery.exceptions.DuplicateTaskNameWarning"),
]

KEYS = ("ash", "birch")
LEADS = 20
SECONDS = 180
"""The patience of whoever waits: two workers share two processors with other tests."""

Frames = dict[tuple[str, str], pd.DataFrame]
"""By campaign and stage."""


@pytest.fixture
def dagster_url(postgresql_server: str) -> Iterator[str]:
    """The URL of an empty database for Dagster itself."""
    with closing(psycopg2.connect(postgresql_server)) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE celery_dagster")
        url = sa.make_url(postgresql_server).set(drivername="postgresql+psycopg2")
        yield url.set(database="celery_dagster").render_as_string(hide_password=False)
        connection.cursor().execute("DROP DATABASE celery_dagster WITH (FORCE)")


@pytest.fixture
def cluster(
    tmp_path: Path,
    new_postgresql: Callable[[], str],
    dagster_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Cluster]:
    home = open_test_workspace(tmp_path, new_postgresql())
    with running_redis(tmp_path) as broker:
        made = Cluster(tmp_path, home.settings, broker, dagster_url)
        made.configure()
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        for worker in ("one", "two"):
            made.start_worker(worker)
        try:
            yield made
        finally:
            made.stop()
            home.database.close()


def frames(workspace: Workspace) -> Frames:
    with workspace.database.read() as connection:
        return {(k, stage): read_frame(connection, stage, k) for k in KEYS for stage in STAGES}


def prepare(folder: Path, database_url: str) -> Workspace:
    """A workspace with the campaigns applied, none of whose leads is another's."""
    folder.mkdir(exist_ok=True)
    workspace = open_test_workspace(folder, database_url)
    for number, key in enumerate(KEYS):
        apply(workspace, key, 0).write_text(leads_csv(LEADS, 1 + number * LEADS), encoding="utf-8")
    return workspace


@pytest.fixture
def in_one_process(tmp_path: Path, new_sqlite: Callable[[], str]) -> Frames:
    """The rows that one process makes of the campaigns."""
    workspace = prepare(tmp_path / "calm", new_sqlite())
    for key in KEYS:
        for stage in STAGES:
            STAGE_FUNCTIONS[stage](workspace, key, Clock(as_of=NOON.isoformat()))
    found = frames(workspace)
    workspace.database.close()
    return found


def await_started(instance: dg.DagsterInstance, run_ids: list[str], count: int) -> None:
    await_(lambda: len(in_state(instance, run_ids, dg.DagsterRunStatus.STARTED)) == count)


def in_state(
    instance: dg.DagsterInstance, run_ids: list[str], status: dg.DagsterRunStatus
) -> list[dg.DagsterRun]:
    return instance.get_runs(dg.RunsFilter(run_ids=run_ids, statuses=[status]))


def await_(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def starting_at(instance: dg.DagsterInstance, worker_of: dg.DagsterRun) -> str:
    """A run that the worker of another has taken and not begun; tells its id."""
    task = {DAGSTER_CELERY_TASK_ID_TAG: worker_of.tags[DAGSTER_CELERY_TASK_ID_TAG]}
    job = defs.resolve_job_def(full_pipeline_job.name)
    status = dg.DagsterRunStatus.STARTING
    return instance.create_run_for_job(job, status=status, tags=task).run_id


def lost_runs(instance: dg.DagsterInstance, started: list[dg.DagsterRun]) -> list[dg.DagsterRun]:
    health = instance.run_launcher.check_run_worker_health
    return [run for run in started if health(run).status == WorkerStatus.FAILED]


def test_a_killed_worker_costs_a_retry_and_no_row(cluster: Cluster, in_one_process: Frames) -> None:
    """Both workers are held up at the same table, so that both are in the middle of a run."""
    workspace = prepare(cluster.settings.home, cluster.settings.database_url)
    as_of = NOON.isoformat()
    with open_instance(cluster.settings) as instance:
        add_partitions(instance, KEYS)
        cluster.await_workers(instance.run_launcher, 2)
        with workspace.database.write() as blocking:
            blocking.execute(sa.text("LOCK TABLE scored_leads IN ACCESS EXCLUSIVE MODE"))
            runs = {launch(instance, key, as_of): key for key in KEYS}
            await_started(instance, list(runs), 2)
            started = in_state(instance, list(runs), dg.DagsterRunStatus.STARTED)
            assert lost_runs(instance, started) == []
            cluster.kill("one")
            (lost,) = lost_runs(instance, started)
            instance.report_run_failed(lost)
            waiting = {run.run_id: starting_at(instance, run) for run in started}
            fail_abandoned_runs(instance)
            (failed,) = in_state(instance, [*waiting.values()], dg.DagsterRunStatus.FAILURE)
            assert failed.run_id == waiting[lost.run_id]
        again = launch(instance, runs.pop(lost.run_id), as_of)
        await_(
            lambda: (
                len(in_state(instance, [*runs, again], dg.DagsterRunStatus.SUCCESS)) == len(KEYS)
            )
        )
    found = frames(workspace)
    workspace.database.close()
    for at, frame in in_one_process.items():
        pd.testing.assert_frame_equal(found[at], frame)
    assert len(list((cluster.settings.home / "outbox").glob("*.eml"))) == len(KEYS) * LEADS
