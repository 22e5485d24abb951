"""A run of the cron whose process is killed under a real daemon: one tick, one good run."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.defs.sensors import campaign_clock
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.bench.cron_killing import SOON, aftermath, apply_many, workspace_in
from aicmo_dagster_tests.bench.system import CODE, System, wait_until

pytestmark = pytest.mark.long


def seen(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> Callable[[], int]:
    return lambda: instance.get_runs_count(dg.RunsFilter(statuses=[status]))


def look(workspace: Workspace, instance: dg.DagsterInstance) -> None:
    """What the daemon would do seconds later."""
    resources: dict[str, Any] = {"workspace": workspace, "clock": Clock()}
    campaign_clock(dg.build_sensor_context(instance=instance, resources=resources))


def test_a_tick_whose_run_was_killed_ends_in_one_good_run(tmp_path: Path) -> None:
    earlier = datetime.now(UTC) - timedelta(minutes=5)
    system = System(tmp_path, **SOON)
    with workspace_in(tmp_path) as workspace:
        schedule = {"harvest": f"{earlier.minute} {earlier.hour} * * *"}
        apply_many(workspace, ["spring"], schedule, earlier - timedelta(minutes=1))
        try:
            system.start(CODE)
            system.wait_for_code()
            system.start("daemon")
            with system.instance() as instance:
                wait_until(system.run_workers, 60, "the process of a run")
                for worker in system.run_workers():
                    worker.kill()
                wait_until(seen(instance, dg.DagsterRunStatus.FAILURE), 60, "its failure")
                wait_until(seen(instance, dg.DagsterRunStatus.SUCCESS), 60, "another try")
        finally:
            system.stop()
        with system.instance() as instance:
            look(workspace, instance)
            after = aftermath(workspace, instance, {})

    assert (after.ticks, after.runs) == (1, 2)
    assert after.states == {"succeeded": 1}
    assert after.doubled == after.unlike == 0
