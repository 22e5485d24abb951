"""How Arrow holds what a column of ours holds, and how many rows go through it at a time.

Not here: what puts frames in (`loading`) and gets them out (`fetching`), how an engine holds an
instant (`tables.UtcInstant`).
"""

import pyarrow as pa
import sqlalchemy as sa

from aicmo_dagster.store.tables import UtcInstant

BATCH = 10_000
"""Rows at a time. With 32 columns, 50,000 cost a third more: they outgrow the processor's cache."""

INSTANT = pa.timestamp("us", tz="UTC")
"""How frames hold an instant."""


def arrow_type(kind: sa.types.TypeEngine) -> pa.DataType:
    """What a column of the SQL type `kind` is in a frame."""
    if isinstance(kind, UtcInstant):
        return INSTANT
    if isinstance(kind, sa.Boolean):
        return pa.bool_()
    if isinstance(kind, sa.Integer):
        return pa.int64()
    return pa.float64() if isinstance(kind, sa.Float) else pa.string()
