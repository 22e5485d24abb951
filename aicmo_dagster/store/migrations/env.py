"""Alembic's entry: runs the revisions on the connection and in the transaction that it is handed.

Not here: which connection that is (`store.migrations`). There is no alembic.ini, no other way in.
"""

from alembic import context

from aicmo_dagster.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite's too: a schema is there as a whole or not at all
)
context.run_migrations()
