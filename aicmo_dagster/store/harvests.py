"""What intake remembers of a campaign's harvests: aliases of its leads, rows it refused, counts.

Not here: telling people apart (`domain.intake`), or the leads themselves (`frames`).
"""

from collections import Counter
from collections.abc import Iterable
from typing import Literal

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.provenance import SEPARATOR
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.loading import bulk_insert, staged
from aicmo_dagster.store.tables import FRAME_TABLES, lead_aliases, rejects

_RAW = FRAME_TABLES["raw_leads"]


def read_aliases(connection: sa.Connection, campaign: str) -> pd.DataFrame:
    """Every identity that leads of the campaign were seen under: ``alias`` to ``lead_id``."""
    aliases = lead_aliases.c
    statement = sa.select(aliases.alias, aliases.lead_id).where(aliases.campaign == campaign)
    return fetch_frame(connection, statement.order_by(aliases.alias))


def put_aliases(connection: sa.Connection, campaign: str, frame: pd.DataFrame) -> None:
    """Each alias of `frame` leads to its lead, whoever it led to before."""
    first = sa.select(lead_aliases.c.alias).where(lead_aliases.c.campaign == campaign).limit(1)
    if connection.scalar(first) is None:  # nothing to move, and there are the most of them
        bulk_insert(connection, lead_aliases, frame[["alias", "lead_id"]], campaign=campaign)
        return
    with staged(connection, lead_aliases, frame[["alias", "lead_id"]], campaign=campaign) as put:
        moved = lead_aliases.c.alias.in_(sa.select(put.c.alias))
        connection.execute(lead_aliases.delete().where(lead_aliases.c.campaign == campaign, moved))
        columns = ["campaign", "alias", "lead_id"]
        rows = sa.select(*(put.c[name] for name in columns))
        connection.execute(lead_aliases.insert().from_select(columns, rows))


def replace_rejects(
    connection: sa.Connection, campaign: str, frames: Iterable[pd.DataFrame]
) -> None:
    """The campaign's refused rows are those of `frames`.

    Args:
        connection: From `Database.write`.
        campaign: The campaign's key.
        frames: One row a refused row: ``source``, ``file``, ``row``, ``reason``, ``content``.
    """
    connection.execute(rejects.delete().where(rejects.c.campaign == campaign))
    columns = ["source", "file", "row", "reason", "content"]
    for frame in frames:
        bulk_insert(connection, rejects, frame[columns], campaign=campaign)


def reject_counts(
    connection: sa.Connection, campaign: str, by: Literal["reason", "source"] = "reason"
) -> dict[str, int]:
    """Reason, or source, to how many rows were refused, the most frequent first."""
    count = sa.func.count()
    statement = (
        sa.select(rejects.c[by], count)
        .where(rejects.c.campaign == campaign)
        .group_by(rejects.c[by])
        .order_by(count.desc(), rejects.c[by])
    )
    return dict(connection.execute(statement).all())


def address_counts(connection: sa.Connection, campaign: str) -> dict[str, int]:
    """Kind of address to how many leads have such a one; `none` to how many have none at all.

    A kind that is not known yet, of leads that were harvested before there were any, is `unknown`.
    """
    unknown = sa.case((_RAW.c.email.is_(None), "none"), else_="unknown")
    kind = sa.func.coalesce(_RAW.c.address_kind, unknown).label("kind")
    statement = sa.select(kind, sa.func.count()).where(_RAW.c.campaign == campaign)
    return dict(connection.execute(statement.group_by("kind").order_by("kind")).all())


def source_overlaps(connection: sa.Connection, campaign: str) -> dict[tuple[str, ...], int]:
    """The sources that hold the same leads, to how many those are; the most frequent first."""
    count = sa.func.count()
    statement = (
        sa.select(_RAW.c.sources, count)
        .where(_RAW.c.campaign == campaign)
        .group_by(_RAW.c.sources)
        .order_by(count.desc(), _RAW.c.sources)
    )
    rows = connection.execute(statement)
    return {tuple(sources.split(SEPARATOR)): number for sources, number in rows}


def leads_by_source(connection: sa.Connection, campaign: str) -> Counter[str]:
    """Source to how many leads it ever held; a lead of two sources counts for both."""
    counts: Counter[str] = Counter()
    for sources, number in source_overlaps(connection, campaign).items():
        counts.update(dict.fromkeys(sources, number))
    return counts
