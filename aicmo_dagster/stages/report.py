"""What a stage did for one campaign, in counts: it goes into logs and metadata."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd


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
    """

    campaign: str
    stage: str
    rows_in: int
    rows_out: int
    reasons: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def counted(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, most frequent first."""
    counts = pd.Series(list(values), dtype="object").value_counts()
    return {str(value): int(count) for value, count in counts.items()}
