"""A model's probabilities moved to today's share won: its intercept, and nothing else.

Log-loss models are calibrated on data like their own; what breaks them is drift of the share won,
which one number mends without changing the order of any two leads of which something is known. Not
here: noticing the drift (`drift`).
"""

from dataclasses import replace

import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from aicmo_dagster.domain.scoring.model import Model, score
from aicmo_dagster.domain.scoring.model_documents import version
from aicmo_dagster.domain.scoring.ranking import Truths

LEAST_WINS = 20
LEAST_LOSSES = 20
FARTHEST = 20.0
"""In logits: no share won is farther away than this."""


def recalibrated(model: Model, columns: pd.DataFrame, won: Truths) -> Model:
    """The model whose expected wins on these leads are the observed ones.

    With fewer than 20 wins or 20 losses it is `model` itself. A moved model names in its provenance
    the version that it was moved from; its metrics are those of the unmoved one.

    Args:
        model: The model.
        columns: The leads of the latest ripened cohorts, as for scoring.
        won: Shape (n,): what became of them.
    """
    wins = int(won.sum())
    if wins < LEAST_WINS or len(won) - wins < LEAST_LOSSES:
        return model
    logit = score(model, columns).logit

    def surplus(shift: float) -> float:
        return float(expit(logit + shift).sum()) - wins

    moved = float(brentq(surplus, -FARTHEST, FARTHEST))
    provenance = {**model.provenance, "moved_from": version(model), "moved_on": len(won)}
    return replace(model, shift=model.shift + moved, provenance=provenance)
