"""Which route each candidate for routing takes, and why in words.

Candidates come by lead id, and all but the drawing itself is by row: putting a million leads in
order is dear. Not here: who is a candidate (`routing`), or the drawing of lots (`drawing`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd
import pyarrow
from pandas.api.extensions import ExtensionArray

from aicmo_dagster.domain.addresses import FREE_MAIL
from aicmo_dagster.domain.campaigns import Campaign, Route
from aicmo_dagster.domain.conditions import Condition
from aicmo_dagster.domain.drawing import Crowd, Grid, Lots, Whole
from aicmo_dagster.domain.facts import Facts, Numbers, mask
from aicmo_dagster.domain.places import Places

TEXT = pd.ArrowDtype(pyarrow.string())


def choose(
    candidates: pd.DataFrame,
    routed: pd.DataFrame,
    campaign: Campaign,
    places: Places,
    company_load: Mapping[str, int],
) -> pd.DataFrame:
    """What each candidate drew: `route` (or why none), `among`, `reason` and `turn` of that choice.

    All but the strategy's own arithmetic is by row; putting a million leads in order is dear.

    - `weighted_round_robin`: the next turn by weight, exactly: after any number of turns among the
      same sequences, each of these is within one of its share.
    - `least_loaded`: the one with the fewest active leads for its weight, ties by the document.
    - `best_match`: the one of whose preferences it meets the largest share, ties by load.
    """
    routes = places.routes
    facts = Facts(candidates, conditions_of(routes))
    order = _order(candidates)
    lots = Lots(
        _eligible(routes, facts)[order],
        [route.sequence for route in routes],
        [route.weight for route in routes],
        places.room,
        _crowd(candidates, order, company_load, campaign.routing.overlap.per_company),
        Counter({str(k): n for k, n in routed["among"].value_counts().items()}),
    )
    if campaign.routing.strategy == "weighted_round_robin":
        drawn = _by_turns(lots, order)
    else:
        fit = campaign.routing.strategy == "best_match"
        drawn = _by_fit(lots, order, places, _met(routes, facts) if fit else None)
    by_hand = candidates["chosen"].notna()
    drawn["among"] = drawn["among"].mask(by_hand, pd.NA)
    drawn["reason"] = drawn["reason"].mask(by_hand, candidates["words"])
    return drawn


def _order(candidates: pd.DataFrame) -> Whole:
    """The rows in their turn: overrides first, then best score first, ties by lead id."""
    later = candidates["chosen"].isna().to_numpy(dtype=bool)
    score = candidates["score"].to_numpy(np.float64, na_value=np.nan)
    return np.lexsort((-score, later))


def _by_turns(lots: Lots, order: Whole) -> pd.DataFrame:
    chosen, groups = lots.draw_by_turns()
    of_group, distinct = pd.factorize(groups)
    among = [lots.among(group) for group in distinct.tolist()]
    base = len(lots.names)

    def in_words(code: int) -> str:
        group, route = divmod(code, base)
        return f"its turn for '{lots.names[route]}', {_choice_in_words(among[group])}"

    codes = np.where(chosen < 0, -1, of_group * base + chosen)
    columns = {
        "route": pd.Series(_by_row(chosen, order)),
        "among": _told(_by_row(of_group, order), among.__getitem__),
        "reason": _told(_by_row(codes, order), in_words),
        "turn": _by_row((chosen >= 0).cumsum(), order),
    }
    return pd.DataFrame(columns)


def _choice_in_words(among: str) -> str:
    shares = [part.rpartition(":") for part in among.split()]
    if len(shares) == 1:
        return "the only sequence it may go to"
    return "by weight among " + ", ".join(f"'{name}' ({weight})" for name, _, weight in shares)


def _by_fit(lots: Lots, order: Whole, places: Places, met: Numbers | None) -> pd.DataFrame:
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
    columns = {
        "route": pd.Series(_by_row(chosen, order)),
        "among": pd.Series(pd.NA, range(len(chosen)), TEXT),
        "reason": _told(_by_row(codes, order), in_words),
        "turn": _by_row((chosen >= 0).cumsum(), order),
    }
    return pd.DataFrame(columns)


def _by_row(in_order: Whole, order: Whole) -> Whole:
    """What stands in the order of the turns, put in the order of the rows."""
    by_row = np.empty_like(in_order)
    by_row[order] = in_order
    return by_row


def _told(codes: Whole, in_words: Callable[[int], str]) -> ExtensionArray:
    """The words of each code, made once for each that occurs; missing where the code is -1."""
    of_code, distinct = pd.factorize(codes)
    words = [None if code < 0 else in_words(code) for code in distinct.tolist()]
    return pd.Series(words, dtype=TEXT).array.take(of_code)


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


def _crowd(
    candidates: pd.DataFrame, order: Whole, load: Mapping[str, int], limit: int | None
) -> Crowd:
    if limit is None:
        return Crowd(np.full(len(candidates), -1), np.zeros(0, np.int64), None)
    companies = candidates["domain"].mask(candidates["domain"].isin(FREE_MAIL))
    company, domains = pd.factorize(companies)
    contacted = np.array([load.get(domain, 0) for domain in domains.tolist()], np.int64)
    return Crowd(company[order], contacted, limit)
