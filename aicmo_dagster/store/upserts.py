"""Single rows whose key may be there already, as both engines spell it.

Not here: many rows at once (`loading`).
"""

from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert_once(connection: sa.Connection, table: sa.Table, **values: object) -> bool:
    """A row with the primary key of `values` is in `table`; tells whether it is this one."""
    return connection.execute(_insertion(connection.dialect.name, table), values).rowcount == 1


@lru_cache(maxsize=256)
def _insertion(engine: str, table: sa.Table) -> sa.Insert:
    """A row is inserted unless its key is there; kept, since making it takes as long as it does."""
    dialect = postgresql if engine == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key))


def put_row(connection: sa.Connection, table: sa.Table, **values: object) -> None:
    """The row with the primary key of `values` has these values, whether it was there or not."""
    connection.execute(_replacement(connection.dialect.name, table, tuple(values)), values)


@lru_cache(maxsize=256)
def _replacement(engine: str, table: sa.Table, names: tuple[str, ...]) -> sa.Insert:
    """A row is inserted, or takes these values; kept for the reason that `_insertion` gives."""
    dialect = postgresql if engine == "postgresql" else sqlite
    statement, keys = dialect.insert(table), table.primary_key
    told = {name: statement.excluded[name] for name in names if name not in keys.columns}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=told)
