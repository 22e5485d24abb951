"""Signs of life: when something that ought to run again and again last ran."""

from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.tables import heartbeats
from aicmo_dagster.store.upserts import put_row

CLOCK = "campaign_clock"


def beat(connection: sa.Connection, name: str, now: datetime) -> None:
    """`name` was alive at `now`."""
    put_row(connection, heartbeats, name=name, beat_at=now)


def last_beat(connection: sa.Connection, name: str) -> datetime | None:
    """When `name` was last alive; None if it never was."""
    return connection.scalar(sa.select(heartbeats.c.beat_at).where(heartbeats.c.name == name))
