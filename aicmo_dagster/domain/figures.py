"""The figures of campaigns as dashboards and the API show them.

Opens and clicks are people's alone; what machines did is told apart in `engagement`. Not here:
what they are worked out of (`domain.counts`), or drawing (`api.charts`).
"""

from datetime import date

from pydantic import BaseModel, Field

from aicmo_dagster.domain.nurture.ramp import (
    BOUNCES_BACK,
    BOUNCES_HOLD,
    COMPLAINTS_HALT,
    COMPLAINTS_HOLD,
)

SCORE_STEP = 5
"""Points that a bar of the distribution spans."""

VERDICTS = ("human", "suspect", "proxy", "machine", "pending")


class Figure(BaseModel):
    """A count, what share it is of another, and how it came about day by day."""

    count: int = Field(examples=[98])
    of: str | None = Field(description="What the rate is a share of.", examples=["scored"])
    rate: float | None = Field(
        description="The count as a share; none where there is nothing to be a share of.",
        examples=[0.363],
    )
    by_day: dict[date, int] = Field(
        description="Day in UTC to its part of the count, within the window; other days are zero.",
        examples=[{"2026-03-04": 98}],
    )


class ScoreBar(BaseModel):
    """How many leads have a score from `low` to below `high`; the last bar holds 100 too."""

    low: int
    high: int
    leads: int


class Scores(BaseModel):
    """How scores are spread."""

    mean: float | None
    threshold: float | None = Field(description="What qualifies; none over several campaigns.")
    distribution: list[ScoreBar]


class SequenceFigure(BaseModel):
    """Leads that were routed to a sequence."""

    sequence: str
    leads: int
    share: float
    capacity: int | None
    by_day: dict[date, int]


class Judged(BaseModel):
    """Opens or clicks, by who did them as far as that can be told. Raw counts, repeats included."""

    kind: str = Field(examples=["click"])
    human: int
    suspect: int
    proxy: int
    machine: int
    pending: int


class StageDuration(BaseModel):
    """How long a stage takes, of its runs within the window."""

    stage: str
    runs: int
    failed: int
    mean_seconds: float | None
    latest_seconds: float | None = Field(
        description="Of the latest run; over several campaigns, of the latest of each, on average."
    )


class Durations(BaseModel):
    """How long the stages take, each and in all."""

    stages: list[StageDuration]
    mean_seconds: float = Field(description="The stages' means, summed.")
    latest_seconds: float = Field(description="The stages' latest, summed.")


class ProviderCost(BaseModel):
    """What was spent at a provider."""

    provider: str
    calls: int
    credits: float


class Costs(BaseModel):
    """Credits spent, calls in doubt at their ceiling, and what that is for each lead."""

    credits: float
    per_lead: float | None
    per_qualified_lead: float | None
    per_handoff: float | None
    by_day: dict[date, float]
    providers: list[ProviderCost]


class SenderFigure(BaseModel):
    """A sender's last seven days over all its campaigns, and the ceilings it is held to."""

    sender: str
    sent: int
    bounced: int
    complained: int
    bounce_rate: float
    complaint_rate: float
    bounces_hold: float = BOUNCES_HOLD
    bounces_ceiling: float = BOUNCES_BACK
    complaints_hold: float = COMPLAINTS_HOLD
    complaints_ceiling: float = COMPLAINTS_HALT
    health: str = Field(examples=["good", "hold", "back", "halt"])


class VariantFigure(BaseModel):
    """A variant of a step under test, as of the test's last look."""

    sequence: str
    step: str
    state: str = Field(examples=["running", "decided", "no difference"])
    look: int
    variant: str | None
    delivered: int
    successes: int
    rate: float | None
    difference: float | None = Field(description="From the first variant, in rate.")
    low: float | None = Field(description="Of its 95 % interval.")
    high: float | None
    stands: str = Field(examples=["running", "stopped", "winner"])


class TroubleFigure(BaseModel):
    """Something that needs attention."""

    kind: str = Field(examples=["stage failed", "send in doubt", "handoff dead", "drift"])
    campaign: str | None
    subject: str
    number: int
    text: str


class Figures(BaseModel):
    """The figures of one campaign, or of several together."""

    campaigns: int = Field(description="How many campaigns these are the figures of.")
    first_day: date
    last_day: date
    harvested: Figure
    scored: Figure
    qualified: Figure
    routed: Figure
    sent: Figure
    delivered: Figure
    bounced: Figure
    opened: Figure
    clicked: Figure
    replied: Figure
    unsubscribed: Figure
    complained: Figure
    graduated: Figure
    scores: Scores
    sequences: list[SequenceFigure]
    engagement: list[Judged]
    durations: Durations
    costs: Costs
    senders: list[SenderFigure]
    experiments: list[VariantFigure]
    attention: list[TroubleFigure]
