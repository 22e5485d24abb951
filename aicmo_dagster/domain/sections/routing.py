"""The section `routing`: who goes to which sequence. Not here: routing leads (`domain.routing`)."""

from typing import Literal

from pydantic import Field, PositiveInt

from aicmo_dagster.domain.conditions import Condition
from aicmo_dagster.domain.documents import Section
from aicmo_dagster.domain.field_types import Days, Weight


class Overlap(Section):
    """How campaigns keep out of each other's way, and colleagues out of one conversation."""

    active_elsewhere: Literal["skip", "allow"] = "skip"
    per_company: PositiveInt | None = None
    cooldown_days: Days = 0
    colleague_replied_days: Days = 30


class Route(Section):
    """One sequence that leads may be routed to.

    `capacity` limits the leads in it at once, `per_day` those that are new on a calendar day of the
    campaign. `prefer` counts for the strategy `best_match` alone.
    """

    sequence: str
    when: Condition | None = None
    weight: Weight = 1
    capacity: PositiveInt | None = None
    per_day: PositiveInt | None = None
    prefer: list[Condition] = Field(default=[])


class Routing(Section):
    """Who goes to which sequence."""

    strategy: Literal["weighted_round_robin", "least_loaded", "best_match"] = "weighted_round_robin"
    overlap: Overlap = Overlap()
    sequences: list[Route] = Field(min_length=1, max_length=60)
