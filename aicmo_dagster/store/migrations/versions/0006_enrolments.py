"""Who is in a sequence now, each person once; and among which sequences a lead took its turn.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Leads routed before are enrolled by the next run that routes. There is no way down."""
    op.add_column("routed_leads", sa.Column("among", sa.Text()))
    op.create_table(
        "enrolments",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("lead_id", sa.Text(), nullable=False),
        sa.Column("person", sa.Text()),
        sa.Column("last_step", sa.Text(), nullable=False),
        sa.Column("since", UtcInstant(), nullable=False),
        sa.Column("ended_at", UtcInstant()),
        sa.PrimaryKeyConstraint("campaign", "lead_id", name="pk_enrolments"),
    )
    is_open = sa.text("ended_at IS NULL")
    op.create_index(
        "uq_enrolments_person",
        "enrolments",
        ["person"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
