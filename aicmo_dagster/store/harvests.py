"""What intake remembers of a campaign's harvests: aliases of its leads, and rows it refused.

Not here: telling people apart (`domain.intake`), or the leads themselves (`frames`).
"""

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.store.database import bulk_insert, fetch_frame, staged
from aicmo_dagster.store.tables import lead_aliases, rejects


def read_aliases(connection: sa.Connection, campaign: str) -> pd.DataFrame:
    """Every identity that leads of the campaign were seen under: ``alias`` to ``lead_id``."""
    aliases = lead_aliases.c
    statement = sa.select(aliases.alias, aliases.lead_id).where(aliases.campaign == campaign)
    return fetch_frame(connection, statement.order_by(aliases.alias))


def put_aliases(connection: sa.Connection, campaign: str, frame: pd.DataFrame) -> None:
    """Each alias of `frame` leads to its lead, whoever it led to before."""
    with staged(connection, lead_aliases, frame[["alias", "lead_id"]], campaign=campaign) as put:
        moved = lead_aliases.c.alias.in_(sa.select(put.c.alias))
        connection.execute(lead_aliases.delete().where(lead_aliases.c.campaign == campaign, moved))
        columns = ["campaign", "alias", "lead_id"]
        rows = sa.select(*(put.c[name] for name in columns))
        connection.execute(lead_aliases.insert().from_select(columns, rows))


def replace_rejects(connection: sa.Connection, campaign: str, frame: pd.DataFrame) -> None:
    """The campaign's refused rows are those of `frame`.

    Args:
        connection: From `Database.write`.
        campaign: The campaign's key.
        frame: One row a refused row: ``source``, ``file``, ``row``, ``reason``, ``content``.
    """
    connection.execute(rejects.delete().where(rejects.c.campaign == campaign))
    columns = ["source", "file", "row", "reason", "content"]
    bulk_insert(connection, rejects, frame[columns], campaign=campaign)


def reject_counts(connection: sa.Connection, campaign: str) -> dict[str, int]:
    """Reason to how many rows were refused for it."""
    statement = (
        sa.select(rejects.c.reason, sa.func.count())
        .where(rejects.c.campaign == campaign)
        .group_by(rejects.c.reason)
        .order_by(rejects.c.reason)
    )
    return dict(connection.execute(statement).all())
