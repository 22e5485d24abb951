"""A month of 50 campaigns on a virtual clock: what Dagster's instance weighs after each week.

Every day ten campaigns are harvested, in one run as a backfill would, and all nurture together,
through the real jobs: each campaign is harvested anew before its last run may be forgotten. Then a
day passes, and housekeeping has its turn. The instance must weigh within a tenth of what it weighed
after the first week.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG as END,
)
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_START_TAG as START,
)

from aicmo_dagster.definitions import defs
from aicmo_dagster.defs.housekeeping import forget_looks, forget_runs
from aicmo_dagster.defs.partitions import register_campaign
from aicmo_dagster.defs.resources import Clock
from aicmo_dagster.stages.operating.housekeeping import AGES, compact_files
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.bench.ageing import age_history, sizes
from aicmo_dagster_tests.bench.cron_killing import apply_many, workspace_in
from aicmo_dagster_tests.bench.measure import Measured

CAMPAIGNS = 50
DAYS = 30
WEEK = 8
"""The day after which nothing is kept that the first day made."""

HARVESTS, TICKS = 10, 60
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
            forget_looks(instance, datetime.now(UTC))
            compact_files(workspace.settings)
            weights.append(sizes(instance) / 2**20)
    return weights


def _live(workspace: Workspace, instance: dg.DagsterInstance, keys: list[str], day: int) -> None:
    resources: dict[str, Any] = {"workspace": workspace, "clock": Clock()}
    first = day * HARVESTS % len(keys)
    batch = {START: keys[first], END: keys[first + HARVESTS - 1]}
    defs.resolve_job_def("lead_pipeline_job").execute_in_process(
        instance=instance, tags=batch, resources=resources, run_config=_QUIET
    )
    config = {"ops": {"nurture_campaigns": {"config": {"campaigns": keys}}}}
    defs.resolve_job_def("shared_nurture_job").execute_in_process(
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
            run_ids=[] if status == TickStatus.SUCCESS else None,
            selector_id="clock",
        )
    )
