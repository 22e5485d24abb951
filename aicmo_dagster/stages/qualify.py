"""Qualified leads: a decision for every scored lead.

Not here: the rules (`domain.qualification`).
"""

import json
from datetime import datetime

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.qualification import Qualified, qualify
from aicmo_dagster.stages.report import Report, counted, counted_decisions
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.decisions import record_decisions
from aicmo_dagster.store.engagement import with_engagement
from aicmo_dagster.store.frames import read_frame, replace_frame
from aicmo_dagster.store.overrides import active_overrides
from aicmo_dagster.store.stops import stopped_leads
from aicmo_dagster.store.webhooks import Occurrence, announce, any_wants


def qualify_leads(workspace: Workspace, key: str, now: datetime) -> Report:
    """`qualified_leads` of the campaign holds who goes on; `decisions` why, for every lead."""
    stored = workspace.campaign(key)
    with workspace.database.write() as connection:
        take_turn(connection, f"leads of {key}")
        leads = leads_with_scores(connection, key)
        qualified = judge(connection, leads, stored.campaign, now)
        _announce(connection, key, qualified.leads, now)
        replace_frame(connection, "qualified_leads", key, qualified.leads)
        record_decisions(
            connection,
            key,
            "qualified_leads",
            _with_grounds(qualified.decisions, leads),
            now=now,
            campaign_version=stored.version,
        )
    refused = qualified.decisions[qualified.decisions["outcome"] == "not_qualified"]
    share = round(len(qualified.leads) / len(leads), 4) if len(leads) else 0.0
    return Report(
        key,
        "qualified_leads",
        len(leads),
        len(qualified.leads),
        counted(refused["cause"]),
        {"qualified_share": share},
        decisions=counted_decisions(qualified.decisions),
    )


def judge(
    connection: sa.Connection, leads: pd.DataFrame, campaign: Campaign, now: datetime
) -> Qualified:
    """The decisions about `leads` by `campaign`, which need not be the stored one."""
    key = campaign.campaign
    overrides = active_overrides(connection, key, now)
    verdicts = overrides[overrides["action"].isin(["qualify", "reject"])]
    return qualify(leads, campaign, verdicts, stopped=stopped_leads(connection, key))


def leads_with_scores(
    connection: sa.Connection, key: str, lead_id: str | None = None
) -> pd.DataFrame:
    """The raw leads of a campaign, where scored, with score, band, model and engagement.

    Of all leads, unless one is named.
    """
    raw = read_frame(connection, "raw_leads", key, lead_id=lead_id)
    columns = ["lead_id", "score", "band", "model"]
    scored = read_frame(connection, "scored_leads", key, columns, lead_id=lead_id)
    return with_engagement(connection, key, raw.merge(scored, on="lead_id", how="inner"))


def _announce(connection: sa.Connection, key: str, leads: pd.DataFrame, now: datetime) -> None:
    """Whoever wants to know is told of the leads that had not qualified before."""
    if not any_wants(connection, "lead.qualified", key):
        return
    before = read_frame(connection, "qualified_leads", key, ["lead_id"])["lead_id"]
    new = leads.loc[~leads["lead_id"].isin(before), "lead_id"]
    occurrences = [
        Occurrence(
            f"{key}/{lead_id}/{now.isoformat()}",
            {"campaign": key, "lead_id": lead_id},
            (key,),
            lead_id,
        )
        for lead_id in new
    ]
    announce(connection, "lead.qualified", occurrences, now)


def _with_grounds(decisions: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    """`decisions` with `inputs`: what they were decided by, as JSON."""
    model = leads["model"].iloc[0] if len(leads) else None
    passed = decisions["rules_passed"].unique()
    grounds = {n: json.dumps({"model": model, "rules_passed": int(n)}) for n in passed}
    return decisions.assign(inputs=decisions["rules_passed"].map(grounds))
