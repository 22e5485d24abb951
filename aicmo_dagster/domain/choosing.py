"""Which route each candidate for routing takes, and why in words.

Candidates come by lead id, in parts: what they may take is asked of each part, what they take of
all together, by a few numbers each. All but the drawing itself is by row: putting a million leads
in order is dear. Not here: who is a candidate (`candidates`), or the drawing of lots (`drawing`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow
from pandas.api.extensions import ExtensionArray

from aicmo_dagster.domain.addresses import FREE_MAIL
from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.conditions import Condition
from aicmo_dagster.domain.drawing import Crowd, Grid, Lots, Whole
from aicmo_dagster.domain.facts import Facts, Numbers, mask
from aicmo_dagster.domain.places import Places
from aicmo_dagster.domain.sections.routing import Route

TEXT = pd.ArrowDtype(pyarrow.string())


@dataclass(frozen=True)
class Wishes:
    """What the drawing has to know of candidates, row by row.

    Args:
        score: Their scores.
        later: Whether no person chose a sequence for them; those come first.
        eligible: Whether a candidate (row) may go to a route (column).
        met: The share of a route's (column) preferences that a candidate (row) meets; None where
            the strategy does not ask.
        company: Their companies' domains, missing where there is none; None where the campaign
            does not limit the leads of a company.
    """

    score: Numbers
    later: Grid
    eligible: Grid
    met: Numbers | None
    company: pd.Series | None


@dataclass(frozen=True)
class _Words:
    """Texts of which many rows share each; a row has none where its code is that of none."""

    codes: Whole
    texts: pd.Series

    def of(self, rows: slice) -> ExtensionArray:
        return self.texts.array.take(self.codes[rows])


@dataclass(frozen=True)
class Drawn:
    """What candidates drew, row by row.

    Args:
        route: The position of the route, or why there is none.
        turn: Which choice of all it was, from 1 on.
        among: The routes it was drawn among, if that was by turns.
        reason: Why, in words.
    """

    route: Whole
    turn: Whole
    among: _Words
    reason: _Words

    def of(self, candidates: pd.DataFrame, start: int = 0) -> pd.DataFrame:
        """`route`, `turn`, `among` and `reason` of `candidates`, the first of which is at `start`.

        Who was given a sequence by hand had no turn, and has the reason in `words`.
        """
        rows = slice(start, start + len(candidates))
        by_hand = candidates["chosen"].notna()
        texts = {
            name: pd.Series(words.of(rows), candidates.index)
            for name, words in (("among", self.among), ("reason", self.reason))
        }
        columns = {
            "route": self.route[rows],
            "turn": self.turn[rows],
            "among": texts["among"].mask(by_hand, pd.NA),
            "reason": texts["reason"].mask(by_hand, candidates["words"]),
        }
        return pd.DataFrame(columns, index=candidates.index)


def wishes_of(candidates: pd.DataFrame, campaign: Campaign) -> Wishes:
    """What the drawing has to know of `candidates`."""
    routes, limit = campaign.routing.sequences, campaign.routing.overlap.per_company
    facts = Facts(candidates, conditions_of(routes))
    companies = candidates["domain"].mask(candidates["domain"].isin(FREE_MAIL))
    return Wishes(
        candidates["score"].to_numpy(np.float64, na_value=np.nan),
        candidates["chosen"].isna().to_numpy(dtype=bool),
        _eligible(routes, facts),
        _met(routes, facts) if campaign.routing.strategy == "best_match" else None,
        None if limit is None else companies,
    )


def together(parts: Sequence[Wishes]) -> Wishes:
    """The wishes of all parts, one at least, as those of one."""
    met = [part.met for part in parts if part.met is not None]
    companies = [part.company for part in parts if part.company is not None]
    return Wishes(
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.later for part in parts]),
        np.concatenate([part.eligible for part in parts]),
        np.concatenate(met) if met else None,
        pd.concat(companies, ignore_index=True) if companies else None,
    )


def choose(
    wishes: Wishes,
    turns: Mapping[str, int],
    campaign: Campaign,
    places: Places,
    company_load: Mapping[str, int],
) -> Drawn:
    """What each candidate drew.

    - `weighted_round_robin`: the next turn by weight, exactly: after any number of turns among the
      same sequences, each of these is within one of its share.
    - `least_loaded`: the one with the fewest active leads for its weight, ties by the document.
    - `best_match`: the one of whose preferences it meets the largest share, ties by load.

    Args:
        wishes: Of all candidates, by lead id.
        turns: How many had a turn already, by what they drew `among`.
        campaign: The campaign document.
        places: What the routes hold and have room for.
        company_load: Leads that count as contacted, by company domain.
    """
    routes = places.routes
    # Overrides first, then best score first, ties by lead id.
    order = np.lexsort((-wishes.score, wishes.later))
    lots = Lots(
        wishes.eligible[order],
        [route.sequence for route in routes],
        [route.weight for route in routes],
        places.room.copy(),
        _crowd(wishes, order, company_load, campaign.routing.overlap.per_company),
        Counter(turns),
    )
    if campaign.routing.strategy == "weighted_round_robin":
        return _by_turns(lots, order)
    return _by_fit(lots, order, places, wishes.met)


def _by_turns(lots: Lots, order: Whole) -> Drawn:
    chosen, groups = lots.draw_by_turns()
    of_group, distinct = pd.factorize(groups)
    among = [lots.among(group) for group in distinct.tolist()]
    base = len(lots.names)

    def in_words(code: int) -> str:
        group, route = divmod(code, base)
        return f"its turn for '{lots.names[route]}', {_choice_in_words(among[group])}"

    codes = np.where(chosen < 0, -1, of_group * base + chosen)
    return Drawn(
        _by_row(chosen, order),
        _by_row((chosen >= 0).cumsum(), order),
        _told(_by_row(of_group, order), among.__getitem__),
        _told(_by_row(codes, order), in_words),
    )


def _choice_in_words(among: str) -> str:
    shares = [part.rpartition(":") for part in among.split()]
    if len(shares) == 1:
        return "the only sequence it may go to"
    return "by weight among " + ", ".join(f"'{name}' ({weight})" for name, _, weight in shares)


def _by_fit(lots: Lots, order: Whole, places: Places, met: Numbers | None) -> Drawn:
    """By the share of preferences that is `met`, and by load alone where there is none."""
    share = np.zeros(lots.eligible.shape) if met is None else met[order]
    chosen = lots.draw_by_fit(places.load.tolist(), share)
    own = np.round(100 * share[np.arange(len(chosen)), np.maximum(chosen, 0)]).astype(np.int64)
    base = len(lots.names)

    def in_words(code: int) -> str:
        percent, route = divmod(code, base)
        if met is None:
            return f"'{lots.names[route]}' has the fewest active leads for its weight"
        return f"'{lots.names[route]}' fits best: {percent}% of its preferences are met"

    codes = np.where(chosen < 0, -1, own * base + chosen)
    return Drawn(
        _by_row(chosen, order),
        _by_row((chosen >= 0).cumsum(), order),
        _told(np.full(len(chosen), -1), in_words),
        _told(_by_row(codes, order), in_words),
    )


def _by_row(in_order: Whole, order: Whole) -> Whole:
    """What stands in the order of the turns, put in the order of the rows."""
    by_row = np.empty_like(in_order)
    by_row[order] = in_order
    return by_row


def _told(codes: Whole, in_words: Callable[[int], str]) -> _Words:
    """The words of each code, made once for each that occurs; missing where the code is -1."""
    of_code, distinct = pd.factorize(codes)
    words = [None if code < 0 else in_words(code) for code in distinct.tolist()]
    return _Words(of_code, pd.Series(words, dtype=TEXT))


def conditions_of(routes: Iterable[Route]) -> list[Condition]:
    """Every condition and preference of `routes`."""
    each = ((route.when, *route.prefer) for route in routes)
    return [condition for parts in each for condition in parts if condition is not None]


def _eligible(routes: list[Route], facts: Facts) -> Grid:
    """Whether a lead (row) may go to a route (column): by hand, else by the route's condition."""
    everyone = np.ones(len(facts.leads), dtype=bool)
    grid = np.column_stack([mask(r.when, facts) if r.when else everyone for r in routes])
    chosen = facts.leads["chosen"]
    by_hand = np.flatnonzero(chosen.notna())
    for position, route in enumerate(routes):
        grid[by_hand, position] = (chosen.iloc[by_hand] == route.sequence).to_numpy(dtype=bool)
    return grid


def _met(routes: list[Route], facts: Facts) -> Numbers:
    """The share of a route's (column) preferences that a lead (row) meets; 0 where it has none."""
    none = np.zeros(len(facts.leads))
    parts = [[mask(preference, facts) for preference in route.prefer] for route in routes]
    return np.column_stack([np.mean(part, axis=0) if part else none for part in parts])


def _crowd(wishes: Wishes, order: Whole, load: Mapping[str, int], limit: int | None) -> Crowd:
    if limit is None or wishes.company is None:
        return Crowd(np.full(len(order), -1), np.zeros(0, np.int64), None)
    company, domains = pd.factorize(wishes.company)
    contacted = np.array([load.get(domain, 0) for domain in domains.tolist()], np.int64)
    return Crowd(company[order], contacted, limit)
