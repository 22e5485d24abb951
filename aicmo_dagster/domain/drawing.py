"""The drawing of a route by candidates who come best first: by turns, or by fit and load.

Candidates and routes are positions in arrays here. Not here: who is a candidate, or what a route is
(`routing`).
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from math import gcd

import numpy as np
import numpy.typing as npt
import pandas as pd

UNMATCHED, FULL, CROWDED = -1, -2, -3
"""What stands in the place of a route: why there is none."""

Whole = npt.NDArray[np.int64]
Grid = npt.NDArray[np.bool_]


@dataclass
class Crowd:
    """How many of each company are contacted already.

    Args:
        company: For each candidate a number that colleagues share; -1 where there is no company.
        contacted: By that number, those in a sequence already.
        limit: How many there may be; None if there is no limit.
    """

    company: Whole
    contacted: Whole
    limit: int | None

    def crowded(self, begin: int, wanting: Grid) -> Grid:
        """Which of the `wanting`, counted from `begin`, come after as many as may be contacted."""
        crowded = np.zeros(len(wanting), dtype=bool)
        if self.limit is None:
            return crowded
        company = self.company[begin:]
        limited = np.flatnonzero(wanting & (company >= 0))
        companies = pd.Series(company[limited])
        before = companies.groupby(companies).cumcount().to_numpy() + self.contacted[companies]
        crowded[limited] = before >= self.limit
        return crowded

    def add(self, candidates: Whole) -> None:
        """These candidates are contacted now."""
        company = self.company[candidates]
        self.contacted += np.bincount(company[company >= 0], minlength=len(self.contacted))


@dataclass
class Lots:
    """What candidates draw from.

    Args:
        eligible: Whether a candidate (row) may go to a route (column).
        names: The name of each route.
        weights: The weight of each route.
        room: How many more each route takes; infinite where there is no limit.
        crowd: The companies.
        turns: How many had a turn already among each `among`.
    """

    eligible: Grid
    names: list[str]
    weights: list[int]
    room: npt.NDArray[np.float64]
    crowd: Crowd
    turns: Counter[str] = field(default_factory=Counter)

    @cached_property
    def _bits(self) -> Whole:
        return 1 << np.arange(len(self.names))

    def among(self, group: int) -> str:
        """The routes of `group`, a sum of bits, by name and each with its weight."""
        return " ".join(f"{self.names[p]}:{self.weights[p]}" for p in self._members(group))

    def _members(self, group: int) -> list[int]:
        """The positions in `group`, by name, so that the order in the document changes nothing."""
        members = np.flatnonzero(group & self._bits).tolist()
        return sorted(members, key=lambda position: self.names[position])

    def draw_by_turns(self) -> tuple[Whole, Whole]:
        """For each candidate its route, or why it has none, and the group it drew among.

        All who are left draw at once, and what they drew holds up to whoever fills a route; without
        that route the others draw again. So a round fills at least one route, or is the last.
        """
        chosen = np.full(len(self.eligible), UNMATCHED, dtype=np.int64)
        among = np.zeros(len(self.eligible), dtype=np.int64)
        begin = 0
        while begin < len(chosen):
            drawn, groups = self._round(begin)
            end = begin + self._until_full(drawn)
            chosen[begin:end] = drawn[: end - begin]
            among[begin:end] = groups[: end - begin]
            self._settle(begin, chosen[begin:end], among[begin:end])
            begin = end
        return chosen, among

    def draw_by_fit(self, load: list[int], met: npt.NDArray[np.float64]) -> Whole:
        """For each candidate the route whose preferences it meets best, ties by load.

        One after another, since each draw changes the load of the next.

        Args:
            load: The leads in each route, compared in proportion to its weight.
            met: The share of a route's (column) preferences that a candidate (row) meets.
        """
        choices, choice_of = self._choices(met)
        room, load = self.room.tolist(), list(load)
        company, limit = self.crowd.company.tolist(), self.crowd.limit
        contacted = self.crowd.contacted.tolist()
        chosen = np.empty(len(self.eligible), dtype=np.int64)
        for candidate, choice in enumerate(choice_of.tolist()):
            route = self._least_loaded(choices[choice], room, load)
            colleagues = company[candidate]
            if route >= 0 and limit is not None and colleagues >= 0:
                route = CROWDED if contacted[colleagues] >= limit else route
            if route >= 0:
                room[route] -= 1
                load[route] += 1
                if colleagues >= 0:
                    contacted[colleagues] += 1
            chosen[candidate] = route
        return chosen

    def _least_loaded(self, tiers: list[list[int]], room: list[float], load: list[int]) -> int:
        """Of the first tier with room, the route that is least loaded for its weight."""
        for tier in tiers:
            least, route = np.inf, FULL
            for position in tier:
                if room[position] > 0 and load[position] / self.weights[position] < least:
                    least, route = load[position] / self.weights[position], position
            if route >= 0:
                return route
        return FULL if tiers else UNMATCHED

    def _choices(self, met: npt.NDArray[np.float64]) -> tuple[list[list[list[int]]], Whole]:
        """The distinct choices, each as tiers of routes that fit equally well, best first.

        Also, for each candidate, which of them is its own.
        """
        codes = np.zeros(len(met), dtype=np.int64)
        for position in range(met.shape[1]):
            fit = np.where(self.eligible[:, position], met[:, position], -1.0)
            fits = pd.factorize(fit)[0]
            codes = pd.factorize(codes * (fits.max(initial=0) + 1) + fits)[0]
        firsts = np.unique(codes, return_index=True)[1]
        return [self._tiers(self.eligible[row], met[row]) for row in firsts], codes

    def _tiers(self, eligible: Grid, met: npt.NDArray[np.float64]) -> list[list[int]]:
        shares = sorted(set(met[eligible].tolist()), reverse=True)
        return [np.flatnonzero(eligible & (met == share)).tolist() for share in shares]

    def _round(self, begin: int) -> tuple[Whole, Whole]:
        """What those from `begin` on would draw, and the group that each draws among."""
        eligible = self.eligible[begin:]
        groups = _sums_of_bits(eligible & (self.room > 0))
        drawn = np.where(_sums_of_bits(eligible) > 0, FULL, UNMATCHED)
        crowded = self.crowd.crowded(begin, groups > 0)
        drawn[crowded] = CROWDED
        drawing = np.where(crowded, 0, groups)
        for group in pd.unique(drawing[drawing > 0]):
            members = np.flatnonzero(drawing == group)
            allowed = np.array(self._members(group))
            weights = [self.weights[position] for position in allowed]
            taken = self.turns[self.among(group)]
            drawn[members] = allowed[_turns(weights, taken, len(members))]
        return drawn, groups

    def _until_full(self, drawn: Whole) -> int:
        """How many draw until one of them fills a route; else all."""
        end = len(drawn)
        for position in np.flatnonzero(np.isfinite(self.room) & (self.room > 0)):
            takers = np.flatnonzero(drawn == position)
            room = int(self.room[position])
            if len(takers) >= room:
                end = min(end, int(takers[room - 1]) + 1)
        return end

    def _settle(self, begin: int, drawn: Whole, groups: Whole) -> None:
        """Counts what was drawn against room, turns and companies."""
        going = np.flatnonzero(drawn >= 0)
        self.room -= np.bincount(drawn[going], minlength=len(self.room))
        for group, count in zip(*_counted(groups[going]), strict=True):
            self.turns[self.among(group)] += count
        self.crowd.add(begin + going)


def _turns(weights: list[int], taken: int, count: int) -> Whole:
    """The next `count` turns after `taken`, as positions in `weights`."""
    period = sum(weights) // gcd(*weights)
    start = taken % period
    turns = fair_turns(weights, min(period, start + count))
    return np.array(turns)[(start + np.arange(count)) % period]


def _sums_of_bits(grid: Grid) -> Whole:
    """The columns that hold in each row, as a sum of powers of two; there may be 62 columns."""
    packed = np.zeros((len(grid), 8), dtype=np.uint8)
    packed[:, : -(-grid.shape[1] // 8)] = np.packbits(grid, axis=1, bitorder="little")
    return packed.view("<i8").ravel()


def _counted(groups: Whole) -> tuple[list[int], list[int]]:
    """Each group that occurs, and how often; without sorting, unlike `np.unique`."""
    of_group, distinct = pd.factorize(groups)
    return distinct.tolist(), np.bincount(of_group).tolist()


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
