"""What the files of each campaign's CSV sources looked like when they were last seen.

Not here: looking at them (`stages.arrivals`), or reading them (`sources`).
"""

import json
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.campaigns import ACTIVE
from aicmo_dagster.store.database import put_row
from aicmo_dagster.store.tables import campaigns, source_marks

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


def put_mark(connection: sa.Connection, watched: Watched, mark: str, now: datetime) -> None:
    """The files are seen for the first time, or for the first time in this version."""
    told = {"version": watched.version, "patterns": json.dumps(watched.patterns)}
    put_row(connection, source_marks, campaign=watched.campaign, mark=mark, noted_at=now, **told)


def move_mark(connection: sa.Connection, watched: Watched, mark: str, now: datetime) -> bool:
    """The files have changed; tells whether nobody else has noted it."""
    same = (_MARKS.campaign == watched.campaign, _MARKS.mark == watched.mark)
    statement = sa.update(source_marks).where(*same).values(mark=mark, noted_at=now)
    return connection.execute(statement).rowcount == 1
