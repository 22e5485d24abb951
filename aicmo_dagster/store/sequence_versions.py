"""Leads that move to another version of their sequence, and what is known of them for that.

Not here: who may move (`domain.nurture.lifecycle`), or versions of documents (`campaigns`).
"""

from datetime import datetime

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.nurture.lifecycle import SKIPPED
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.loading import staged
from aicmo_dagster.store.tables import FRAME_TABLES, agenda, nurture_sends

_ROUTED = FRAME_TABLES["routed_leads"].c
_AGENDA = agenda.c
_SENDS = nurture_sends.c
_BEGUN = ("claimed", "attempting", "deferred", "unknown")


def leads_in_flight(connection: sa.Connection, campaign: str) -> pd.DataFrame:
    """A frame as `lifecycle.migration` takes it: the leads that have not left their sequence."""
    leads = fetch_frame(
        connection,
        sa.select(_ROUTED.lead_id, _ROUTED.sequence, _ROUTED.campaign_version)
        .join(
            agenda,
            (_AGENDA.campaign == _ROUTED.campaign) & (_AGENDA.lead_id == _ROUTED.lead_id),
        )
        .where(_ROUTED.campaign == campaign, _AGENDA.state.in_(("enrolled", "active")))
        .order_by(_ROUTED.position),
    )
    sends = fetch_frame(
        connection,
        sa.select(_SENDS.lead_id, _SENDS.step, _SENDS.state, _SENDS.reason, _SENDS.attempts)
        .where(_SENDS.campaign == campaign)
        .order_by(sa.func.coalesce(_SENDS.sent_at, _SENDS.followed_at, _SENDS.due_at)),
    )
    done = (sends["state"] == "accepted") | (sends["reason"] == SKIPPED).fillna(False)
    begun = sends["state"].isin(_BEGUN) | ((sends["state"] == "planned") & (sends["attempts"] > 0))
    busy = leads["lead_id"].isin(sends.loc[begun, "lead_id"])
    had = sends[done].groupby("lead_id")["step"]
    waiting = sends[sends["state"] == "planned"].groupby("lead_id")["step"]
    steps = {"last": had.last(), "had": had.agg(" ".join), "next": waiting.last()}
    told = {name: leads["lead_id"].map(dict(found)) for name, found in steps.items()}
    return leads.assign(**told, busy=busy).fillna({"had": ""})


def move_to_version(
    connection: sa.Connection, campaign: str, leads: pd.Series, version: int, now: datetime
) -> int:
    """Leads follow `version`; sends that were only planned are planned anew; tells how many leads.

    A send that was tried before, or is being sent, is not touched: the lead gets it as it is.
    """
    if leads.empty:
        return 0
    routed = FRAME_TABLES["routed_leads"]
    with staged(connection, agenda, pd.DataFrame({"lead_id": leads})) as moving:
        mine = sa.select(moving.c.lead_id)
        moved = connection.execute(
            sa.update(routed)
            .where(_ROUTED.campaign == campaign, _ROUTED.lead_id.in_(mine))
            .values(campaign_version=version)
        ).rowcount
        connection.execute(
            sa.delete(nurture_sends).where(
                _SENDS.campaign == campaign,
                _SENDS.lead_id.in_(mine),
                _SENDS.state == "planned",
                _SENDS.attempts == 0,
            )
        )
        connection.execute(
            sa.update(agenda)
            .where(_AGENDA.campaign == campaign, _AGENDA.lead_id.in_(mine))
            .values(look_at=now, changed_at=now)
        )
    return moved
