"""What a stage did for one campaign, in counts: it goes into logs and metadata."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import pandas as pd
import pyarrow

from aicmo_dagster.domain.facts import one_array

T = TypeVar("T")


@dataclass(frozen=True)
class Report:
    """Counts of one stage for one campaign.

    Args:
        campaign: The campaign's key.
        stage: The stage, which is also its asset's name.
        rows_in: What came in: records, leads, or leads in a sequence.
        rows_out: What the stage's frame holds now.
        reasons: What did not go on, counted by reason.
        figures: Further numbers worth plotting.
        notes: What an operator should know, in words.
        decisions: What was decided, counted by outcome and cause.
    """

    campaign: str
    stage: str
    rows_in: int
    rows_out: int
    reasons: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    decisions: dict[tuple[str, str], int] = field(default_factory=dict)


def counted(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, most frequent first, ties as they come; missing ones do not."""
    texts = pyarrow.array(values if isinstance(values, pd.Series) else list(values))
    told = texts.cast(pyarrow.string()).drop_null().value_counts()
    return _most_frequent_first(told.field("values").to_pylist(), told.field("counts").to_pylist())


def counted_decisions(decisions: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Decisions by `outcome` and `cause`, most frequent first, ties as they come."""
    named = ["outcome", "cause"]
    said = pyarrow.table({name: one_array(decisions[name]) for name in named})
    told = said.group_by(named, use_threads=False).aggregate([([], "count_all")])
    pairs = zip(*(told[name].to_pylist() for name in named), strict=True)
    return _most_frequent_first(list(pairs), told["count_all"].to_pylist())


def _most_frequent_first(values: list[T], counts: list[int]) -> dict[T, int]:
    return dict(sorted(zip(values, counts, strict=True), key=lambda each: -each[1]))
