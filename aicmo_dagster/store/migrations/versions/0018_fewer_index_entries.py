"""What a lead costs to be written: its decisions have one index, and its small rows none beside.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_SMALL = ("lead_aliases", "qualified_leads", "routed_leads", "enrolments")


def upgrade() -> None:
    """On SQLite small rows stand in their key's index itself. There is no way down."""
    op.drop_index("ix_decisions_lead", "decisions")
    op.drop_index("ix_decisions_stage", "decisions")
    op.create_index("ix_decisions_lead", "decisions", ["campaign", "lead_id", "stage", "id"])
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        # Else a view or a trigger of somebody else's would follow the table that goes.
        connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
        try:
            for table in _SMALL:
                _make_anew(connection, table)
        finally:
            connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")


def _make_anew(connection: sa.Connection, table: str) -> None:
    """The same table with the same indexes, triggers and rows, without numbers of rows."""
    stored = "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type = ? AND sql IS NOT NULL"
    made = connection.exec_driver_sql(stored, (table, "table")).scalar_one()
    beside = [
        statement
        for kind in ("index", "trigger")
        for statement in connection.exec_driver_sql(stored, (table, kind)).scalars()
    ]
    connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {table}_before")
    connection.exec_driver_sql(f"{made} WITHOUT ROWID")
    connection.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM {table}_before ORDER BY 1, 2")
    connection.exec_driver_sql(f"DROP TABLE {table}_before")  # and what is beside it
    for statement in beside:
        connection.exec_driver_sql(statement)
