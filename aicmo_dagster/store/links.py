"""Where the links in messages lead: a name to a URL, by campaign.

A URL that was made for one lead is that lead's, and vanishes with it. Not here: making names and
tokens (`domain.links`).
"""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.domain.tracking import Link
from aicmo_dagster.store.tables import links


def keep_links(
    connection: sa.Connection, campaign: str, targets: Mapping[str, Link], now: datetime
) -> None:
    """Each name leads to its URL; commit before a message with it leaves. Again is fine."""
    if not targets:
        return
    rows = [
        {
            "campaign": campaign,
            "link": name,
            "url": link.url,
            "lead_id": link.lead_id,
            "created_at": now,
        }
        for name, link in sorted(targets.items())  # two writers must not wait for each other
    ]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(links).on_conflict_do_nothing(), rows)


def find_link(connection: sa.Connection, campaign: str, link: str) -> str | None:
    """Where the link leads; nothing if there is none of that name."""
    query = sa.select(links.c.url).where(links.c.campaign == campaign, links.c.link == link)
    return connection.scalar(query)


def newest_links(
    connection: sa.Connection, since: datetime, limit: int
) -> dict[tuple[str, str], str]:
    """The `limit` latest links that were made from `since` on: (campaign, name) to URL."""
    latest = sa.select(links).where(links.c.created_at >= since)
    rows = connection.execute(latest.order_by(links.c.created_at.desc()).limit(limit))
    return {(row.campaign, row.link): row.url for row in rows}
