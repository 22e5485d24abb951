"""The figures of campaigns as dashboards and the API show them, and the rates among them.

Opens and clicks are people's alone; what machines did is told apart in `engagement`. Not here:
counting (`store.figures`), or drawing (`api.charts`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel, Field

from aicmo_dagster.domain.nurture.ramp import (
    BOUNCES_BACK,
    BOUNCES_HOLD,
    COMPLAINTS_HALT,
    COMPLAINTS_HOLD,
    Record,
    health,
)
from aicmo_dagster.domain.schemas import STAGES

SCORE_STEP = 5
"""Points that a bar of the distribution spans."""

VERDICTS = ("human", "suspect", "proxy", "machine", "pending")


@dataclass(frozen=True)
class Count:
    """A row of what was counted.

    Args:
        what: What was counted.
        name: Of which kind, such as a sequence or a verdict; empty where there are no kinds.
        day: On which day, ISO 8601; None where it is not told by day.
        number: How many.
        total: The sum of what is summed beside it: scores, credits, or seconds.
    """

    what: str
    name: str
    day: str | None
    number: int
    total: float


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


@dataclass(frozen=True)
class Known:
    """What is known beside the counts.

    Args:
        campaigns: How many campaigns there are.
        first_day: Since when figures are told by day.
        last_day: Until when.
        threshold: The score that qualifies, of one campaign.
        capacities: Sequence to how many leads it may hold, of one campaign.
        senders: Sender to its last days.
        experiments: Variants under test, as columns of `VariantFigure`.
        troubles: What needs attention, as columns of `TroubleFigure`.
    """

    campaigns: int
    first_day: date
    last_day: date
    threshold: float | None
    capacities: Mapping[str, int | None]
    senders: Mapping[str, Record]
    experiments: Sequence[Mapping[str, Any]]
    troubles: Sequence[Mapping[str, Any]]


def figures(counts: Iterable[Count], known: Known) -> Figures:
    """The figures that `counts` make up."""
    table = _Table(list(counts), known.first_day)
    return Figures(
        campaigns=known.campaigns,
        first_day=known.first_day,
        last_day=known.last_day,
        **_funnel(table),
        scores=_scores(table, known.threshold),
        sequences=_sequences(table, known.capacities),
        engagement=[
            Judged(kind=kind, **{v: table.number("verdicts", f"{kind} {v}") for v in VERDICTS})
            for kind in ("open", "click")
        ],
        durations=_durations(table),
        costs=_costs(table),
        senders=[_sender(name, record) for name, record in known.senders.items()],
        experiments=[VariantFigure(**row) for row in known.experiments],
        attention=[TroubleFigure(**row) for row in known.troubles],
    )


class _Table:
    """Counts by what was counted."""

    def __init__(self, counts: list[Count], first_day: date) -> None:
        self._first_day = first_day.isoformat()
        self._of: dict[str, list[Count]] = {}
        for count in counts:
            self._of.setdefault(count.what, []).append(count)

    def rows(self, what: str, *names: str) -> list[Count]:
        """Those of `what`, and of these names if any are given."""
        found = self._of.get(what, [])
        return [count for count in found if count.name in names] if names else found

    def names(self, what: str) -> list[str]:
        """The names that `what` has, sorted."""
        return sorted({count.name for count in self.rows(what)})

    def number(self, what: str, *names: str) -> int:
        """How many, over all days."""
        return sum(count.number for count in self.rows(what, *names))

    def total(self, what: str, *names: str) -> float:
        """The sum over all days."""
        return sum(count.total for count in self.rows(what, *names))

    def by_day(self, what: str, *names: str) -> dict[date, int]:
        """How many on each day of the window."""
        days: Counter[str] = Counter()
        for count in self.rows(what, *names):
            if count.day is not None and count.day >= self._first_day:
                days[count.day] += count.number
        return {date.fromisoformat(day): days[day] for day in sorted(days)}

    def totals_by_day(self, what: str) -> dict[date, float]:
        """The sum on each day of the window."""
        days: dict[str, float] = {}
        for count in self.rows(what):
            if count.day is not None and count.day >= self._first_day:
                days[count.day] = days.get(count.day, 0.0) + count.total
        return {date.fromisoformat(day): days[day] for day in sorted(days)}

    def figure(self, what: str, *names: str, of: str, base: int) -> Figure:
        """What was counted, as a share of `base`, which is called `of`."""
        number = self.number(what, *names)
        return Figure(
            count=number, of=of, rate=_share(number, base), by_day=self.by_day(what, *names)
        )


def _funnel(table: _Table) -> dict[str, Figure]:
    harvested, scored = table.number("harvested"), table.number("scored")
    routed, lost = table.number("routed"), table.number("not routed")
    accepted, mailed = table.number("sends", "accepted"), table.number("mailed")
    tried = table.number("sends", "accepted", "rejected", "unknown")
    back = table.by_day("bounced")
    delivered = accepted - table.number("bounced")
    by_day = {
        day: count - back.get(day, 0) for day, count in table.by_day("sends", "accepted").items()
    }
    responses = {
        name: table.figure("responses", kind, of=of, base=base)
        for name, kind, of, base in (
            ("opened", "open", "delivered", delivered),
            ("clicked", "click", "delivered", delivered),
            ("replied", "reply", "leads mailed", mailed),
            ("unsubscribed", "unsubscribe", "leads mailed", mailed),
            ("complained", "complaint", "leads mailed", mailed),
        )
    }
    records = harvested + table.number("rejected")
    return {
        "harvested": table.figure("harvested", of="records", base=records),
        "scored": table.figure("scored", of="harvested", base=harvested),
        "qualified": table.figure("qualified", of="scored", base=scored),
        # A lead stays in its sequence, also when it would qualify no more.
        "routed": table.figure("routed", of="qualified or routed", base=routed + lost),
        "sent": table.figure("sends", "accepted", of="attempted", base=tried),
        "delivered": Figure(
            count=delivered, of="sent", rate=_share(delivered, accepted), by_day=by_day
        ),
        "bounced": table.figure("bounced", of="sent", base=accepted),
        **responses,
        "graduated": table.figure("handoffs", of="leads mailed", base=mailed),
    }


def _scores(table: _Table, threshold: float | None) -> Scores:
    scored = table.number("scored")
    bars: Counter[int] = Counter()
    last = 100 // SCORE_STEP - 1
    for count in table.rows("scored"):
        bars[min(int(count.name), last)] += count.number
    return Scores(
        mean=table.total("scored") / scored if scored else None,
        threshold=threshold,
        distribution=[
            ScoreBar(low=SCORE_STEP * bar, high=SCORE_STEP * (bar + 1), leads=bars[bar])
            for bar in range(last + 1)
        ],
    )


def _sequences(table: _Table, capacities: Mapping[str, int | None]) -> list[SequenceFigure]:
    routed = table.number("routed")
    return [
        SequenceFigure(
            sequence=name,
            leads=(leads := table.number("routed", name)),
            share=_share(leads, routed) or 0.0,
            capacity=capacities.get(name),
            by_day=table.by_day("routed", name),
        )
        for name in sorted({*table.names("routed"), *capacities})
    ]


def _durations(table: _Table) -> Durations:
    stages = [
        StageDuration(
            stage=name,
            runs=table.number("runs", name),
            failed=table.number("failed runs", name),
            mean_seconds=_mean(table, "runs", name),
            latest_seconds=_mean(table, "latest runs", name),
        )
        for name in sorted({*table.names("runs"), *table.names("failed runs")}, key=_place)
    ]
    return Durations(
        stages=stages,
        mean_seconds=sum(stage.mean_seconds or 0.0 for stage in stages),
        latest_seconds=sum(stage.latest_seconds or 0.0 for stage in stages),
    )


def _place(stage: str) -> tuple[int, str]:
    """The stages in their order, then whatever else is run."""
    return STAGES.index(stage) if stage in STAGES else len(STAGES), stage


def _mean(table: _Table, what: str, name: str) -> float | None:
    number = table.number(what, name)
    return table.total(what, name) / number if number else None


def _costs(table: _Table) -> Costs:
    credits = table.total("credits")
    bases = {"lead": "harvested", "qualified_lead": "qualified", "handoff": "handoffs"}
    return Costs(
        credits=credits,
        **{f"per_{one}": _share(credits, table.number(many)) for one, many in bases.items()},
        by_day=table.totals_by_day("credits"),
        providers=[
            ProviderCost(
                provider=name,
                calls=table.number("credits", name),
                credits=table.total("credits", name),
            )
            for name in table.names("credits")
        ],
    )


def _sender(name: str, record: Record) -> SenderFigure:
    return SenderFigure(
        sender=name,
        **vars(record),
        bounce_rate=_share(record.bounced, record.sent) or 0.0,
        complaint_rate=_share(record.complained, record.sent) or 0.0,
        health=health(record),
    )


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None
