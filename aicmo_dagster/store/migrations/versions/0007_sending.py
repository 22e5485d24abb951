"""Sending: what a claim and a message need to be settled, breakers, and the environment fence.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Sends say more of their claim, and are found by where they stand. There is no way down."""
    for column in (
        sa.Column("boot", sa.Text()),
        sa.Column("dated_at", UtcInstant()),
        sa.Column("fault", sa.Text()),
    ):
        op.add_column("nurture_sends", column)
    _indexes()
    _tables()


def _indexes() -> None:
    op.create_index("ix_nurture_sends_claimed", "nurture_sends", ["sender", "claimed_at"])
    for name, columns, where in (
        ("open", ["campaign", "state"], "state IN ('claimed', 'attempting', 'unknown')"),
        (
            "told",
            ["campaign", "state"],
            "state IN ('accepted', 'cancelled', 'deferred', 'rejected')",
        ),
    ):
        op.create_index(
            f"ix_nurture_sends_{name}",
            "nurture_sends",
            columns,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )


def _tables() -> None:
    op.create_table(
        "breakers",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("open_until", UtcInstant()),
        sa.PrimaryKeyConstraint("sender", "scope", name="pk_breakers"),
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("claims", sa.BigInteger(), nullable=False),
        sa.Column("since", UtcInstant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_environments"),
    )
