"""What a dimension of the score is: a named property of leads. Not here: which ones there are."""

from dataclasses import dataclass
from typing import Literal

FAMILIES = ("fit", "company", "budget", "role", "engagement", "data_quality", "custom")
"""The groups that contributions are shown in; `custom` holds a campaign's own columns."""

CUSTOM = "custom."
"""What the names of a campaign's own columns begin with."""


@dataclass(frozen=True)
class Dimension:
    """A property of leads that a score may depend on.

    Args:
        name: What its contributions are called; a campaign's own column is `custom.<Column>`.
        family: One of `FAMILIES`.
        description: What it says of a lead, in words.
        unit: What its values count, such as "days", "share" or "category".
        direction: 1 if more can only be better, -1 if it can only be worse, 0 if nobody knows.
    """

    name: str
    family: str
    description: str
    unit: str
    direction: Literal[-1, 0, 1] = 0
