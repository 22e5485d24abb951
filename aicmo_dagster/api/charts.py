"""The dashboard's charts: what each shows, as a table and as what the browser draws from it.

Not here: drawing (`static/dashboard.js`, by Plotly), or counting.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from aicmo_dagster.domain.figures import VERDICTS, Figures

Kind = Literal["bars", "columns", "lines", "stacked", "intervals"]
Value = float | int | None


@dataclass(frozen=True)
class Series:
    """A named row of values, one a label; `low` and `high` are the ends of intervals."""

    name: str
    values: list[Value]
    low: list[Value] | None = None
    high: list[Value] | None = None


@dataclass(frozen=True)
class Chart:
    """A chart.

    Args:
        id: Its name in the page.
        title: What it shows.
        summary: What it says, in a sentence for those who do not see it.
        kind: How it is drawn.
        over: What the labels are, such as "day".
        labels: Where the values stand.
        series: The values.
        unit: What the values are, such as "leads".
        mark: Label and place of a line across, such as a threshold.
    """

    id: str
    title: str
    summary: str
    kind: Kind
    over: str
    labels: list[str]
    series: list[Series]
    unit: str
    mark: tuple[str, float] | None = None

    def drawn(self) -> dict[str, Any]:
        """What the browser draws, as plain values for JSON."""
        return {
            "kind": self.kind,
            "labels": self.labels,
            "unit": self.unit,
            "mark": self.mark,
            "series": [vars(series) for series in self.series],
        }

    def rows(self) -> list[tuple[str, list[Value]]]:
        """The rows of the table: a label and its value in each column of `columns`."""
        columns = [part for series in self.series for part in _parts(series)]
        return [
            (label, [values[place] for _, values in columns])
            for place, label in enumerate(self.labels)
        ]

    def columns(self) -> list[str]:
        """The heads of the table's columns of values."""
        return [name for series in self.series for name, _ in _parts(series)]


FUNNEL = {
    "harvested": "Harvested",
    "scored": "Scored",
    "qualified": "Qualified",
    "routed": "Routed",
    "sent": "Sent",
    "delivered": "Delivered",
    "opened": "Opened by people",
    "clicked": "Clicked by people",
    "replied": "Replied",
    "graduated": "Graduated",
}
HARM = {"bounced": "Bounced", "unsubscribed": "Unsubscribed", "complained": "Complained"}


def charts(figures: Figures) -> list[Chart]:
    """The charts of the figures; those that would be empty for good are left out."""
    found = [
        _funnel(figures),
        _scores(figures),
        _sequences(figures),
        _by_day(figures, "leads", "Leads by day", ("harvested", "qualified", "routed")),
        _by_day(figures, "messages", "Messages by day", ("sent", "delivered", "bounced")),
        _by_day(
            figures,
            "responses",
            "Responses of people by day",
            ("opened", "clicked", "replied", "unsubscribed", "graduated"),
        ),
        _verdicts(figures),
        _durations(figures),
        _credits(figures),
        _tests(figures),
    ]
    return [chart for chart in found if chart.labels]


def _funnel(figures: Figures) -> Chart:
    values: list[Value] = [getattr(figures, name).count for name in FUNNEL]
    return Chart(
        id="funnel",
        title="Funnel",
        summary=f"{figures.harvested.count:,} leads harvested, {figures.qualified.count:,} "
        f"qualified, {figures.sent.count:,} messages sent, {figures.replied.count:,} leads "
        f"replied, {figures.graduated.count:,} graduated.",
        kind="bars",
        over="Step",
        labels=list(FUNNEL.values()),
        series=[Series("Count", values)],
        unit="leads or messages",
    )


def _scores(figures: Figures) -> Chart:
    scores = figures.scores
    mean = "no lead is scored" if scores.mean is None else f"the mean is {scores.mean:.1f}"
    needed = f", {scores.threshold:g} qualifies" if scores.threshold is not None else ""
    return Chart(
        id="scores",
        title="Scores",
        summary=f"Leads by score from 0 to 100: {mean}{needed}.",
        kind="columns",
        over="Score",
        labels=[f"{bar.low} to {bar.high}" for bar in scores.distribution],
        series=[Series("Leads", [bar.leads for bar in scores.distribution])],
        unit="leads",
        # In bars from the left end of the first, whose middle the browser calls 0.
        mark=None
        if scores.threshold is None
        else (f"threshold {scores.threshold:g}", scores.threshold / 5 - 0.5),
    )


def _sequences(figures: Figures) -> Chart:
    rows = figures.sequences
    series = [Series("Leads", [row.leads for row in rows])]
    if any(row.capacity is not None for row in rows):
        series.append(Series("Capacity", [row.capacity for row in rows]))
    return Chart(
        id="sequences",
        title="Leads by sequence",
        summary="; ".join(f"{row.sequence}: {row.leads:,} leads" for row in rows[:5]),
        kind="bars",
        over="Sequence",
        labels=[row.sequence for row in rows],
        series=series,
        unit="leads",
    )


def _by_day(figures: Figures, name: str, title: str, shown: tuple[str, ...]) -> Chart:
    days = _days(figures)
    series = [
        Series(part.capitalize(), _over(days, getattr(figures, part).by_day)) for part in shown
    ]
    told = ", ".join(f"{sum(s.values):,} {s.name.lower()}" for s in series)  # type: ignore[arg-type]
    return Chart(
        id=name,
        title=title,
        summary=f"In {len(days)} days: {told}.",
        kind="lines",
        over="Day (UTC)",
        labels=[day.isoformat() for day in days],
        series=series,
        unit=name,
    )


def _verdicts(figures: Figures) -> Chart:
    rows = figures.engagement
    told = "; ".join(
        f"{row.kind}s: {row.human:,} by people, {row.machine:,} by machines" for row in rows
    )
    return Chart(
        id="verdicts",
        title="Opens and clicks by who did them",
        summary=f"{told}.",
        kind="stacked",
        over="Kind",
        labels=[f"{row.kind.capitalize()}s" for row in rows],
        series=[Series(v.capitalize(), [getattr(row, v) for row in rows]) for v in VERDICTS],
        unit="events",
    )


def _durations(figures: Figures) -> Chart:
    told = figures.durations
    return Chart(
        id="durations",
        title="Duration by stage",
        summary=f"All stages together: {told.latest_seconds:.1f} seconds when they ran last, "
        f"{told.mean_seconds:.1f} on average.",
        kind="bars",
        over="Stage",
        labels=[row.stage for row in told.stages],
        series=[
            Series("Latest run", [_rounded(row.latest_seconds) for row in told.stages]),
            Series("Mean", [_rounded(row.mean_seconds) for row in told.stages]),
        ],
        unit="seconds",
    )


def _credits(figures: Figures) -> Chart:
    days = _days(figures) if figures.costs.credits else []
    return Chart(
        id="credits",
        title="Provider credits by day",
        summary=f"{figures.costs.credits:,.1f} credits in all.",
        kind="columns",
        over="Day (UTC)",
        labels=[day.isoformat() for day in days],
        series=[Series("Credits", _over(days, figures.costs.by_day))],
        unit="credits",
    )


def _tests(figures: Figures) -> Chart:
    rows = [row for row in figures.experiments if row.variant is not None]
    return Chart(
        id="tests",
        title="Tests of variants: difference from the first, in percentage points",
        summary="; ".join(f"{row.step}, {row.variant}: {row.stands}" for row in rows),
        kind="intervals",
        over="Step and variant",
        labels=[f"{row.step}: {row.variant} ({row.stands})" for row in rows],
        series=[
            Series(
                "Difference",
                [_points(row.difference) for row in rows],
                [_points(row.low) for row in rows],
                [_points(row.high) for row in rows],
            )
        ],
        unit="percentage points",
    )


def _parts(series: Series) -> list[tuple[str, list[Value]]]:
    ends = [("from", series.low), ("to", series.high)]
    return [(series.name, series.values), *((name, part) for name, part in ends if part)]


def _days(figures: Figures) -> list[date]:
    number = (figures.last_day - figures.first_day).days + 1
    return [figures.first_day + timedelta(days=day) for day in range(number)]


def _over(days: list[date], by_day: Mapping[date, Value]) -> list[Value]:
    return [by_day.get(day, 0) for day in days]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _points(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 2)
