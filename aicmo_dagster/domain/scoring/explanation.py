"""Why a lead has its score: its contributions by family, and the strongest either way in words.

Not here: where contributions come from (`scorecard`, `model`), or how they are shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from aicmo_dagster.domain.scoring.catalogue import CATEGORY, SHARE, YES_OR_NO
from aicmo_dagster.domain.scoring.dimensions import CUSTOM, FAMILIES, Dimension

MOST = 3
"""Reasons told either way."""

LEAST = 0.01
"""A smaller contribution is no reason."""

NOTHING_KNOWN = {
    "points": "nothing that earns points is known of this lead",
    "probability": "nothing is known of this lead: it has the share that is won among all leads",
}


@dataclass(frozen=True)
class Reason:
    """One dimension's part in a score.

    Args:
        name: The dimension.
        family: Its family.
        contribution: Points or logits.
        text: In words, with the lead's own value.
    """

    name: str
    family: str
    contribution: float
    text: str


@dataclass(frozen=True)
class Explanation:
    """Why a lead has its score.

    Args:
        score: 0 to 100.
        scale: "points" or "probability".
        model: What gave it.
        band: A to D; None where it was scored before there were bands.
        base: What every lead starts from, in logits; None for points.
        families: The sum of the contributions of each family that has any.
        raised: At most three reasons that raised it, the strongest first.
        lowered: At most three that lowered it, the strongest first.
        contributions: Every reason, the strongest first.
        note: What is to be said of the whole, if anything.
    """

    score: float
    scale: str
    model: str
    band: str | None
    base: float | None
    families: dict[str, float]
    raised: tuple[Reason, ...]
    lowered: tuple[Reason, ...]
    contributions: tuple[Reason, ...]
    note: str


def explain_score(
    stored: Mapping[str, object],
    contributions: Mapping[str, float],
    dimensions: Mapping[str, Dimension],
    values: Mapping[str, object],
) -> Explanation:
    """The explanation of one lead's score; base and contributions sum to it, or to its logit.

    Args:
        stored: Its row of `ScoredLeads`.
        contributions: Dimension to points or logits.
        dimensions: What each of them is.
        values: What the lead holds of them; NaN or None where it is not known.
    """
    reasons = [
        _reason(name, each, dimensions.get(name), values.get(name))
        for name, each in sorted(contributions.items(), key=lambda item: -abs(item[1]))
    ]
    families = {
        family: sum(r.contribution for r in reasons if r.family == family)
        for family in FAMILIES
        if any(r.family == family for r in reasons)
    }
    scale = str(stored["scale"])
    base = stored["base"]
    return Explanation(
        score=float(str(stored["score"])),
        scale=scale,
        model=str(stored["model"]),
        band=None if stored["band"] is None else str(stored["band"]),
        base=None if base is None else float(str(base)),
        families=families,
        raised=tuple(r for r in reasons if r.contribution >= LEAST)[:MOST],
        lowered=tuple(r for r in reasons if r.contribution <= -LEAST)[:MOST],
        contributions=tuple(reasons),
        note="" if reasons else NOTHING_KNOWN[scale],
    )


def _reason(name: str, contribution: float, dimension: Dimension | None, value: object) -> Reason:
    if dimension is None:
        return Reason(name, FAMILIES[-1], contribution, "a dimension that is no more")
    shown = _shown(value, dimension.unit)
    text = f"{dimension.description.removesuffix('.')}: {shown}"
    if name.startswith(CUSTOM):
        text = f"'{name.removeprefix(CUSTOM)}' is {shown}"
    return Reason(name, dimension.family, contribution, text)


def _shown(value: object, unit: str) -> str:
    """A value in words."""
    if value is None or pd.isna(np.asarray(value)).any():
        return "not known"
    if not isinstance(value, int | float):
        return str(value)
    if unit == YES_OR_NO:
        return "yes" if value else "no"
    if unit == SHARE:
        return f"{value:.0%}"
    number = f"{value:,.10g}" if float(value).is_integer() else f"{value:,.4g}"
    return number if unit in (CATEGORY, "number") else f"{number} {unit}"
