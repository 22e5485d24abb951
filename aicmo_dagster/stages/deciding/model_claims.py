"""What must be true of the model in charge, each claim with its figures. Counts only.

Not here: claims about the stages' rows (`claims`).
"""

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aicmo_dagster.domain.scoring.cohorts import arrivals, rank_cohorts
from aicmo_dagster.domain.scoring.model import Model, score
from aicmo_dagster.domain.scoring.model_documents import from_document
from aicmo_dagster.domain.scoring.model_frames import (
    arrived_since,
    model_columns,
    with_own_points,
)
from aicmo_dagster.domain.sections.scoring import Scoring
from aicmo_dagster.stages.claims import Finding
from aicmo_dagster.stages.deciding.outcomes import read_history
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import count_rows, read_frame
from aicmo_dagster.store.models import promoted_model
from aicmo_dagster.store.troubles import DRIFTED

if TYPE_CHECKING:
    from aicmo_dagster.domain.scoring.drift import Drift

# What `drift` needs takes 0.8 s of CPU to import, which every run of every campaign would pay: it
# is imported where a model is in charge.

NO_MODEL = "no model is in charge"

MOST_UNKNOWN = 0.2
"""The share of leads that nothing is known of above which scores mean little."""


def leads_are_like_those_learned_from(workspace: Workspace, key: str, now: datetime) -> Finding:
    """Of the leads since training, no column and no score has drifted beyond chance."""
    found = drifts(workspace, key, now)
    moved = [each.name for each in found if each.alarm]
    figures = {DRIFTED: len(moved), "worst_psi": max((e.psi for e in found), default=0.0)}
    return Finding(not moved, f"drifted since training: {', '.join(moved)}; train again", figures)


def expected_wins_come_true(workspace: Workspace, key: str, now: datetime) -> Finding:
    """In no cohort since training do wins differ from the expected ones by more than chance."""
    scoring = workspace.campaign(key).campaign.scoring
    with workspace.database.read() as connection:
        stored = promoted_model(connection, key)
        if stored is None:
            return Finding(True, NO_MODEL)
        leads, history = read_history(connection, key, scoring, now)
    standing = from_document(stored.document)
    from aicmo_dagster.domain.scoring.drift import observed_against_expected

    newer = history.labelled & arrived_since(standing, history.arrival)
    part = history.part(newer)
    if not len(part.won):
        return Finding(True, "no outcome has ripened since training", {"cohorts": 0})
    said = score(standing, with_own_points(part))
    won = part.labels.astype(np.bool_)
    rows = observed_against_expected(said.probability, won, rank_cohorts(leads)[newer])
    text = f"{int(rows['alarm'].sum())} of {len(rows)} cohorts: training moves the intercept"
    figures = {
        "cohorts": len(rows),
        "observed_wins": float(rows["observed"].sum()),
        "expected_wins": float(rows["expected"].sum()),
    }
    return Finding(not rows["alarm"].any(), text, figures)


def something_is_known_of_most_leads(workspace: Workspace, key: str) -> Finding:
    """At most a fifth of the scores rest on nothing."""
    with workspace.database.read() as connection:
        scored = count_rows(connection, "scored_leads", key)
        empty = count_rows(connection, "scored_leads", key, contributions="{}")
    share = empty / scored if scored else 0.0
    text = f"nothing that counts is known of {empty} of {scored} leads; complete them"
    return Finding(share <= MOST_UNKNOWN, text, {"scored_share": 1 - share})


def drifts(workspace: Workspace, key: str, now: datetime) -> "tuple[Drift, ...]":
    """How far each column and the score have moved since training; empty without a model."""
    standing, leads, scoring = _standing(workspace, key)
    if standing is None:
        return ()
    newer = leads[arrived_since(standing, arrivals(leads))]
    if not len(newer):
        return ()
    from aicmo_dagster.domain.scoring.drift import drift

    columns = model_columns(standing, newer, scoring, now)
    return drift(standing, columns, score(standing, columns))


def _standing(workspace: Workspace, key: str) -> tuple[Model | None, pd.DataFrame, Scoring]:
    """The model in charge, the campaign's leads (none without a model), its scoring section."""
    scoring = workspace.campaign(key).campaign.scoring
    with workspace.database.read() as connection:
        stored = promoted_model(connection, key)
        if stored is None:
            return None, pd.DataFrame(), scoring
        return from_document(stored.document), read_frame(connection, "raw_leads", key), scoring
