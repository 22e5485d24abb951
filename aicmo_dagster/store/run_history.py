"""Dagster's own tables, asked and pruned where its interface has no way to.

Every statement here is pinned by a test that runs against the installed Dagster. Not here: deleting
runs, which Dagster does (`defs.housekeeping`), or tables of ours.
"""

from datetime import UTC, datetime

import sqlalchemy as sa

_LATEST_RUNS = sa.text(
    "SELECT DISTINCT run_id FROM event_logs WHERE id IN ("
    " SELECT MAX(id) FROM event_logs"
    " WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND asset_key IS NOT NULL"
    " GROUP BY asset_key, partition)"
)
_OLD_CHECKS = sa.text(
    "DELETE FROM asset_check_executions WHERE create_timestamp < :before AND id NOT IN ("
    " SELECT MAX(id) FROM asset_check_executions GROUP BY asset_key, check_name, partition)"
)
_OLD_EVENTS = sa.text(
    "DELETE FROM event_logs WHERE timestamp < :before AND id NOT IN ("
    " SELECT MAX(id) FROM event_logs WHERE asset_key IS NOT NULL"
    " GROUP BY asset_key, partition, dagster_event_type)"
)
_OLD_TICKS = sa.text("DELETE FROM job_ticks WHERE timestamp < :before AND status = :status")


def latest_materialisers(connection: sa.Connection) -> set[str]:
    """The runs that made what is the latest of some asset and partition.

    Deleting such a run would take away that the partition was ever materialised.
    """
    return set(connection.scalars(_LATEST_RUNS))


def forget_checks(connection: sa.Connection, before: datetime) -> int:
    """Results of checks from before then are gone, the latest of each partition excepted."""
    return connection.execute(_OLD_CHECKS, {"before": _plain(before)}).rowcount


def forget_events(connection: sa.Connection, before: datetime) -> int:
    """Events from before then are gone, the latest of each kind, asset and partition excepted."""
    return connection.execute(_OLD_EVENTS, {"before": _plain(before)}).rowcount


def forget_ticks(connection: sa.Connection, status: str, before: datetime) -> int:
    """Ticks of sensors and schedules that ended so, from before then, are gone."""
    bound = {"before": _plain(before), "status": status}
    return connection.execute(_OLD_TICKS, bound).rowcount


def _plain(instant: datetime) -> datetime:
    """As Dagster stores instants: in UTC, without saying so."""
    return instant.astimezone(UTC).replace(tzinfo=None)
