"""Conditions of indexes that SQLite tests without making a table of their values for each row.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_INDEXES = {
    "ix_nurture_sends_unfollowed": (
        "nurture_sends",
        ["campaign"],
        "followed_at IS NULL AND (state = 'accepted' OR state = 'cancelled' OR state = 'rejected')",
    ),
    "ix_nurture_sends_open": (
        "nurture_sends",
        ["campaign", "state"],
        "state = 'attempting' OR state = 'claimed' OR state = 'unknown'",
    ),
    "ix_nurture_sends_told": (
        "nurture_sends",
        ["campaign", "state"],
        "state = 'accepted' OR state = 'cancelled' OR state = 'deferred' OR state = 'rejected'",
    ),
    "ix_events_told": (
        "events",
        ["campaign", "kind", "lead_id", "step", "happened_at"],
        "kind = 'bounce' OR kind = 'complaint' OR kind = 'reply' OR kind = 'unsubscribe'",
    ),
    "ix_provider_calls_open": (
        "provider_calls",
        ["provider"],
        "state = 'begun' OR state = 'pending' OR state = 'unknown'",
    ),
}


def upgrade() -> None:
    """The same indexes, their conditions spelled otherwise. There is no way down."""
    for name, (table, columns, condition) in _INDEXES.items():
        op.drop_index(name, table)
        where = sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
