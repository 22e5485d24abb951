"""The leak guard: columns that know the outcome because they were written after it.

What a sales person typed after the call, a snapshot of the day of export, another vendor's score, a
purchase in disguise: such columns make a model that shines on the past and is worth nothing on new
leads. None of it can be proved from data, so the guard names the column and what gave it away, and
training leaves it out until a person has said that it was known when the lead was captured. Not
here: the training.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from scipy.stats import binom, norm

from aicmo_dagster.domain.scoring.binned import BinnedColumn, binned
from aicmo_dagster.domain.scoring.binning import EACH_VALUE, CategoryBins, as_texts, is_category
from aicmo_dagster.domain.scoring.dimensions import CUSTOM, Dimension
from aicmo_dagster.domain.scoring.ranking import Truths, Vector, ranked

Rule = Literal["name", "auc", "purity", "presence", "later"]

SUSPICIOUS_AUC = 0.90
"""One honest column alone does not rank as well as this."""

PURE_SHARE = 0.90
PURE_LEADS = 20
"""A value that so many leads have, and of which such a share had the rarer outcome.

A share that merely happens to reach it is none: good columns have values close below.
"""

SURELY = float(norm.ppf(0.95))
"""Standard errors by which the share of a pure value is beyond chance."""

OF_ARRIVAL = frozenset({"channel", "source"})
"""Where a lead came from is settled when it comes: no value of it was written later."""

UNLIKE_SHARE = 0.5
"""A number stands out from the next only where so few of that had the rarer outcome."""

LATER_SHARE = 0.01
CHANCE = 1e-6

NAMES = (
    (r"\blast\b(?! name)", "a state on the day of export, not of arrival"),
    (
        r"\b(tags?|disposition|lead (quality|profile|status|stage|owner|temperature)"
        r"|(deal|sales|pipeline|lifecycle|opportunity) (stage|status))\b",
        "a judgement made while the lead was worked",
    ),
    (r"\b(score|index|grade|rating|propensity|predicted|prediction)\b", "somebody else's score"),
    (
        r"\b(won|lost|converted|conversion|closed|close date|outcome|invoice|contract|purchased?"
        r"|paid)\b",
        "an outcome in disguise",
    ),
)
"""What the names of custom columns give away, and as what."""


@dataclass(frozen=True)
class Finding:
    """A column that may know the outcome.

    Args:
        column: The dimension.
        rule: What gave it away: its name, its AUC alone, a value of one outcome, being there for
            one outcome only, or dates later than the lead.
        evidence: In words, with the figures.
    """

    column: str
    rule: Rule
    evidence: str

    @property
    def remedy(self) -> str:
        """What to write in the campaign document to keep the column, or to drop it for good."""
        own = self.column.removeprefix(CUSTOM)
        return (
            f"list {own!r} in scoring.known_at_capture if it was known when the lead arrived,"
            " else in scoring.ignore; until then it is not learned from"
        )


def find_leaks(
    columns: pd.DataFrame,
    dimensions: tuple[Dimension, ...],
    won: pd.Series,
    arrived_at: pd.Series | None,
) -> tuple[Finding, ...]:
    """Every column that may know the outcome, with everything that gave it away.

    Args:
        columns: A column for each of `dimensions`: numbers or Arrow strings; ISO dates as strings.
        dimensions: What might be learned from.
        won: The ripened labels, dtype "boolean", missing where unknown.
        arrived_at: Instants of arrival, if there are any.
    """
    known = won.notna().to_numpy(dtype=np.bool_)
    labels = won[known].to_numpy(dtype=np.bool_)
    found: list[Finding] = []
    for dimension in dimensions:
        values = columns[dimension.name]
        found += _by_name(dimension)
        if arrived_at is not None and is_category(values):
            found += _by_dates(dimension.name, values, arrived_at)
        if 0 < labels.sum() < len(labels):
            column = binned(dimension, values[known])
            found += _by_auc(column, labels)
            found += _by_presence(column, labels)
            has_values = is_category(values) or values.nunique() <= EACH_VALUE
            if has_values and dimension.name not in OF_ARRIVAL:
                found += _by_purity(column, labels)
    return tuple(found)


def left_out(
    dimensions: tuple[Dimension, ...],
    findings: tuple[Finding, ...],
    known_at_capture: list[str],
    ignore: list[str],
) -> tuple[str, ...]:
    """The dimensions not to learn from: the ignored, and the found that nobody vouched for.

    Columns may be named with or without `custom.` before them.
    """
    vouched, ignored = (
        {name.removeprefix(CUSTOM) for name in names} for names in (known_at_capture, ignore)
    )
    found = {finding.column for finding in findings}
    names = [(each.name, each.name.removeprefix(CUSTOM)) for each in dimensions]
    return tuple(
        name for name, own in names if own in ignored or (name in found and own not in vouched)
    )


def _by_name(dimension: Dimension) -> Iterator[Finding]:
    if dimension.family != "custom":
        return
    words = re.sub(r"[\W_]+", " ", dimension.name.removeprefix(CUSTOM)).casefold()
    for pattern, meaning in NAMES:
        if match := re.search(pattern, words):
            evidence = f"its name says {match.group()!r}: {meaning}"
            yield Finding(dimension.name, "name", evidence)
            return


def _by_dates(name: str, values: pd.Series, arrived_at: pd.Series) -> Iterator[Finding]:
    """Dates are texts that begin as ISO 8601 has it, in nine of ten leads that have any."""
    texts = as_texts(values)
    dated = pc.match_substring_regex(texts, r"^\d{4}-\d{2}-\d{2}").fill_null(fill_value=False)
    if (pc.sum(dated).as_py() or 0) < max(PURE_LEADS, 0.9 * (len(texts) - texts.null_count)):
        return
    written = pd.Series(pc.utf8_slice_codeunits(texts, 0, 10).to_pandas())
    days = pd.to_datetime(written, format="%Y-%m-%d", errors="coerce").to_numpy("datetime64[us]")
    arrived = arrived_at.astype("datetime64[us, UTC]").to_numpy("datetime64[us]")
    # A date tells no time zone, so the day after may be the same.
    tomorrow = arrived + np.timedelta64(1, "D")
    later = float(np.mean((days > tomorrow)[~np.isnat(days)]))
    if later > LATER_SHARE:
        yield Finding(name, "later", f"{later:.0%} of its dates are later than the lead's arrival")


def _by_auc(column: BinnedColumn, won: Truths) -> Iterator[Finding]:
    alone = _auc_alone(column, won)
    if alone > SUSPICIOUS_AUC:
        evidence = f"alone it ranks leads with an AUC of {alone:.2f}"
        yield Finding(column.dimension.name, "auc", evidence)


def _by_purity(column: BinnedColumn, won: Truths) -> Iterator[Finding]:
    """A bin is a value here. Where one outcome is the rule, values that only have it are many."""
    rarer, outcome = (won, "won") if won.mean() <= 0.5 else (~won, "lost")
    share = np.bincount(column.codes, rarer, column.bins.count) / np.maximum(column.leads, 1)
    frequent = column.leads >= PURE_LEADS
    at_least = _lower_bound(share, np.maximum(column.leads, 1))
    pure = np.flatnonzero(frequent & (at_least >= PURE_SHARE) & ~_gradual(column, share, frequent))
    if len(pure):
        told = ", ".join(
            f"{_value(column, code)} ({share[code]:.0%} of {column.leads[code]})"
            for code in pure[:3]
        )
        evidence = f"nearly all leads with these values were {outcome}: {told}"
        yield Finding(column.dimension.name, "purity", evidence)


def _lower_bound(share: Vector, leads: Vector) -> Vector:
    """What each share is at least, `SURELY` (the score interval of Wilson 1927)."""
    square = SURELY**2
    spread = np.sqrt(share * (1 - share) / leads + square / (4 * leads**2))
    return (share + square / (2 * leads) - SURELY * spread) / (1 + square / leads)


def _gradual(column: BinnedColumn, share: Vector, frequent: Truths) -> Truths:
    """Bins of a number that are next to a bin not much worse: more is better, and nothing leaks."""
    gradual = np.zeros(column.bins.count, dtype=np.bool_)
    ordered = np.flatnonzero(frequent[: column.bins.ordered])
    for place, code in enumerate(ordered):
        beside = ordered[max(place - 1, 0) : place + 2]
        others = share[beside[beside != code]]
        gradual[code] = len(others) > 0 and others.min() > UNLIKE_SHARE
    return gradual


def _by_presence(column: BinnedColumn, won: Truths) -> Iterator[Finding]:
    """Filled in for one outcome only, and more often than chance fills it in so."""
    present = column.codes != column.bins.count - 1
    count, wins = int(present.sum()), int(won[present].sum())
    if count < PURE_LEADS or count == len(won):
        return
    for others, share, outcome in (
        (count - wins, 1 - won.mean(), "won"),
        (wins, won.mean(), "lost"),
    ):
        if others <= count / 100 and binom.cdf(others, count, share) < CHANCE:
            evidence = f"filled in for {count} leads, of which {count - others} were {outcome}"
            yield Finding(column.dimension.name, "presence", evidence)


def _auc_alone(column: BinnedColumn, won: Truths) -> float:
    """The AUC of the share won by bin, each half of the leads ranked by the shares of the other."""
    half = np.arange(len(won)) % 2 == 1
    values = np.zeros(len(won))
    for mine in (half, ~half):
        wins = np.bincount(column.codes[~mine], won[~mine], column.bins.count)
        leads = np.bincount(column.codes[~mine], minlength=column.bins.count)
        smoothed = (wins + won.mean()) / (leads + 1)
        values[mine] = smoothed[column.codes[mine]]
    cohort = half.astype(np.int64)
    return ranked(values, won, cohort).auc(np.ones(len(won)))


def _value(column: BinnedColumn, code: int) -> str:
    if code == column.bins.count - 1:
        return "missing"
    if isinstance(column.bins, CategoryBins):
        values = (*column.bins.values, "rare values")
        return repr(values[code][:40])
    return f"{column.means[code]:g}"
