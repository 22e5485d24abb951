"""The gate: whether a candidate takes the incumbent's place. Not here: training, or storing it.

Both rank the same leads, the newest whose outcomes have ripened. The candidate has not seen them;
that the incumbent may have only makes the gate stricter. The candidate must be better by more than
chance explains, and must rank better than chance at all.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from aicmo_dagster.domain.scoring.ranking import Truths, Vector, Whole, ranked, resamples

HALF_WIDTH = float(norm.ppf(0.975))
"""Standard errors in half of a 95 % interval: how far a candidate must be ahead."""

EVIDENCE = float(norm.ppf(0.9999))
"""Standard errors by which it must beat a coin: chance passes once in 10,000 trials.

Being ahead by half a 95 % interval happens to one candidate in forty that has learned nothing from
outcomes that mean nothing. A gate that is tried every week needs more.
"""

LEAST_WINS = 20
LEAST_LOSSES = 20
"""In the leads that are judged on: those in a cohort that holds both."""


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate is promoted, and why.

    Args:
        promoted: Whether it takes the incumbent's place.
        reason: In words, with the figures.
        candidate: Its AUC within cohorts; NaN where there are too few outcomes to judge on.
        incumbent: The incumbent's AUC.
        half_width: Of the 95 % interval of the difference.
    """

    promoted: bool
    reason: str
    candidate: float
    incumbent: float
    half_width: float


def judge(
    candidate: Vector, incumbent: Vector, won: Truths, cohort: Whole, *, seed: int
) -> Verdict:
    """Whether `candidate` ranks better than `incumbent`, by a bootstrap over pairs of both.

    Args:
        candidate: Its logits, shape (n,), of the newest leads whose outcome has ripened.
        incumbent: Logits or points of the same leads.
        won: Shape (n,): what became of them.
        cohort: Shape (n,): the arrival cohort of each; pairs of one cohort are compared, so that
            knowing when a lead came wins nothing.
        seed: Of the bootstrap.
    """
    comparable = np.isin(cohort, cohort[won]) & np.isin(cohort, cohort[~won])
    wins, losses = int(won[comparable].sum()), int((~won)[comparable].sum())
    if wins < LEAST_WINS or losses < LEAST_LOSSES:
        reason = (
            f"{wins} won and {losses} lost leads in cohorts that hold both; to judge on them it"
            f" takes {LEAST_WINS} and {LEAST_LOSSES}"
        )
        return Verdict(False, reason, np.nan, np.nan, np.nan)
    new, old = (ranked(values, won, cohort).auc for values in (candidate, incumbent))
    drawn = np.array([(new(w), old(w)) for w in resamples(len(won), seed)])
    everyone = np.ones(len(won))
    error = float(np.nanstd(drawn[:, 0]))
    half_width = HALF_WIDTH * float(np.nanstd(drawn[:, 0] - drawn[:, 1]))
    return _verdict(new(everyone), old(everyone), error, half_width)


def _verdict(candidate: float, incumbent: float, error: float, half_width: float) -> Verdict:
    figures = f"AUC {candidate:.3f} against {incumbent:.3f}, half-width {half_width:.3f}"
    if candidate - 0.5 <= EVIDENCE * error:
        promoted, reason = False, f"the candidate ranks no better than chance explains: {figures}"
    elif candidate - incumbent <= half_width:
        promoted, reason = False, f"not ahead by more than the half-width: {figures}"
    else:
        promoted, reason = True, f"ahead by more than the half-width: {figures}"
    return Verdict(promoted, reason, candidate, incumbent, half_width)
