"""What a harvest goes on from: pages of unfinished searches, balances, other names of people.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Three tables, all of them empty. There is no way down."""
    op.create_table(
        "search_pages",
        *_required(sa.Text(), "campaign", "search"),
        *_required(sa.BigInteger(), "page"),
        sa.Column("total", sa.BigInteger()),
        *_required(sa.Text(), "people"),
        *_required(UtcInstant(), "found_at"),
        sa.PrimaryKeyConstraint("campaign", "search", "page", name="pk_search_pages"),
    )
    op.create_table(
        "balance_marks",
        *_required(sa.Text(), "provider", "key_hash"),
        *_required(sa.Double(), "balance"),
        *_required(UtcInstant(), "read_at"),
        sa.PrimaryKeyConstraint("provider", name="pk_balance_marks"),
    )
    op.create_table(
        "person_aliases",
        *_required(sa.Text(), "provider", "alias", "person_key"),
        sa.PrimaryKeyConstraint("provider", "alias", name="pk_person_aliases"),
    )


def _required(kind: sa.types.TypeEngine, *names: str) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=False) for name in names]
