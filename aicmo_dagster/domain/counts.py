"""The figures of campaigns, worked out of what was counted, and the rates among them.

Not here: what they look like (`domain.figures`), counting (`store.figures`), or when and for whom
(`stages.operating.figures`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from aicmo_dagster.domain.figures import (
    SCORE_STEP,
    VERDICTS,
    Costs,
    Durations,
    Figure,
    Figures,
    Judged,
    ProviderCost,
    ScoreBar,
    Scores,
    SenderFigure,
    SequenceFigure,
    StageDuration,
    TroubleFigure,
    VariantFigure,
)
from aicmo_dagster.domain.nurture.ramp import Record, health
from aicmo_dagster.domain.schemas import STAGES


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
        self._of: dict[str, dict[str, list[Count]]] = {}
        for count in counts:
            self._of.setdefault(count.what, {}).setdefault(count.name, []).append(count)

    def rows(self, what: str, *names: str) -> list[Count]:
        """Those of `what`, and of these names if any are given."""
        found = self._of.get(what, {})
        return [count for name in names or found for count in found.get(name, ())]

    def names(self, what: str) -> list[str]:
        """The names that `what` has, sorted."""
        return sorted(self._of.get(what, ()))

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
