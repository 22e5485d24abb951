"""A score's band and base; a campaign's models, and who promoted which of them when.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Scores that stand already have no band until they are scored again. There is no way down."""
    op.add_column("scored_leads", sa.Column("band", sa.Text()))
    op.add_column("scored_leads", sa.Column("base", sa.Double()))
    # Nothing has been written to it yet, and two campaigns may learn the same from the same leads.
    op.drop_table("models")
    op.create_table(
        "models",
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("campaign", "version", "kind", "state", "document", "metrics")
        ),
        sa.Column("trained_at", UtcInstant(), nullable=False),
        sa.PrimaryKeyConstraint("campaign", "version", name="pk_models"),
    )
    op.create_table(
        "model_changes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", UtcInstant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_changes"),
    )
    op.create_index("ix_model_changes_campaign", "model_changes", ["campaign", "id"])
