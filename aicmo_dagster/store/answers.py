"""Who was written to, and who of them answered or was taken up by sales. Not here: labels."""

from collections.abc import Collection

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.tables import events, handoffs, nurture_sends

REPLY, HANDOFF = "reply", "handoff"

_SENDS, _EVENTS, _HANDOFFS = nurture_sends.c, events.c, handoffs.c


def answers(connection: sa.Connection, campaign: str, kinds: Collection[str]) -> pd.DataFrame:
    """lead_id, contacted_at, won_at (missing without an answer): a row a lead written to.

    Args:
        connection: A connection within a transaction.
        campaign: The campaign.
        kinds: What counts: `REPLY`, a person's that quotes our message and does not ask to stop;
            `HANDOFF`, one that somebody at sales has acknowledged.
    """
    contacted = (
        sa.select(_SENDS.lead_id, sa.func.min(_SENDS.sent_at, type_=_SENDS.sent_at.type))
        .where(_SENDS.campaign == campaign, _SENDS.state == "accepted")
        .group_by(_SENDS.lead_id)
    )
    found = fetch_frame(connection, contacted).set_axis(["lead_id", "contacted_at"], axis=1)
    queries = {REPLY: _replies(campaign), HANDOFF: _taken_up(campaign)}
    told = [fetch_frame(connection, queries[kind]) for kind in kinds]
    won = pd.concat(told).groupby("lead_id")["won_at"].min()
    return found.assign(won_at=won.reindex(found["lead_id"]).array)


def _replies(campaign: str) -> sa.Select[tuple[str, object]]:
    # An address can be forged, and a person who asks to be left alone is not won.
    proven = _EVENTS.detail.contains('"matched_by": "reference"', autoescape=True)
    against = _EVENTS.detail.contains('"asks_to_stop": true', autoescape=True)
    return sa.select(_EVENTS.lead_id, _EVENTS.happened_at.label("won_at")).where(
        _EVENTS.campaign == campaign, _EVENTS.kind == "reply", proven, ~against
    )


def _taken_up(campaign: str) -> sa.Select[tuple[str, object]]:
    return sa.select(_HANDOFFS.lead_id, _HANDOFFS.acknowledged_at.label("won_at")).where(
        _HANDOFFS.campaign == campaign, _HANDOFFS.acknowledged_at.is_not(None)
    )
