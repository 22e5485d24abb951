"""Links of one lead, addresses that mail went to, absences, and reminders of handoffs.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Sends and links know whose they are; handoffs may be escalated. There is no way down."""
    op.add_column("links", sa.Column("lead_id", sa.Text()))
    op.add_column("nurture_sends", sa.Column("address_key", sa.Text()))
    op.add_column("agenda", sa.Column("not_before", UtcInstant()))
    _escalations()


def _escalations() -> None:
    op.create_table(
        "escalations",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("campaign", "lead_id")),
        sa.Column("level", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("channel", "state", "key")),
        sa.Column("created_at", UtcInstant(), nullable=False),
        sa.Column("next_attempt_at", UtcInstant()),
        sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("worker", sa.Text()),
        sa.Column("transport", sa.Text()),
        sa.Column("finished_at", UtcInstant()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("campaign", "lead_id", "level", "channel", name="pk_escalations"),
    )
    is_open = sa.text("state IN ('due', 'attempting')")
    op.create_index(
        "ix_escalations_open",
        "escalations",
        ["next_attempt_at"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index(
        "ix_handoffs_open",
        "handoffs",
        ["created_at"],
        sqlite_where=sa.text("acknowledged_at IS NULL"),
        postgresql_where=sa.text("acknowledged_at IS NULL"),
    )
