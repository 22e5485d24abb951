"""Which sequence a qualified lead goes through: sticky, fair by weight, within capacity.

Not here: who is blocked for overlap or suppression; the caller finds that in the database and hands
it in with its reason.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import gcd

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow

from aicmo_dagster.domain.campaigns import Campaign, Route
from aicmo_dagster.domain.conditions import Facts, mask
from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.domain.scoring.families.company import FREE_MAIL

TEXT = pd.ArrowDtype(pyarrow.string())

UNMATCHED, FULL, CROWDED = -1, -2, -3
NOWHERE = {
    UNMATCHED: "no sequence's condition holds",
    FULL: "every sequence it may go to is full",
    CROWDED: "others of the company are contacted already",
}
"""Why a lead has no route, by what stands in its place."""

Whole = npt.NDArray[np.int64]
Grid = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Routed:
    """What routing found.

    Args:
        leads: The `RoutedLeads` frame: those in a sequence, old and new.
        decisions: lead_id, outcome (`routed` or `not_routed`), decided_by, reason: every lead of
            either frame.
    """

    leads: pd.DataFrame
    decisions: pd.DataFrame


def route(
    qualified: pd.DataFrame,
    routed: pd.DataFrame,
    blocked: pd.DataFrame,
    campaign: Campaign,
    *,
    company_load: Mapping[str, int],
    version: int,
    now: datetime,
) -> Routed:
    """Every qualified lead in a sequence, or the reason why not.

    A lead that is routed already stays where it is. The others come one after another, best score
    first (ties by lead id), so that the order of rows changes nothing. Each takes the next turn
    among the sequences whose condition it meets and that have room, by weight and exactly: after
    any number of turns among the same sequences, each of these is within one of its share.

    Args:
        qualified: `RawLeads` columns with `score`: the leads that may be routed, the routed ones
            among them where they are still known.
        routed: The stored `RoutedLeads` frame.
        blocked: lead_id, reason: those who must not be routed now.
        campaign: The campaign document.
        company_load: Leads in a sequence already, in any campaign, by company domain.
        version: The document's version, which newly routed leads follow to their end.
        now: The instant of routing.
    """
    known = qualified["lead_id"].isin(routed["lead_id"])
    free = qualified[~known].sort_values(["score", "lead_id"], ascending=[False, True])
    barred = _barred(free, blocked)
    candidates = free[barred.isna()].reset_index(drop=True)
    lots = _Lots(candidates, qualified[known], routed, campaign, company_load)
    chosen = lots.draw()
    fresh = _routed_frame(candidates, chosen, campaign, routed, version, now)
    leads = pd.concat([routed, fresh], ignore_index=True)
    return Routed(leads, _decisions(free, barred, candidates, chosen, leads))


def _barred(free: pd.DataFrame, blocked: pd.DataFrame) -> pd.Series:
    """Why each lead must not be routed, missing where it may."""
    reasons = dict(zip(blocked["lead_id"], blocked["reason"], strict=True))
    barred = free["lead_id"].map(reasons).astype(TEXT)
    return barred.mask(barred.isna() & free["email"].isna(), "no address")


class _Lots:
    """The drawing of a route by candidates who come best first."""

    def __init__(
        self,
        candidates: pd.DataFrame,
        staying: pd.DataFrame,
        routed: pd.DataFrame,
        campaign: Campaign,
        company_load: Mapping[str, int],
    ) -> None:
        routes = campaign.routing.sequences
        load = routed["sequence"].value_counts()
        self._eligible = _eligible(candidates, routes)
        self._weights = [route.weight for route in routes]
        room = [(route.capacity or np.inf) - load.get(route.sequence, 0) for route in routes]
        self._room = np.maximum(room, 0)
        self._bits = 1 << np.arange(len(routes))
        self._turns = Counter((_eligible(staying, routes) @ self._bits).tolist())
        companies = candidates["domain"].mask(candidates["domain"].isin(FREE_MAIL))
        self._company, domains = pd.factorize(companies)
        self._contacted = np.array([company_load.get(domain, 0) for domain in domains], np.int64)
        self._per_company = campaign.routing.overlap.per_company

    def draw(self) -> Whole:
        """The route of each candidate, or the key of `NOWHERE` that says why there is none.

        All who are left draw at once, and what they drew holds up to the first whose route is full
        by then; without that route the others draw again. So a round fills at least one route.
        """
        chosen = np.full(len(self._eligible), UNMATCHED, dtype=np.int64)
        begin = 0
        while begin < len(chosen):
            drawn, groups = self._round(begin)
            end = self._first_without_room(drawn)
            chosen[begin : begin + end] = drawn[:end]
            self._settle(begin, drawn[:end], groups[:end])
            begin += end
        return chosen

    def _round(self, begin: int) -> tuple[Whole, Whole]:
        """What those from `begin` on would draw, and the set of routes each draws among."""
        eligible = self._eligible[begin:]
        groups = (eligible & (self._room > 0)) @ self._bits
        drawn = np.where(eligible.any(axis=1), FULL, UNMATCHED)
        crowded = self._crowded(begin, groups > 0)
        drawn[crowded] = CROWDED
        drawing = np.where(crowded, 0, groups)
        for group in np.unique(drawing[drawing > 0]):
            members = np.flatnonzero(drawing == group)
            allowed = np.flatnonzero(group & self._bits)
            weights = [self._weights[position] for position in allowed]
            taken = self._turns[int(group)]
            drawn[members] = allowed[_turns(weights, taken, len(members))]
        return drawn, groups

    def _crowded(self, begin: int, wanting: Grid) -> Grid:
        """Who comes after as many others of the company as may be contacted."""
        crowded = np.zeros(len(wanting), dtype=bool)
        if self._per_company is None:
            return crowded
        company = self._company[begin:]
        limited = np.flatnonzero(wanting & (company >= 0))
        companies = pd.Series(company[limited])
        before = companies.groupby(companies).cumcount().to_numpy() + self._contacted[companies]
        crowded[limited] = before >= self._per_company
        return crowded

    def _first_without_room(self, drawn: Whole) -> int:
        """The position of the first who draws a route that is full by then; else the end."""
        end = len(drawn)
        for position in np.flatnonzero(np.isfinite(self._room)):
            takers = np.flatnonzero(drawn == position)
            room = int(self._room[position])
            if len(takers) > room:
                end = min(end, int(takers[room]))
        return end

    def _settle(self, begin: int, drawn: Whole, groups: Whole) -> None:
        """Counts what was drawn against room, turns and companies."""
        going = drawn >= 0
        self._room -= np.bincount(drawn[going], minlength=len(self._room))
        self._turns.update(groups[going].tolist())
        company = self._company[begin : begin + len(drawn)][going]
        self._contacted += np.bincount(company[company >= 0], minlength=len(self._contacted))


def _eligible(leads: pd.DataFrame, routes: list[Route]) -> Grid:
    """Whether a lead (row) meets the condition of a route (column)."""
    facts = Facts(leads)
    everyone = np.ones(len(leads), dtype=bool)
    return np.column_stack([mask(r.when, facts) if r.when else everyone for r in routes])


def _turns(weights: list[int], taken: int, count: int) -> Whole:
    """The next `count` turns after `taken`, as positions in `weights`."""
    period = sum(weights) // gcd(*weights)
    start = taken % period
    turns = fair_turns(weights, min(period, start + count))
    return np.array(turns)[(start + np.arange(count)) % period]


def fair_turns(weights: list[int], count: int) -> list[int]:
    """The first `count` turns among `weights`, as positions.

    After any number of turns each position had its share rounded up or down: the quota method of
    Balinski and Young. (Smooth weighted round robin, as nginx has it, strays by more than one.)
    """
    total = sum(weights)
    had = [0] * len(weights)
    turns = []
    for number in range(1, count + 1):
        owed = [p for p, weight in enumerate(weights) if had[p] * total < number * weight]
        turn = min(owed, key=lambda position: (had[position] + 1) / weights[position])
        had[turn] += 1
        turns.append(turn)
    return turns


def _seed(campaign: str, lead_id: str) -> int:
    """0-9999 from campaign and lead; SHA-256, since cheap hashes correlate over experiments."""
    return int(hashlib.sha256(f"{campaign}|{lead_id}".encode()).hexdigest()[:8], 16) % 10_000


def _routed_frame(
    candidates: pd.DataFrame,
    chosen: Whole,
    campaign: Campaign,
    routed: pd.DataFrame,
    version: int,
    now: datetime,
) -> pd.DataFrame:
    going = candidates[chosen >= 0].reset_index(drop=True)
    names = [route.sequence for route in campaign.routing.sequences]
    sequences = pd.Series([names[position] for position in chosen[chosen >= 0]], dtype=TEXT)
    last = int(routed["position"].max()) if len(routed) else 0
    columns = {
        "lead_id": going["lead_id"],
        "sequence": sequences,
        "campaign_version": version,
        "seed": [_seed(campaign.campaign, lead) for lead in going["lead_id"]],
        "position": np.arange(last + 1, last + 1 + len(going)),
        "score": going["score"],
        "reason": "its turn for '" + sequences + "' by weight, among the sequences it may go to",
        "routed_at": pd.Timestamp(now),
    }
    return typed("routed_leads", columns)


def _decisions(
    free: pd.DataFrame,
    barred: pd.Series,
    candidates: pd.DataFrame,
    chosen: Whole,
    leads: pd.DataFrame,
) -> pd.DataFrame:
    nowhere = chosen < 0
    without = pd.Series([NOWHERE[reason] for reason in chosen[nowhere].tolist()], dtype=TEXT)
    outcomes = [
        (free["lead_id"][barred.notna()], "not_routed", barred.dropna()),
        (candidates["lead_id"][nowhere].reset_index(drop=True), "not_routed", without),
        (leads["lead_id"], "routed", leads["reason"]),
    ]
    parts = [
        pd.DataFrame({"lead_id": ids, "outcome": outcome, "reason": why, "decided_by": "routing"})
        for ids, outcome, why in outcomes
    ]
    return pd.concat(parts, ignore_index=True).astype(TEXT)
