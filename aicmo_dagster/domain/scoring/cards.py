"""A model's card: what a person should know of it before trusting it. Not here: its pictures."""

from dataclasses import dataclass

import numpy as np

from aicmo_dagster.domain.scoring.history import History
from aicmo_dagster.domain.scoring.model import Model, score
from aicmo_dagster.domain.scoring.model_frames import with_own_points
from aicmo_dagster.domain.scoring.ranking import Truths, Vector

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class CalibrationBin:
    """Leads of like probability: how many, the share expected to be won, and the share won."""

    leads: int
    expected: float
    observed: float


@dataclass(frozen=True)
class Influence:
    """How far a dimension moves a score: the mean of its absolute contributions, in logits."""

    name: str
    family: str
    description: str
    mean: float


@dataclass(frozen=True)
class Card:
    """What a model is worth, and what it looks at.

    Args:
        calibration: Tenths of the leads that it was measured on, by probability.
        influences: The dimensions, the most influential first.
    """

    calibration: tuple[CalibrationBin, ...]
    influences: tuple[Influence, ...]


def model_card(model: Model, test: History) -> Card:
    """The card of `model`, measured on the leads of `test`, of which it saw none."""
    labelled = test.part(test.labelled)
    said = score(model, with_own_points(labelled))
    won = labelled.labels.astype(np.bool_)
    return Card(calibration_bins(said.probability, won), influences(model))


def calibration_bins(probability: Vector, won: Truths) -> tuple[CalibrationBin, ...]:
    """Leads in at most 10 bins of about equal mass, by rising probability."""
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(CALIBRATION_BINS, max(len(order), 1)))
    return tuple(
        CalibrationBin(len(part), float(probability[part].mean()), float(won[part].mean()))
        for part in parts
        if len(part)
    )


def influences(model: Model) -> tuple[Influence, ...]:
    """Each dimension's mean absolute contribution over the leads it learned from."""
    found = [
        Influence(
            table.dimension.name,
            table.dimension.family,
            table.dimension.description,
            float(np.average(np.abs(table.contributions), weights=table.leads)),
        )
        for table in model.tables
    ]
    return tuple(sorted(found, key=lambda each: -each.mean))
