"""Leads that never qualify again, for what happened to them.

Not here: stopping the mail that is planned for them (`ledger`).
"""

import pandas as pd
import pyarrow
import sqlalchemy as sa

from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.tables import events, handoffs

FOR_GOOD = {
    "unsubscribe": "unsubscribed",
    "complaint": "complained",
    "bounce": "bounced",
}
"""Events after which a lead never qualifies again, as what the lead did."""

HANDED_OVER = "handed to sales"

TEXT = pd.ArrowDtype(pyarrow.string())


def stopped_leads(connection: sa.Connection, campaign: str) -> pd.DataFrame:
    """lead_id, cause and reason of those who never qualify again, one row a lead."""
    told = sa.select(events.c.lead_id, events.c.kind.label("cause"), events.c.happened_at).where(
        events.c.campaign == campaign, events.c.kind.in_(FOR_GOOD)
    )
    handed = sa.select(
        handoffs.c.lead_id,
        sa.literal(HANDED_OVER).label("cause"),
        handoffs.c.created_at.label("happened_at"),
    ).where(handoffs.c.campaign == campaign)
    found = pd.concat([fetch_frame(connection, query) for query in (told, handed)])
    first = found.sort_values(["happened_at", "cause"]).drop_duplicates("lead_id")
    cause = first["cause"].replace(FOR_GOOD).astype(TEXT)
    day = first["happened_at"].dt.strftime("%Y-%m-%d").astype(TEXT)
    reason = cause + " on " + day + ", so it never qualifies again"
    return first.assign(cause=cause, reason=reason)[["lead_id", "cause", "reason"]]
