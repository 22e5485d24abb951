"""The figures of one life: the funnel day by day, what held sends back, and each variant's answers.

Not here: figures over several lives (`rehearsal`), or how they are shown.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.simulation.world import Pass
from aicmo_dagster.stages.summary import dispositions
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.timelines import MILESTONES, timeline


@dataclass(frozen=True)
class Arm:
    """One variant of a step: messages delivered, and the leads among them that replied."""

    sequence: str
    step: str
    variant: str
    delivered: int
    replied: int


@dataclass(frozen=True)
class Funnel:
    """What became of a campaign's leads.

    Args:
        days: Milestone to its count on each day.
        places: Every lead in exactly one place, as `summary.dispositions` says.
        held: Why sends that were due had to wait, to the most that waited for it at once.
        unrouted: Why leads that qualify are in no sequence at the end.
        full: Sequence with a capacity to the runs of routing that found it full.
        hours_to_first: Hours from routing to the first message: median and 90th percentile.
        arms: Each step with variants.
    """

    days: dict[str, list[int]]
    places: dict[str, int]
    held: dict[str, int]
    unrouted: dict[str, int]
    full: dict[str, int]
    hours_to_first: tuple[float, float] | None
    arms: list[Arm] = field(default_factory=list)

    @property
    def totals(self) -> dict[str, int]:
        """Milestone to its count."""
        return {name: sum(counts) for name, counts in self.days.items()}


def read_funnel(
    workspace: Workspace, campaign: Campaign, passes: Sequence[Pass], start: datetime, days: int
) -> Funnel:
    """The figures of the campaign, whose life began at `start` and lasted so many days."""
    key = campaign.campaign
    with workspace.database.read() as connection:
        told = timeline(connection, key)
        names = ["lead_id", "sequence", "step", "variant", "state", "sent_at"]
        sends = read_frame(connection, "nurture_sends", key, names)
        routed = read_frame(connection, "routed_leads", key, ["lead_id", "sequence", "routed_at"])
    mine = [each for each in passes if each.report.campaign == key]
    return Funnel(
        days=_by_day(told, start, days),
        places=dispositions(workspace, key),
        held=_held(mine),
        unrouted=_unrouted(mine),
        full=_full(mine, campaign),
        hours_to_first=_hours_to_first(routed, sends),
        arms=_arms(sends, told),
    )


def _by_day(told: pd.DataFrame, start: datetime, days: int) -> dict[str, list[int]]:
    """Milestone to its counts; what was judged in the instant of the end is of the last day."""
    since = (told["at"] - pd.Timestamp(start)).to_numpy(dtype="timedelta64[us]")
    day = pd.Series(since // np.timedelta64(1, "D"), index=told.index).clip(upper=days - 1)
    counts = {name: day[told["milestone"] == name].value_counts().to_dict() for name in MILESTONES}
    return {
        name: [int(count.get(number, 0)) for number in range(days)]
        for name, count in counts.items()
    }


def _held(passes: Sequence[Pass]) -> dict[str, int]:
    """Reasons of sends that waited; those that came to an end for good are not among them."""
    most: Counter[str] = Counter()
    for each in passes:
        if each.report.stage == "nurture_sends":
            for reason, count in each.report.reasons.items():
                most[reason] = max(most[reason], count)
    return dict(most.most_common())


def _unrouted(passes: Sequence[Pass]) -> dict[str, int]:
    last = [each.report.reasons for each in passes if each.report.stage == "routed_leads"]
    return dict(last[-1]) if last else {}


def _full(passes: Sequence[Pass], campaign: Campaign) -> dict[str, int]:
    """Sequence to how often routing left it without room."""
    found: Counter[str] = Counter()
    for each in passes:
        if each.report.stage == "routed_leads":
            active = each.report.figures
            found.update(
                route.sequence
                for route in campaign.routing.sequences
                if route.capacity and active.get(f"active in {route.sequence}", 0) >= route.capacity
            )
    return dict(found.most_common())


def _hours_to_first(routed: pd.DataFrame, sends: pd.DataFrame) -> tuple[float, float] | None:
    sent = sends.dropna(subset=["sent_at"]).groupby("lead_id", as_index=False)["sent_at"].min()
    both = routed.merge(sent, on="lead_id")
    if both.empty:
        return None
    waited = (both["sent_at"] - both["routed_at"]).astype("timedelta64[us]")
    hours = waited.to_numpy(dtype="timedelta64[us]") / np.timedelta64(1, "h")
    return round(float(np.median(hours)), 1), round(float(np.percentile(hours, 90)), 1)


def _arms(sends: pd.DataFrame, told: pd.DataFrame) -> list[Arm]:
    varied = sends[sends["variant"].notna() & (sends["state"] == "accepted")]
    replies = set(told.loc[told["milestone"] == "replied", "lead_id"])
    found = varied.assign(replied=varied["lead_id"].isin(replies))
    grouped = found.groupby(["sequence", "step", "variant"], sort=True)["replied"]
    return [
        Arm(str(sequence), str(step), str(variant), int(each.count()), int(each.sum()))
        for (sequence, step, variant), each in grouped
    ]
