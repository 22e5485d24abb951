"""Housekeeping: a job, each night, that keeps Dagster's history and ours from growing for ever.

Not here: for how long what is kept (`operating.housekeeping`).
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage

from aicmo_dagster.defs.resources import RESOURCES, Clock
from aicmo_dagster.stages.operating.housekeeping import AGES, Ages, compact_files, keep_house
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import run_history

PAGE = 500
_ENDED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]


@dg.op
def keep_history_short(
    context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace], clock: Clock
) -> None:
    """Old runs, events, logs, ticks and spools are gone; the ledger and decisions are not."""
    now = clock.now()
    gone = keep_house(workspace, now)
    gone["runs"] = forget_runs(context.instance, now - AGES.runs)
    gone["looks"] = forget_looks(context.instance, now)
    gone["compacted"] = compact_files(workspace.settings)
    context.log.info(", ".join(f"{count} {what}" for what, count in gone.items()))


@dg.job(description="Keep history from growing for ever.", resource_defs=RESOURCES)
def housekeeping_job() -> None:
    """One step."""
    keep_history_short()


housekeeping_schedule = dg.ScheduleDefinition(
    name="housekeeping_schedule",
    job=housekeeping_job,
    cron_schedule="30 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


def forget_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """Runs that were asked for before then and have ended are gone, with their events.

    A run that made the latest of some partition stays, since Dagster would forget that the
    partition was ever materialised; it goes when there is something later.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    with storage.index_connection() as connection:
        kept = run_history.latest_materialisers(connection)
    old = [run_id for run_id in _old_runs(instance, before) if run_id not in kept]
    for run_id in old:
        instance.delete_run(run_id)
        if isinstance(storage, SqliteEventLogStorage):
            _remove_shard(Path(storage.path_for_shard(run_id)))
    with storage.index_connection() as connection:
        run_history.forget_checks(connection, before)
        run_history.forget_events(connection, before)
    return len(old)


def forget_looks(instance: dg.DagsterInstance, now: datetime, ages: Ages = AGES) -> int:
    """Ticks of sensors and schedules that are too old are gone: those that did nothing soonest."""
    storage = instance.schedule_storage
    if not isinstance(storage, SqlScheduleStorage):
        return 0
    kept = {
        TickStatus.SKIPPED: ages.idle_looks,
        TickStatus.SUCCESS: ages.runs,
        TickStatus.FAILURE: ages.failed_looks,
        TickStatus.STARTED: ages.failed_looks,  # nobody will end it any more
    }
    with storage.connect() as connection:
        return sum(
            run_history.forget_ticks(connection, status.value, now - age)
            for status, age in kept.items()
        )


def _old_runs(instance: dg.DagsterInstance, before: datetime) -> Iterator[str]:
    wanted = dg.RunsFilter(statuses=_ENDED, created_before=before)
    cursor = None
    while page := instance.get_run_ids(wanted, cursor=cursor, limit=PAGE):
        yield from page
        cursor = page[-1]


def _remove_shard(path: Path) -> None:
    """Dagster empties the file of a deleted run and leaves it."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
