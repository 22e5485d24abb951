"""The places of each sequence: how many leads it holds, how many more it takes, and moves by hand.

Not here: who takes the places that are left (`routing`, `drawing`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.sections.routing import Route


@dataclass
class Places:
    """The places of each route of a campaign.

    Args:
        routes: The routes, in the order of the document.
        load: How many leads each holds.
        room: How many more each takes; infinite where nothing limits it.
    """

    routes: list[Route]
    load: npt.NDArray[np.int64]
    room: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, campaign: Campaign, routed: pd.DataFrame, ended: Collection[str], now: datetime
    ) -> Self:
        """The places at `now`, where `routed` are in a sequence or, of those, `ended`."""
        start, end = (pd.Timestamp(bound) for bound in day_of(now, campaign.zone))
        today = (routed["routed_at"] >= start) & (routed["routed_at"] < end)
        active = routed[~routed["lead_id"].isin(list(ended))]
        return cls.holding(campaign, _counts(active), _counts(routed[today]))

    @classmethod
    def holding(
        cls, campaign: Campaign, active: Mapping[str, int], today: Mapping[str, int]
    ) -> Self:
        """The places where so many are in each sequence, and so many entered it on this day.

        Active leads count against `capacity`, today's against `per_day`.
        """
        routes = campaign.routing.sequences
        load = np.array([active.get(route.sequence, 0) for route in routes], np.int64)
        new = np.array([today.get(route.sequence, 0) for route in routes], np.int64)
        at_once = np.array([route.capacity or np.inf for route in routes]) - load
        per_day = np.array([route.per_day or np.inf for route in routes]) - new
        return cls(routes, load, np.maximum(np.minimum(at_once, per_day), 0))

    def position(self, sequence: str) -> int | None:
        """The position of the route to `sequence`, if there is one."""
        return next((p for p, r in enumerate(self.routes) if r.sequence == sequence), None)

    def move(self, source: str, target: str) -> None:
        """One lead goes from one sequence to another."""
        for sequence, change in ((source, -1), (target, 1)):
            position = self.position(sequence)
            if position is not None:
                self.load[position] += change
                self.room[position] -= change


def moved_by_hand(
    routed: pd.DataFrame,
    by_hand: pd.DataFrame,
    places: Places,
    *,
    ended: Collection[str],
    unsent: Collection[str],
    version: int,
    now: datetime,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The routed leads, some moved by hand, and why others that were to be are not.

    Args:
        routed: A `RoutedLeads` frame.
        by_hand: sequence and words of each override, by lead id, in order of precedence.
        places: The places, which moves change.
        ended: Leads whose sequence has ended.
        unsent: Leads whose first message is not out or under way.
        version: The document's version, which moved leads follow from now on.
        now: The instant of moving.
    """
    moved, notes = routed.copy(), dict[str, str]()
    rows = pd.Index(routed["lead_id"]).get_indexer(by_hand.index)
    for row, (lead, target, words) in zip(rows, by_hand.itertuples(), strict=True):
        source = routed["sequence"].iloc[row] if row >= 0 else target
        if source == target:
            continue
        hindrance = _hindrance(target, places, ended=lead in ended, unsent=lead in unsent)
        if hindrance:
            notes[lead] = f"{words}; it waits: {hindrance}"
            continue
        places.move(source, target)
        at = moved.index[row]
        moved.loc[at, ["sequence", "reason", "among"]] = [target, words, pd.NA]
        moved.loc[at, "campaign_version"] = version
        moved.loc[at, "routed_at"] = pd.Timestamp(now)
    return moved, notes


def _hindrance(target: str, places: Places, *, ended: bool, unsent: bool) -> str | None:
    """Why a routed lead cannot be moved to `target`, if it cannot."""
    position = places.position(target)
    if ended:
        return "its sequence has ended"
    if not unsent:
        return "its first message is out or under way"
    if position is None:
        return f"no leads are routed to '{target}' any more"
    return f"'{target}' is full" if places.room[position] < 1 else None


def day_of(now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The calendar day of `now` in `zone`, from midnight to midnight, in UTC."""
    day = now.astimezone(zone).date()
    start, end = (datetime.combine(each, time(), zone) for each in (day, day + timedelta(days=1)))
    return start.astimezone(UTC), end.astimezone(UTC)


def _counts(routed: pd.DataFrame) -> dict[str, int]:
    return {str(name): int(n) for name, n in routed["sequence"].value_counts().items()}
