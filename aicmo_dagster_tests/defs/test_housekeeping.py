"""Dagster's history stays as short as it is told to, and forgets nothing that is the latest."""

import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._utils.error import SerializableErrorInfo

from aicmo_dagster.defs.housekeeping import forget_looks, forget_runs, housekeeping_job
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.stages.operating.housekeeping import AGES
from aicmo_dagster.store.files import compact
from aicmo_dagster.store.results import record_success
from aicmo_dagster_tests.bench.ageing import age_history, counts, sizes
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

LEADS = dg.AssetKey("leads")
partitions = dg.StaticPartitionsDefinition(["a", "b"])


@dg.asset(partitions_def=partitions)
def leads() -> None:
    """As plain as can be."""


@dg.asset_check(asset=leads)
def leads_are_there() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path_factory.mktemp("dagster"))) as made:
        yield made


def run(instance: dg.DagsterInstance, partition: str) -> str:
    made = dg.materialize([leads, leads_are_there], instance=instance, partition_key=partition)
    return made.run_id


def test_history_is_bounded_by_age_and_the_latest_of_each_partition_stays(
    instance: dg.DagsterInstance,
) -> None:
    only, old, new = run(instance, "a"), run(instance, "b"), run(instance, "b")
    now = datetime.now(UTC)

    assert forget_runs(instance, now - AGES.runs) == 0
    age_history(instance, AGES.runs + timedelta(hours=1))
    assert forget_runs(instance, now - AGES.runs) == 1

    assert {each.run_id for each in instance.get_runs()} == {only, new}
    assert instance.get_materialized_partitions(LEADS) == {"a", "b"}
    home = Path(instance.root_directory)
    assert not list(home.rglob(f"{old}*.db*"))
    assert list(home.rglob(f"{new}*.db"))
    assert counts(instance)["asset_check_executions"] == 1
    summary = instance.event_log_storage.get_asset_check_execution_history
    assert len(summary(dg.AssetCheckKey(LEADS, "leads_are_there"), limit=9)) == 1


def test_from_the_second_week_on_history_grows_no_more(instance: dg.DagsterInstance) -> None:
    seen = []
    for _ in range(9):
        run(instance, "a")
        age_history(instance, timedelta(days=1))
        forget_runs(instance, datetime.now(UTC) - AGES.runs)
        seen.append(counts(instance))

    assert seen[7] == seen[8]
    assert seen[3]["runs"] < seen[7]["runs"] <= AGES.runs.days + 3
    assert sizes(instance) > 0


def test_looks_that_did_nothing_are_forgotten_soonest_and_failed_ones_last(
    instance: dg.DagsterInstance,
) -> None:
    ended = (TickStatus.SKIPPED, TickStatus.SUCCESS, TickStatus.FAILURE, TickStatus.STARTED)
    now = datetime.now(UTC)
    error = SerializableErrorInfo("it failed", [], None)
    for status in ended:
        told: Any = {
            TickStatus.SUCCESS: {"run_ids": []},
            TickStatus.FAILURE: {"error": error},
        }.get(status, {})
        kind = InstigatorType.SENSOR
        instance.create_tick(TickData("clock", "clock", kind, status, now.timestamp(), **told))

    def kept_after(days: float) -> set[TickStatus]:
        forget_looks(instance, now + timedelta(days=days))
        return {tick.status for tick in instance.get_ticks("clock", "clock")}

    assert kept_after(0.9) == {*ended}
    assert kept_after(1.1) == {*ended[1:]}
    assert kept_after(7.1) == {*ended[2:]}
    assert kept_after(30.1) == set()


def test_the_job_prunes_our_history_too_and_keeps_the_ledger(
    tmp_path: Path, new_sqlite: Any, instance: dg.DagsterInstance
) -> None:
    workspace = open_test_workspace(tmp_path, new_sqlite())
    apply(workspace, "spring", 1)
    for at in (NOON, NOON + timedelta(days=1)):
        times = {"run_id": "r", "started_at": at, "finished_at": at}
        with workspace.database.write() as connection:
            rows = {"rows_in": 1, "rows_out": 1, "figures": {}}
            record_success(connection, "spring", "raw_leads", **times, **rows)
    refused = workspace.settings.spool / "1.refused"
    log = workspace.settings.dagster_home / "storage" / "r" / "compute_logs" / "a.err"
    copy = workspace.settings.copies / "left" / "copy"
    for path in (refused, log, copy):
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (NOON.timestamp(), NOON.timestamp()))
    os.utime(copy.parent, (NOON.timestamp(), NOON.timestamp()))
    os.utime(log.parent, (NOON.timestamp(), NOON.timestamp()))
    later = NOON + timedelta(days=100)

    clock = Clock(as_of=later.isoformat())
    result = housekeeping_job.execute_in_process(
        instance=instance, resources={"workspace": workspace, "clock": clock}
    )

    assert result.success
    with workspace.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT finished_at FROM stage_results").all()
    assert len(rows) == 1, "the latest success stays"
    assert not refused.exists()
    assert not log.exists()
    assert not copy.parent.exists()
    workspace.database.close()


def test_a_file_is_written_anew_only_if_much_of_it_is_free(new_sqlite: Any) -> None:
    path = Path(new_sqlite().removeprefix("sqlite:///"))
    assert not compact(path)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE big AS SELECT randomblob(2000000) AS b")
        connection.execute("DROP TABLE big")
    connection.close()
    before = path.stat().st_size
    assert compact(path)
    assert path.stat().st_size < before / 2
    assert not compact(path.with_name("none.db"))
