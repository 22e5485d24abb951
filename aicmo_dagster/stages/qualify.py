"""Qualified leads: a decision for every scored lead.

Not here: the rules (`domain.qualification`).
"""

from datetime import datetime

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.qualification import qualify
from aicmo_dagster.stages.report import Report, counted
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.decisions import record_decisions
from aicmo_dagster.store.frames import read_frame, replace_frame
from aicmo_dagster.store.overrides import active_overrides


def qualify_leads(workspace: Workspace, key: str, now: datetime) -> Report:
    """`qualified_leads` of the campaign holds who goes on; `decisions` why, for every lead."""
    stored = workspace.campaign(key)
    with workspace.database.write() as connection:
        take_turn(connection, f"leads of {key}")
        leads = leads_with_scores(connection, key)
        overrides = active_overrides(connection, key, now)
        verdicts = overrides[overrides["action"].isin(["qualify", "reject"])]
        qualified = qualify(leads, stored.campaign, verdicts)
        replace_frame(connection, "qualified_leads", key, qualified.leads)
        record_decisions(
            connection,
            key,
            "qualified_leads",
            qualified.decisions,
            now=now,
            campaign_version=stored.version,
            inputs={"model": leads["model"].iloc[0] if len(leads) else None},
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
    )


def leads_with_scores(connection: sa.Connection, key: str) -> pd.DataFrame:
    """The raw leads of a campaign with score, band and model, where they have been scored."""
    raw = read_frame(connection, "raw_leads", key)
    scored = read_frame(connection, "scored_leads", key, ["lead_id", "score", "band", "model"])
    return raw.merge(scored, on="lead_id", how="inner")
