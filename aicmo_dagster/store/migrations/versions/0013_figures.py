"""Indexes that figures are counted by: rare events apart from opens and clicks, failed ticks.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Nothing but indexes. There is no way down."""
    told = sa.text("kind IN ('bounce', 'complaint', 'reply', 'unsubscribe')")
    op.create_index(
        "ix_events_told",
        "events",
        ["campaign", "kind", "lead_id", "step", "happened_at"],
        sqlite_where=told,
        postgresql_where=told,
    )
    failed = sa.text("state = 'failed'")
    op.create_index(
        "ix_ticks_failed", "ticks", ["due_at"], sqlite_where=failed, postgresql_where=failed
    )
