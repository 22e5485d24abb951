"""Where the links in messages lead: a name to a URL, by campaign.

Not here: making names and tokens (`domain.links`).
"""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.database import insert_once
from aicmo_dagster.store.tables import links


def keep_links(
    connection: sa.Connection, campaign: str, targets: Mapping[str, str], now: datetime
) -> None:
    """Each name leads to its URL; commit before a message with it leaves. Again is fine."""
    for link, url in targets.items():
        insert_once(connection, links, campaign=campaign, link=link, url=url, created_at=now)


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
