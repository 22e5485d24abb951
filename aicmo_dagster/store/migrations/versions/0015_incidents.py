"""Incidents, told once when they begin and once when they are over; what files looked like.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """There are incidents and marks of sources. There is no way down."""
    _incidents()
    op.create_table(
        "source_marks",
        sa.Column("campaign", sa.Text(), primary_key=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("patterns", sa.Text(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("noted_at", UtcInstant(), nullable=False),
    )


def _incidents() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "incidents",
        sa.Column("id", number, primary_key=True),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("kind", "campaign", "subject", "reason", "run_id")
        ),
        sa.Column("opened_at", UtcInstant(), nullable=False),
        *(sa.Column(name, UtcInstant()) for name in ("closed_at", "told_at", "end_told_at")),
        sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("next_attempt_at", UtcInstant()),
        sa.Column("error", sa.Text()),
    )
    is_open = sa.text("closed_at IS NULL")
    op.create_index(
        "ix_incidents_open",
        "incidents",
        ["kind", "campaign", "subject"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    waits = sa.text("next_attempt_at IS NOT NULL")
    op.create_index(
        "ix_incidents_waiting",
        "incidents",
        ["next_attempt_at"],
        sqlite_where=waits,
        postgresql_where=waits,
    )
