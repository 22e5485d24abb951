"""The leads of X Education as their campaign harvests them. Not here: what is found in them.

The campaign document is the one beside the data; `POINTED` is the same with points of an expert's.
"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aicmo_dagster.domain.scoring.history import History, time_split
from aicmo_dagster.domain.scoring.leaks import find_leaks, left_out
from aicmo_dagster.domain.scoring.learning import Learned, learn
from aicmo_dagster.domain.scoring.model import score
from aicmo_dagster.domain.scoring.model_frames import history_of
from aicmo_dagster.domain.scoring.ranking import ranked
from aicmo_dagster.domain.scoring.training import train, with_points
from aicmo_dagster.domain.sections.scoring import Scoring
from aicmo_dagster.sources.campaign_files import read_campaign_file
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster_tests.samples import NOON

DOCUMENT = Path(__file__).parents[4] / "shared" / "data" / "x_education" / "campaign.yaml"
KEY = "x-education"

LEAKING = (
    "Tags",
    "Lead Quality",
    "Lead Profile",
    "Last Activity",
    "Last Notable Activity",
    "Asymmetrique Activity Index",
    "Asymmetrique Profile Index",
    "Asymmetrique Activity Score",
    "Asymmetrique Profile Score",
)
"""Written by sales people after the call, by another vendor, or on the day of export."""

POINTED = {
    "points": {
        "rules": {
            "title": {"points": 30, "values": ["Working Professional"]},
            "custom.Lead Origin": {"points": 20, "values": ["Lead Add Form"]},
            "custom.Total Time Spent on Website": {"points": 30, "full_at": 1_200},
            "custom.TotalVisits": {"points": 10, "full_at": 10},
            "custom.Do Not Email": {"points": 5, "values": ["No"]},
        }
    }
}
"""What somebody who sells courses would give points for, before any outcome is known: for a working
professional, who was referred or asked to be added, 20 minutes on the site, ten visits, wanting
mail."""


def harvested(workspace: Workspace) -> pd.DataFrame:
    """The raw leads of the campaign, which is applied and harvested."""
    file = read_campaign_file(DOCUMENT)
    with workspace.database.write() as connection:
        apply_campaign(connection, file.campaign, file.templates, file.folder, NOON)
    harvest(workspace, KEY, NOON)
    with workspace.database.read() as connection:
        return read_frame(connection, "raw_leads", KEY)


def x_education(raw: pd.DataFrame, **changes: Any) -> History:
    """What the campaign learns from, by its document with `changes` to the scoring section."""
    scoring = read_campaign_file(DOCUMENT).campaign.scoring
    changed = Scoring.model_validate(scoring.model_dump() | changes)
    return history_of(raw, changed, NOON)


def learned(leads: History, known_at_capture: list[str]) -> Learned:
    """Learned from the first 70 % by arrival, measured on the last 30 %, against the points."""
    return learn(
        leads,
        known_at_capture=known_at_capture,
        ignore=[],
        incumbent=None,
        embargo=timedelta(0),
        seed=0,
        code_version="test",
    )


def auc_by_labels(leads: History, labels: int, draws: int) -> list[float]:
    """AUC on the last 30 % of anchored models that know so many outcomes, a figure a draw.

    The leads of the first 70 % are all there, and `labels` of them, drawn at random, have an
    outcome: as in a campaign that has run for long and is told of few of its outcomes. The guard
    leaves out what it finds in all outcomes.
    """
    findings = find_leaks(leads.columns, leads.dimensions, leads.won, None)
    honest = leads.without(left_out(leads.dimensions, findings, [], []))
    split = time_split(honest)
    past, newest = honest.part(split.train), honest.part(split.test)
    columns = with_points(newest.columns, newest.points)
    found = []
    for seed in range(draws):
        draw = np.random.default_rng(seed)
        known = np.isin(np.arange(len(past.won)), draw.choice(len(past.won), labels, False))
        few = replace(past, won=past.won.where(known, other=pd.NA))
        model = train(few, "anchored", code_version="test")
        found.append(auc(score(model, columns).logit, newest))
    return found


def auc(values: npt.NDArray[np.float64], leads: History) -> float:
    """The pooled AUC of `values` for labelled leads."""
    alone = np.zeros(len(values), dtype=np.int64)
    return ranked(values, leads.labels.astype(np.bool_), alone).auc(np.ones(len(values)))
