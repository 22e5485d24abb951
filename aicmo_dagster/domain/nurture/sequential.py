"""Bounds that allow more than one look at a test without finding what is not there.

Five planned looks: O'Brien and Fleming, A multiple testing procedure for clinical trials,
Biometrics 35 (1979). Their constant is found as in Armitage, McPherson and Rowe, Repeated
significance tests on accumulating data, JRSS A 132 (1969): the density of the score is carried from
look to look by numerical integration. Looks at any time: the mixture sequential probability ratio
test of Robbins, Ann. Math. Stat. 41 (1970), as used by Johari, Koomen, Pekelis and Walsh, Always
valid inference, Operations Research 70 (2022). Not here: what is compared (`experiments`).
"""

from functools import cache
from math import log, pi, sqrt

import numpy as np

LOOKS = 5
MIXTURE = 0.01
"""The differences in rate that a look at any time is most sensitive to; a standard deviation."""

_NODES = 120


@cache
def planned_bound(look: int, alpha: float, looks: int = LOOKS) -> float:
    """The |z| from which on a difference counts at `look` of `looks`, both sides together `alpha`.

    At equal distances the score S_k = z_k √k is a sum of k standard normal steps, and O'Brien and
    Fleming's bound on it is the same at each look.
    """
    return _score_bound(alpha, looks) / sqrt(look)


def crossing_probability(bound: float, looks: int) -> float:
    """How likely a sum of standard normal steps leaves ±`bound` within `looks` steps."""
    unit, weight = np.polynomial.legendre.leggauss(_NODES)
    points, weights = unit * bound, weight * bound
    step = np.exp(-((points[:, None] - points[None, :]) ** 2) / 2) / sqrt(2 * pi)
    density = np.exp(-(points**2) / 2) / sqrt(2 * pi)
    for _ in range(looks - 1):
        density = step @ (weights * density)
    return float(1 - weights @ density)


def any_time_bound(variance: float, alpha: float, mixture: float = MIXTURE) -> float:
    """The |z| from which on a difference counts, whenever and however often one looks.

    Args:
        variance: Of the estimated difference.
        alpha: The chance of ever finding a difference where there is none, at most.
        mixture: The standard deviation of the differences that are expected, √τ².
    """
    spread = variance + mixture**2
    return sqrt(2 * spread / mixture**2 * log(sqrt(spread / variance) / alpha))


@cache
def _score_bound(alpha: float, looks: int) -> float:
    from scipy.optimize import brentq  # a tenth of what a run costs to start, for few ticks

    return float(
        brentq(lambda bound: crossing_probability(bound, looks) - alpha, sqrt(looks), 20.0)
    )
