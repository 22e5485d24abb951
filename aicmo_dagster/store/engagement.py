"""What leads got and did about it, in numbers that conditions may name.

Not here: single events, or what counts as interest.
"""

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.store.database import fetch_frame
from aicmo_dagster.store.responses import CLICKED, REPLIED, responses
from aicmo_dagster.store.tables import nurture_sends

_KINDS = {"clicks": CLICKED, "replies": REPLIED}
"""Figure to the kind of event that it counts."""


def with_engagement(connection: sa.Connection, campaign: str, leads: pd.DataFrame) -> pd.DataFrame:
    """`leads` with `sends`, `clicks` and `replies`; 0 where nothing happened."""
    sends = nurture_sends.c
    counts = {
        "sends": _counts(
            connection, nurture_sends, sends.campaign == campaign, sends.state == "accepted"
        ),
        **{
            figure: _counts(connection, responses(campaign, (kind,)).subquery())
            for figure, kind in _KINDS.items()
        },
    }
    figures = {
        figure: leads["lead_id"].map(count).astype("int64[pyarrow]").fillna(0)
        for figure, count in counts.items()
    }
    return leads.assign(**figures)


def _counts(
    connection: sa.Connection, table: sa.FromClause, *which: sa.ColumnElement[bool]
) -> pd.Series:
    """Rows by lead."""
    query = (
        sa.select(table.c.lead_id, sa.func.count().label("rows"))
        .where(*which)
        .group_by(table.c.lead_id)
    )
    return fetch_frame(connection, query).set_index("lead_id")["rows"]
