"""Scored leads: the score of every raw lead, by the scorecard or a model.

Not here: what earns points, or what a model says (`domain.scoring`).
"""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Scoring
from aicmo_dagster.domain.scoring import scorecard
from aicmo_dagster.domain.scoring.model import score
from aicmo_dagster.domain.scoring.model_documents import from_document
from aicmo_dagster.domain.scoring.model_frames import model_columns, scored_by_model
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.frames import read_frame, replace_frame
from aicmo_dagster.store.models import StoredModel, find_model, promoted_model

AUTO = "auto"


@dataclass(frozen=True)
class Comparison:
    """What another model, or the scorecard, would change; nothing is written.

    Args:
        campaign: The campaign's key.
        now: What scores today: a version or "scorecard".
        then: What is compared with it.
        threshold: Of the campaign.
        leads: How many were scored by both.
        over: Leads that would move over the threshold.
        under: Leads that would fall below it.
        above_now: Leads at or above the threshold today.
        above_then: Leads that would be.
        bands: Band today to band then to leads.
    """

    campaign: str
    now: str
    then: str
    threshold: float
    leads: int
    over: int
    under: int
    above_now: int
    above_then: int
    bands: dict[str, dict[str, int]]


def score_leads(workspace: Workspace, key: str, now: datetime) -> Report:
    """`scored_leads` of the campaign holds each raw lead with its score and contributions."""
    stored = workspace.campaign(key)
    scoring = stored.campaign.scoring
    with workspace.database.write() as connection:
        take_turn(connection, f"leads of {key}")
        leads = read_frame(connection, "raw_leads", key)
        scored = scored_by(chosen_model(connection, key, scoring.model), leads, scoring, now)
        replace_frame(connection, "scored_leads", key, scored)
    reached = scored["score"] >= scoring.threshold
    figures = {
        "mean_score": round(float(scored["score"].mean()), 2) if len(scored) else 0.0,
        "at_or_above_threshold": int(reached.sum()),
    }
    return Report(key, "scored_leads", len(leads), len(scored), {}, figures)


def compare_scores(workspace: Workspace, key: str, version: str, now: datetime) -> Comparison:
    """Who would move over the campaign's threshold if `version` scored its leads, in counts.

    Args:
        workspace: The workspace.
        key: The campaign.
        version: A model's, or "scorecard".
        now: The instant that both score at.

    Raises:
        AicmoError: If there is no such campaign or model.
    """
    scoring = workspace.campaign(key).campaign.scoring
    with workspace.database.read() as connection:
        leads = read_frame(connection, "raw_leads", key)
        ours = chosen_model(connection, key, scoring.model)
        other = chosen_model(connection, key, version)
    today, then = (scored_by(model, leads, scoring, now) for model in (ours, other))
    before, after = (frame["score"] >= scoring.threshold for frame in (today, then))
    return Comparison(
        campaign=key,
        now=ours.version if ours else scorecard.VERSION,
        then=other.version if other else scorecard.VERSION,
        threshold=scoring.threshold,
        leads=len(leads),
        over=int((after & ~before).sum()),
        under=int((before & ~after).sum()),
        above_now=int(before.sum()),
        above_then=int(after.sum()),
        bands=_moves(today["band"], then["band"]),
    )


def chosen_model(connection: sa.Connection, key: str, name: str) -> StoredModel | None:
    """The model that `name` chooses: a version's, the promoted one, or none for the scorecard."""
    if name == AUTO:
        return promoted_model(connection, key)
    return None if name == scorecard.VERSION else find_model(connection, key, name)


def scored_by(
    stored: StoredModel | None, leads: pd.DataFrame, scoring: Scoring, now: datetime
) -> pd.DataFrame:
    """The `ScoredLeads` frame of `leads` by a model, or by the scorecard without one."""
    if stored is None:
        return scorecard.score(leads, scoring, now)
    model = from_document(stored.document)
    scores = score(model, model_columns(model, leads, scoring, now))
    return scored_by_model(leads, scores, stored.version)


def _moves(today: pd.Series, then: pd.Series) -> dict[str, dict[str, int]]:
    counts = pd.crosstab(today.astype(object), then.astype(object))
    return {
        str(band): {str(to): int(count) for to, count in row.items() if count}
        for band, row in counts.iterrows()
    }
