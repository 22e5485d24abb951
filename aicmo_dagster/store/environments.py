"""The environment a database sends from, and how often it has claimed.

That is the database's half of what keeps a restored backup or a copy from sending all again. Not
here: the other half, which is kept outside of the database (`nurturing.fence`).
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.tables import environments


@dataclass(frozen=True)
class Stamp:
    """Whose a database is.

    Args:
        id: Of the database, given to it when it first sent.
        environment: A hash of where it sends from.
        claims: How many batches of sends have been claimed in it.
    """

    id: str
    environment: str
    claims: int


def read_stamp(connection: sa.Connection) -> Stamp | None:
    """The database's stamp; none if nothing was ever sent from it."""
    row = connection.execute(_STAMP).one_or_none()
    return Stamp(*row) if row else None


_STAMP = sa.select(environments.c.id, environments.c.environment, environments.c.claims)


def set_stamp(connection: sa.Connection, new_id: str, environment: str, now: datetime) -> Stamp:
    """The database sends from `environment`; `new_id` is its id if it has none yet."""
    take_turn(connection, "environment")
    if read_stamp(connection) is None:
        row = {"id": new_id, "environment": environment, "claims": 0, "since": now}
        connection.execute(sa.insert(environments).values(row))
    else:
        connection.execute(sa.update(environments).values(environment=environment))
    stamp = read_stamp(connection)
    assert stamp is not None
    return stamp


def renew_stamp(connection: sa.Connection, new_id: str, environment: str) -> Stamp | None:
    """The database goes on as `new_id` in `environment`; tells what it was, if it ever sent."""
    take_turn(connection, "environment")
    before = read_stamp(connection)
    connection.execute(sa.update(environments).values(id=new_id, environment=environment))
    return before


def count_claim(connection: sa.Connection) -> int:
    """One claim more; tells how many there were. In the claim's transaction, at its end."""
    return connection.scalar(_COUNT) or 0


_COUNT = (
    sa.update(environments)
    .values(claims=environments.c.claims + 1)
    .returning(environments.c.claims)
)
