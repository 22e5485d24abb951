"""Why a learned score is what it is: the sum it was computed as, as JSON or in words.

Not here: the scorecard's points, which explain themselves.
"""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.scoring.dimensions import FAMILIES, Dimension
from aicmo_dagster.domain.scoring.model import (
    NOTHING_KNOWN,
    Model,
    Scores,
    Vector,
    score,
    table_codes,
)

BASE = "base"
"""The name of the base among the contributions that are kept as JSON."""

TOP = 3


@dataclass(frozen=True)
class Reason:
    """What one dimension does to a lead's score.

    Args:
        dimension: What it says of the lead.
        value: The lead's own, in words.
        logit: What it adds.
    """

    dimension: Dimension
    value: str
    logit: float

    def __str__(self) -> str:
        return f"{self.dimension.name} is {self.value}: {self.logit:+.2f}"


@dataclass(frozen=True)
class Explanation:
    """A lead's score taken to pieces; `base` and `families` sum to `logit`.

    Args:
        probability: 0 to 1.
        logit: Its logit.
        base: What the model says of a lead before anything is known of it.
        families: What each family adds, in the order of `FAMILIES`.
        raising: The three dimensions at most that raise it the most, the strongest first.
        lowering: The three at most that lower it the most.
        note: What else is to be said, if anything.
    """

    probability: float
    logit: float
    base: float
    families: dict[str, float]
    raising: tuple[Reason, ...]
    lowering: tuple[Reason, ...]
    note: str | None


def explain(model: Model, lead: pd.DataFrame) -> Explanation:
    """Why `model` scores one lead as it does.

    Args:
        model: The model.
        lead: The lead's columns as for `model.score`: a frame of one row.
    """
    scores = score(model, lead)
    parts = scores.contributions[0]
    order = np.argsort(-parts, kind="stable")
    reasons = [
        Reason(model.dimensions[place], _value(lead, model.dimensions[place]), float(parts[place]))
        for place in order
    ]
    return Explanation(
        probability=float(scores.probability[0]),
        logit=float(scores.logit[0]),
        base=float(scores.base[0]),
        families=by_family(model, parts),
        raising=tuple(reason for reason in reasons[:TOP] if reason.logit > 0),
        lowering=tuple(reason for reason in reasons[: -TOP - 1 : -1] if reason.logit < 0),
        note=NOTHING_KNOWN if scores.nothing_known[0] else None,
    )


def by_family(model: Model, contributions: Vector) -> dict[str, float]:
    """The contributions of one lead, summed by family; collinear columns share theirs at random."""
    families = [dimension.family for dimension in model.dimensions]
    return {
        family: float(
            sum(part for part, of in zip(contributions, families, strict=True) if of == family)
        )
        for family in FAMILIES
        if family in families
    }


def contributions_as_json(
    model: Model, columns: pd.DataFrame, scores: Scores
) -> pd.arrays.ArrowExtensionArray:
    """One JSON object a lead: its base and each dimension's part of the logit, which they sum to.

    Parts that are 0 are left out. Numbers are written so that they read back to the bit.

    Args:
        model: The model.
        columns: The leads.
        scores: What `model` said of them.
    """
    known = pyarrow.array(~scores.nothing_known)
    texts = [_written(BASE, scores.base)]
    for table in model.tables:
        parts = np.asarray(table.contributions)
        every = _written(table.dimension.name, parts)
        named = pc.if_else(pyarrow.array(parts != 0), every, "")
        texts.append(pc.if_else(known, named.take(pyarrow.array(table_codes(table, columns))), ""))
    joined = pc.utf8_rtrim(pc.binary_join_element_wise(*texts, ""), characters=",")
    return pd.arrays.ArrowExtensionArray(pc.binary_join_element_wise("{", joined, "}", ""))


def _written(name: str, numbers: Vector) -> pyarrow.Array:
    """`"name":number,` for each number."""
    key = json.dumps(name, ensure_ascii=False) + ":"
    return pc.binary_join_element_wise(key, pyarrow.array(numbers).cast(pyarrow.string()), ",", "")


def _value(lead: pd.DataFrame, dimension: Dimension) -> str:
    """The lead's value with its unit; categories have none."""
    value = lead[dimension.name].iloc[0] if dimension.name in lead else None
    if pd.isna(value):
        return "unknown"
    return repr(value) if isinstance(value, str) else f"{value:,.6g} {dimension.unit}"
