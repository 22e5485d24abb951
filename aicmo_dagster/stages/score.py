"""Scored leads: the score of every raw lead. Not here: what earns points (`domain.scoring`)."""

from datetime import datetime

from aicmo_dagster.domain.scoring.scorecard import score
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.frames import read_frame, replace_frame


def score_leads(workspace: Workspace, key: str, now: datetime) -> Report:
    """`scored_leads` of the campaign holds each raw lead with its score and contributions."""
    stored = workspace.campaign(key)
    with workspace.database.write() as connection:
        take_turn(connection, f"leads of {key}")
        leads = read_frame(connection, "raw_leads", key)
        scored = score(leads, stored.campaign.scoring, now)
        replace_frame(connection, "scored_leads", key, scored)
    reached = scored["score"] >= stored.campaign.scoring.threshold
    figures = {
        "mean_score": round(float(scored["score"].mean()), 2) if len(scored) else 0.0,
        "at_or_above_threshold": int(reached.sum()),
    }
    return Report(key, "scored_leads", len(leads), len(scored), {}, figures)
