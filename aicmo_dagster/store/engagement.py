"""What leads got and did about it, in numbers that conditions may name.

Not here: single events, or what counts as interest.
"""

import pandas as pd
import pyarrow.compute as pc
import sqlalchemy as sa

from aicmo_dagster.domain.facts import one_array
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.responses import CLICKED, REPLIED, responses
from aicmo_dagster.store.tables import nurture_sends

_KINDS = {"clicks": CLICKED, "replies": REPLIED}
"""Figure to the kind of event that it counts."""


def with_engagement(
    connection: sa.Connection,
    campaign: str,
    leads: pd.DataFrame,
    between: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """`leads` with `sends`, `clicks` and `replies`; 0 where nothing happened.

    Only leads from the first to the last of `between` are looked at, if that is given.
    """
    sends = nurture_sends.c
    counts = {
        "sends": _counts(
            *(connection, nurture_sends, between),
            *(sends.campaign == campaign, sends.state == "accepted"),
        ),
        **{
            figure: _counts(connection, responses(campaign, (kind,)).subquery(), between)
            for figure, kind in _KINDS.items()
        },
    }
    return leads.assign(**{name: _of_each(leads, count) for name, count in counts.items()})


def _of_each(leads: pd.DataFrame, counts: pd.DataFrame) -> pd.Series:
    """The `rows` of each lead, 0 where it is not among them."""
    at = pc.index_in(one_array(leads["lead_id"]), value_set=one_array(counts["lead_id"]))
    rows = pc.fill_null(one_array(counts["rows"]).take(at), 0)
    return pd.Series(pd.arrays.ArrowExtensionArray(rows), leads.index)


def _counts(
    connection: sa.Connection,
    table: sa.FromClause,
    between: tuple[str, str] | None,
    *which: sa.ColumnElement[bool],
) -> pd.DataFrame:
    """Rows by lead."""
    if between is not None:
        which = (*which, table.c.lead_id.between(*between))
    query = (
        sa.select(table.c.lead_id, sa.func.count().label("rows"))
        .where(*which)
        .group_by(table.c.lead_id)
    )
    return fetch_frame(connection, query)
