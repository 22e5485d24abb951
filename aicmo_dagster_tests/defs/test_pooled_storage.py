"""The connections that Dagster's storage keeps: how many, and what becomes of them."""

import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest
import sqlalchemy as sa
from ruamel.yaml import YAML

from aicmo_dagster.defs.pooled_storage import KEPT
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.defs.sensors import campaign_clock
from aicmo_dagster_tests.bench.system import wait_until
from aicmo_dagster_tests.conftest import NewDatabase
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.test_deploy import read
from aicmo_dagster_tests.workspaces import open_test_workspace

DATABASE = "pooled_dagster"
THREADS = 12
OTHERS = f"FROM pg_stat_activity WHERE datname = '{DATABASE}' AND pid != pg_backend_pid()"


@pytest.fixture(scope="module")
def server(postgresql_server: str) -> Iterator[sa.URL]:
    """The URL of a database for Dagster itself, with its tables."""
    url = sa.make_url(postgresql_server).set(drivername="postgresql+psycopg2")
    with closing(psycopg2.connect(postgresql_server)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {DATABASE}")
        yield url.set(database=DATABASE)
        connection.cursor().execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture
def instance(
    server: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """An instance with the storage that deploy/dagster.yaml has."""
    url = server.render_as_string(hide_password=False)
    monkeypatch.setenv("AICMO_DAGSTER_DATABASE_URL", url)
    deployed = {"storage": read("dagster.yaml")["storage"], "telemetry": {"enabled": False}}
    with (tmp_path / "dagster.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(deployed, file)
    with dg.DagsterInstance.from_config(str(tmp_path)) as opened:
        yield opened


@pytest.fixture
def admin(server: sa.URL) -> Iterator[Any]:
    """Asks the server, and is none of the storage's connections."""
    url = server.set(drivername="postgresql", database="postgres")
    with closing(psycopg2.connect(url.render_as_string(hide_password=False))) as connection:
        connection.autocommit = True
        yield connection.cursor()


def storages(instance: dg.DagsterInstance) -> tuple[Any, Any, Any]:
    assert instance.schedule_storage is not None
    return instance.run_storage, instance.event_log_storage, instance.schedule_storage


@contextmanager
def connected(storage: Any) -> Iterator[sa.Connection]:
    with (storage.connect if hasattr(storage, "connect") else storage.index_connection)() as made:
        yield made


def processes(admin: Any) -> list[int]:
    """The processes of the server that work for the storage."""
    admin.execute(f"SELECT pid {OTHERS}")
    return sorted(pid for (pid,) in admin.fetchall())


def test_no_thread_waits_for_a_connection_and_few_stay(
    instance: dg.DagsterInstance, admin: Any
) -> None:
    """As many as there are threads hold one at once, and each asks for another within."""
    together = threading.Barrier(THREADS)

    def hold(storage: Any) -> None:
        with connected(storage), connected(storage):
            together.wait(timeout=60)

    with ThreadPoolExecutor(THREADS) as threads:
        holding = [threads.submit(hold, each) for each in storages(instance) * (THREADS // 3)]
        for done in holding:
            done.result(timeout=60)
    wait_until(lambda: len(processes(admin)) == KEPT, 10, "the end of those that are not kept")


def test_no_statement_is_lost_when_the_server_ends_the_connections_that_rest(
    instance: dg.DagsterInstance,
    admin: Any,
    tmp_path: Path,
    new_sqlite: NewDatabase,
    caplog: pytest.LogCaptureFixture,
) -> None:
    workspace = open_test_workspace(tmp_path, new_sqlite())
    resources = {"workspace": workspace, "clock": Clock(as_of=NOON.isoformat())}
    before = set()
    with closing(workspace.database):
        for _ in range(2):
            with ExitStack() as held:
                for storage in storages(instance)[:KEPT]:
                    held.enter_context(connected(storage))
            before |= set(processes(admin))
            admin.execute(f"SELECT pg_terminate_backend(pid, 1000) {OTHERS}")
            context = dg.build_sensor_context(instance=instance, resources=resources)
            assert isinstance(campaign_clock(context), dg.SensorResult)
            instance.add_dynamic_partitions("campaign", ["spring"])

    assert len(before) >= 2 * KEPT
    assert before.isdisjoint(processes(admin))
    assert caplog.messages == []  # of tries that were repeated


def test_an_instance_that_is_closed_keeps_no_connection_and_may_be_asked_again(
    instance: dg.DagsterInstance, admin: Any
) -> None:
    instance.get_runs_count()
    assert processes(admin)
    instance.dispose()
    wait_until(lambda: not processes(admin), 10, "the end of the connections")
    assert instance.get_runs_count() == 0


def test_in_the_web_server_no_storage_waits_for_long_and_they_share_connections_too(
    instance: dg.DagsterInstance, admin: Any
) -> None:
    instance.optimize_for_webserver(statement_timeout=20, pool_recycle=3600, max_overflow=20)
    for storage in storages(instance):
        with connected(storage) as made, pytest.raises(sa.exc.OperationalError, match="timeout"):
            made.execute(sa.text("SELECT pg_sleep(5)"))
    wait_until(lambda: len(processes(admin)) == 1, 10, "the end of what opened the storage")


def test_a_schema_that_has_what_is_needed_is_not_asked_for_it_again(
    instance: dg.DagsterInstance,
) -> None:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement.partition("\n")[0])

    runs, _, schedules = storages(instance)
    with connected(runs) as made:
        sa.event.listen(made.engine, "before_cursor_execute", note)
    for _ in range(2):
        statements.clear()
        schedules.get_instigator_state("origin", "selector")
        runs.get_run_records()

    assert [statement.split()[1] for statement in statements] == [
        "instigators.instigator_body",
        "runs.id,",
    ]


def test_a_forked_process_leaves_its_parents_connections_alone(
    instance: dg.DagsterInstance,
) -> None:
    def count() -> None:
        for _ in range(50):
            instance.get_runs_count()

    count()
    forked = multiprocessing.get_context("fork").Process(target=count)
    forked.start()
    count()
    forked.join(timeout=30)
    alive = forked.is_alive()
    forked.kill()
    assert (alive, forked.exitcode) == (False, 0)
