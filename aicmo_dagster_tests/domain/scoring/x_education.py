"""The leads of X Education as a history, read as simply as can be. Not here: what is found in it.

Every column but the id, the order and the outcome is a dimension `custom.<Column>`, a number where
all values are; "Select" and nothing are missing. The order of arrival is the lead's number.
"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from aicmo_dagster.domain.scoring.dimensions import Dimension
from aicmo_dagster.domain.scoring.history import History, time_split
from aicmo_dagster.domain.scoring.learning import Learned, learn
from aicmo_dagster.domain.scoring.model import score
from aicmo_dagster.domain.scoring.ranking import ranked
from aicmo_dagster.domain.scoring.training import train, with_points
from aicmo_dagster_tests.domain.scoring.histories import TEXT

FILE = Path(__file__).parents[4] / "shared" / "data" / "x_education" / "leads.csv"

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

KNOWN_AT_CAPTURE = ["Lead Origin", "Lead Source", "What is your current occupation"]
"""What the guard asks about as well, and a person vouches for: the form and the way to it."""

NOT_DIMENSIONS = ["Prospect ID", "Lead Number", "Converted"]


def x_education() -> History:
    """All leads with the outcome as label and the points of an expert."""
    text = pd.read_csv(FILE, dtype=str, na_values=["Select", ""], keep_default_na=False)
    told = text.drop(columns=NOT_DIMENSIONS)
    columns = {f"custom.{name}": _typed(told[name]) for name in told}
    return History(
        columns=pd.DataFrame(columns),
        dimensions=tuple(Dimension(name, "custom", "As told.", "") for name in columns),
        won=pd.Series(text["Converted"] == "1", dtype="boolean"),
        arrival=text["Lead Number"].astype(np.float64),
        points=expert_points(text),
    )


def expert_points(text: pd.DataFrame) -> npt.NDArray[np.float64]:
    """What somebody who sells courses would give points for, before any outcome is known.

    30 for a working professional, 20 for one who was referred or asked to be added, up to 30 for
    20 minutes on the site, up to 10 for ten visits, 5 for wanting mail.
    """
    seconds = pd.to_numeric(text["Total Time Spent on Website"]).fillna(0)
    visits = pd.to_numeric(text["TotalVisits"]).fillna(0)
    points = (
        30 * (text["What is your current occupation"] == "Working Professional")
        + 20 * (text["Lead Origin"] == "Lead Add Form")
        + 30 * seconds.clip(upper=1_200) / 1_200
        + 10 * visits.clip(upper=10) / 10
        + 5 * (text["Do Not Email"] == "No")
    )
    return points.to_numpy(dtype=np.float64)


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
    outcome: as in a campaign that has run for long and is told of few of its outcomes.
    """
    honest = leads.without(tuple(f"custom.{name}" for name in LEAKING))
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


def _typed(values: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce")
    all_numbers = numbers.notna().equals(values.notna())
    return numbers.astype(np.float64) if all_numbers else values.astype(TEXT)
