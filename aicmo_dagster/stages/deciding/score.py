"""Scored leads: the score of every raw lead, by the scorecard or a model.

Not here: what earns points, or what a model says (`domain.scoring`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.schemas import dtypes
from aicmo_dagster.domain.scoring import scorecard
from aicmo_dagster.domain.scoring.bands import bands
from aicmo_dagster.domain.scoring.cohorts import rank_cohorts
from aicmo_dagster.domain.scoring.model import score
from aicmo_dagster.domain.scoring.model_documents import from_document
from aicmo_dagster.domain.scoring.model_frames import model_columns, scored_by_model
from aicmo_dagster.domain.scoring.needed import needed_columns
from aicmo_dagster.domain.sections.scoring import Scoring
from aicmo_dagster.stages import chunks
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.frames import read_chunks, read_frame, replacing
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
        over: The ids of leads that would move over the threshold.
        under: Of those that would fall below it.
        above_now: Leads at or above the threshold today.
        above_then: Leads that would be.
        bands: Band today to band then to leads.
    """

    campaign: str
    now: str
    then: str
    threshold: float
    leads: int
    over: tuple[str, ...]
    under: tuple[str, ...]
    above_now: int
    above_then: int
    bands: dict[str, dict[str, int]]


def score_leads(
    workspace: Workspace, key: str, now: datetime, at_once: int = chunks.LEADS
) -> Report:
    """`scored_leads` of the campaign holds each raw lead with its score and contributions.

    Args:
        workspace: The settings and the database.
        key: The campaign.
        now: The instant that ages count from.
        at_once: How many leads are held at once; what becomes of them does not depend on it.
    """
    stored = workspace.campaign(key)
    scoring = stored.campaign.scoring
    with (
        workspace.database.write() as connection,
        chunks.set_aside(workspace.settings.home) as aside,
    ):
        take_turn(connection, f"leads of {key}")
        model = chosen_model(connection, key, scoring.model)
        ranked = _Ranked()
        for leads in read_chunks(connection, "raw_leads", key, at_once, _looked_at(model, scoring)):
            scored = scored_by(model, leads, scoring, now)
            ranked.add(leads, scored)
            aside.put(scored)
        with replacing(connection, "scored_leads", key) as put:
            for banded in ranked.banded(aside.take()):
                put(banded)
    scores = ranked.scores
    figures = {
        "mean_score": round(float(scores.mean()), 2) if len(scores) else 0.0,
        "at_or_above_threshold": int((scores >= scoring.threshold).sum()),
    }
    return Report(key, "scored_leads", len(scores), len(scores), {}, figures)


class _Ranked:
    """What bands depend on, of all leads: how they scored and when they arrived."""

    def __init__(self) -> None:
        self._scores: list[pd.Series] = []
        self._arrived: list[pd.DataFrame] = []

    def add(self, leads: pd.DataFrame, scored: pd.DataFrame) -> None:
        """`scored` are the next of them, of `leads`."""
        self._scores.append(scored["score"])
        self._arrived.append(leads[["arrived", "first_seen_at"]])

    @property
    def scores(self) -> pd.Series:
        """All scores, in order."""
        return pd.concat(self._scores, ignore_index=True)

    def banded(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """`frames`, which are of the same leads, with their bands among all."""
        cohorts = rank_cohorts(pd.concat(self._arrived, ignore_index=True))
        letters = bands(self.scores.to_numpy(np.float64), cohorts)
        start = 0
        for frame in frames:
            yield frame.assign(band=letters[start : start + len(frame)])
            start += len(frame)


def _looked_at(model: StoredModel | None, scoring: Scoring) -> list[str] | None:
    """The columns of raw leads that scores are made of; a model may look at all of them."""
    if model is not None:
        return None
    needed = needed_columns(scoring)
    return [name for name in dtypes("raw_leads") if name in needed]


def compare_scores(
    workspace: Workspace, key: str, version: str, now: datetime, document: Campaign | None = None
) -> Comparison:
    """Who would move over the campaign's threshold if `version` scored its leads.

    Args:
        workspace: The workspace.
        key: The campaign.
        version: A model's, "scorecard", or "auto" for the one in charge.
        now: The instant that both score at.
        document: What `version` scores by, and whose threshold counts then; the stored one unless
            given.

    Raises:
        AicmoError: If there is no such campaign or model.
    """
    stored = workspace.campaign(key).campaign
    sections = [stored.scoring, (document or stored).scoring]
    with workspace.database.read() as connection:
        leads = read_frame(connection, "raw_leads", key)
        models = [chosen_model(connection, key, name) for name in (stored.scoring.model, version)]
    today, then = (
        scored_by(model, leads, scoring, now)
        for model, scoring in zip(models, sections, strict=True)
    )
    before, after = today["score"] >= sections[0].threshold, then["score"] >= sections[1].threshold
    ours, other = models
    return Comparison(
        campaign=key,
        now=ours.version if ours else scorecard.VERSION,
        then=other.version if other else scorecard.VERSION,
        threshold=sections[1].threshold,
        leads=len(leads),
        over=tuple(leads["lead_id"][after & ~before]),
        under=tuple(leads["lead_id"][before & ~after]),
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
