"""What the files of each campaign's CSV sources looked like when they were last seen.

Not here: looking at them (`operating.arrivals`), or reading them (`sources`).
"""

import json
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.campaigns import ACTIVE
from aicmo_dagster.store.tables import campaigns, source_marks
from aicmo_dagster.store.upserts import put_row

_MARKS = source_marks.c


@dataclass(frozen=True)
class Watched:
    """A campaign's files.

    Args:
        campaign: The campaign.
        version: Its document's.
        patterns: What its sources' paths are, from the root; None if they are to be looked up.
        mark: What tells this state of the files from any other; None if they were never seen.
    """

    campaign: str
    version: int
    patterns: list[str] | None
    mark: str | None


def watched_files(connection: sa.Connection) -> list[Watched]:
    """The files of every active campaign."""
    current = _MARKS.campaign == campaigns.c.campaign
    query = (
        sa.select(campaigns.c.campaign, campaigns.c.version, _MARKS.version.label("seen"))
        .add_columns(_MARKS.patterns, _MARKS.mark)
        .outerjoin(source_marks, current)
        .where(campaigns.c.state == ACTIVE)
        .order_by(campaigns.c.campaign)
    )
    found = []
    for row in connection.execute(query):
        patterns = json.loads(row.patterns) if row.seen == row.version else None
        found.append(Watched(row.campaign, row.version, patterns, row.mark))
    return found


def put_mark(
    connection: sa.Connection,
    campaign: str,
    version: int,
    patterns: list[str],
    mark: str,
    now: datetime,
) -> None:
    """The version's files are watched: from `mark` on, or from the last if they are the same.

    Those of a later version stay watched, of which a look that began before it knows nothing.
    """
    told = json.dumps(patterns)
    query = sa.select(_MARKS.version, _MARKS.patterns, _MARKS.mark)
    before = connection.execute(query.where(_MARKS.campaign == campaign)).one_or_none()
    if before is not None and before.version > version:
        return
    last = before.mark if before is not None and before.patterns == told else None
    values = {"version": version, "patterns": told, "mark": last or mark}
    put_row(connection, source_marks, campaign=campaign, noted_at=now, **values)


def move_mark(connection: sa.Connection, watched: Watched, mark: str, now: datetime) -> bool:
    """The files have changed; tells whether nobody else has noted it."""
    same = (_MARKS.campaign == watched.campaign, _MARKS.mark == watched.mark)
    statement = sa.update(source_marks).where(*same).values(mark=mark, noted_at=now)
    return connection.execute(statement).rowcount == 1
