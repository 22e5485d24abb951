"""Where leads come from: their sources, the origins of their fields, and kinds of addresses.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Leads from before are of the one source they name. There is no way down.

    What kind of address a lead has is told at the next harvest.
    """
    for name in ("address_kind", "sources", "origins"):
        op.add_column("raw_leads", sa.Column(name, sa.Text()))
    op.execute("UPDATE raw_leads SET sources = source, origins = '{}'")
    with op.batch_alter_table("raw_leads") as table:  # SQLite can do it only by copying the table
        table.alter_column("sources", existing_type=sa.Text(), nullable=False)
        table.alter_column("origins", existing_type=sa.Text(), nullable=False)
