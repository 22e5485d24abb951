"""A month of 50 campaigns on a virtual clock: what Dagster's instance weighs after each week.

Every day some campaigns are harvested and all nurture together, through the real jobs; then a day
passes, and housekeeping and Dagster's own purge of ticks have their turn. The instance must weigh
within a tenth of what it weighed after the first week.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus

from aicmo_dagster.definitions import defs
from aicmo_dagster.defs.housekeeping import forget_runs
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.stages.housekeeping import AGES, compact_files
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.bench.ageing import age_history, sizes
from aicmo_dagster_tests.bench.cron_killing import apply_many, workspace_in
from aicmo_dagster_tests.bench.measure import Measured

CAMPAIGNS = 50
DAYS = 30
WEEK = 8
"""The day after which nothing is kept that the first day made."""

HARVESTS, NURTURES, TICKS = 5, 2, 200
"""A day."""

BOUND = 1.1
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run(scratch: Path) -> Iterator[Measured]:
    """The instance's weight at the end over that after the first week."""
    weights = month(scratch, DAYS)
    size = f"{CAMPAIGNS} campaigns, {DAYS} days"
    first, last = weights[WEEK - 1], weights[-1]
    yield Measured("instance, at the end", size, last, "MiB", first, "after the first week", BOUND)


def month(home: Path, days: int) -> list[float]:
    """MiB of all databases of the instance, at the end of each day."""
    weights = []
    keys = [f"c{number:02}" for number in range(CAMPAIGNS)]
    (home / "dagster").mkdir()
    with (
        workspace_in(home) as workspace,
        dg.instance_for_test(temp_dir=str(home / "dagster")) as instance,
    ):
        apply_many(workspace, keys, {}, datetime.now(UTC))
        for key in keys:
            register_campaign(instance, key)
        for day in range(days):
            _live(workspace, instance, keys, day)
            age_history(instance, timedelta(days=1))
            forget_runs(instance, datetime.now(UTC) - AGES.runs)
            _purge_ticks(instance)
            compact_files(workspace.settings)
            weights.append(sizes(instance) / 2**20)
    return weights


def _live(workspace: Workspace, instance: dg.DagsterInstance, keys: list[str], day: int) -> None:
    resources: dict[str, Any] = {"workspace": workspace, "clock": Clock()}
    harvested = [keys[(day * HARVESTS + n) % len(keys)] for n in range(HARVESTS)]
    lead_pipeline = defs.resolve_job_def("lead_pipeline_job")
    for key in harvested:
        lead_pipeline.execute_in_process(
            instance=instance, partition_key=key, resources=resources, run_config=_QUIET
        )
    config = {"ops": {"nurture_campaigns": {"config": {"campaigns": keys}}}}
    nurture = defs.resolve_job_def("shared_nurture_job")
    for _ in range(NURTURES):
        nurture.execute_in_process(
            instance=instance, resources=resources, run_config=_QUIET | config
        )
    for number in range(TICKS):
        _add_tick(instance, TickStatus.SUCCESS if number % 4 else TickStatus.SKIPPED)


def _add_tick(instance: dg.DagsterInstance, status: TickStatus) -> None:
    now = datetime.now(UTC).timestamp()
    instance.create_tick(
        TickData(
            instigator_origin_id="clock",
            instigator_name="campaign_clock",
            instigator_type=InstigatorType.SENSOR,
            status=status,
            timestamp=now,
            selector_id="clock",
        )
    )


def _purge_ticks(instance: dg.DagsterInstance) -> None:
    """As the daemon does, by `retention` in dagster.yaml."""
    now = datetime.now(UTC)
    for status, days in ((TickStatus.SKIPPED, 1), (TickStatus.SUCCESS, 7)):
        before = (now - timedelta(days=days)).timestamp()
        instance.purge_ticks("clock", "clock", before=before, tick_statuses=[status])
