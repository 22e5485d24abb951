"""What is due at one instant is in one order, which the index has, so that nothing is sorted.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_DUE = sa.text("state IN ('planned', 'deferred')")


def upgrade() -> None:
    """The same index, by lead too. There is no way down."""
    op.drop_index("ix_nurture_sends_due", "nurture_sends")
    op.create_index(
        "ix_nurture_sends_due",
        "nurture_sends",
        ["campaign", "priority", "due_at", "lead_id"],
        sqlite_where=_DUE,
        postgresql_where=_DUE,
    )
