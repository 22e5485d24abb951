"""The expert scorecard: points for what the campaign document says it looks for.

Every rule gives a lead a share from 0 to 1 of its points. Rules that compare with what a campaign
does not state do not count; of the built-in ones, the others are scaled so that a lead which meets
all of them has 100. The score is points, not a probability. Not here: learning from outcomes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.domain.scoring.bands import bands
from aicmo_dagster.domain.scoring.catalogue import BY_NAME, CATEGORY
from aicmo_dagster.domain.scoring.cohorts import rank_cohorts
from aicmo_dagster.domain.scoring.columns import Now, Numbers, days_since, is_one_of
from aicmo_dagster.domain.scoring.contributions import as_json
from aicmo_dagster.domain.scoring.custom import custom_columns, custom_dimensions
from aicmo_dagster.domain.scoring.dimensions import CUSTOM, Dimension
from aicmo_dagster.domain.scoring.families.engagement import halved
from aicmo_dagster.domain.scoring.features import features, measured
from aicmo_dagster.domain.scoring.points import ASKED, BUILT_IN, PointRule, family_of
from aicmo_dagster.domain.sections.scoring import Scoring

VERSION = "scorecard"
DECIMALS = 4
"""Of points: contributions are rounded before they are summed, so that the sum is exact."""

MOST = 100.0


def score(leads: pd.DataFrame, scoring: Scoring, now: datetime) -> pd.DataFrame:
    """The `ScoredLeads` frame of `leads`, a `RawLeads` frame, in its order.

    Args:
        leads: The leads.
        scoring: The scoring section of the campaign.
        now: The instant that ages count from.
    """
    names, parts = points(leads, scoring, now)
    total = np.round(parts.sum(axis=0), DECIMALS)
    columns = {
        "lead_id": leads["lead_id"],
        "score": total,
        "band": bands(total, rank_cohorts(leads)),
        "scale": "points",
        "model": VERSION,
        "contributions": as_json(names, parts),
    }
    return typed("scored_leads", columns)


def points(leads: pd.DataFrame, scoring: Scoring, now: Now) -> tuple[list[str], Numbers]:
    """The rules that count, and what each gives each lead (rules by leads).

    Args:
        leads: The leads.
        scoring: The scoring section of the campaign.
        now: The instant that ages count from: one for all, or each lead's own.
    """
    rules = counted_rules(scoring)
    known = pd.concat([leads, own_columns(leads, rules)], axis=1)
    given = [
        np.round(_share(known, scoring, now, name, rule) * rule.points, DECIMALS)
        for name, rule in rules.items()
    ]
    return list(rules), _exact(_capped(list(rules), np.array(given), scoring))


def counted_rules(scoring: Scoring) -> dict[str, PointRule]:
    """The rules that count in a campaign, with the points that each gives at most."""
    rules = scoring.points.rules if scoring.points else BUILT_IN
    stated = {name: rule for name, rule in rules.items() if _is_stated(scoring, name)}
    if scoring.points:
        return stated
    # In decimals that sum to exactly 100.
    reached = np.cumsum([rule.points for rule in stated.values()])
    most = np.diff(np.round(reached / reached[-1] * MOST, DECIMALS), prepend=0)
    return {
        name: rule.model_copy(update={"points": round(points, DECIMALS)})
        for (name, rule), points in zip(stated.items(), most.tolist(), strict=True)
    }


def own_columns(leads: pd.DataFrame, rules: Mapping[str, PointRule]) -> pd.DataFrame:
    """The campaign's own columns that `rules` look at, as `custom_columns` gives them."""
    kinds = {
        name: CATEGORY if rule.values else "number"
        for name, rule in rules.items()
        if name.startswith(CUSTOM)
    }
    return custom_columns(leads, kinds) if kinds else pd.DataFrame(index=leads.index)


def looked_at(
    leads: pd.DataFrame, scoring: Scoring, now: Now
) -> tuple[dict[str, Dimension], pd.DataFrame]:
    """Every dimension that may earn points in a campaign, and what the leads hold of it."""
    own = own_columns(leads, counted_rules(scoring))
    dimensions = BY_NAME | {each.name: each for each in custom_dimensions(own)}
    return dimensions, pd.concat([features(leads, scoring, now), own], axis=1)


def _is_stated(scoring: Scoring, name: str) -> bool:
    if name not in ASKED:
        return True
    section, key = ASKED[name]
    return bool(getattr(getattr(scoring, section), key))


def _share(leads: pd.DataFrame, scoring: Scoring, now: Now, name: str, rule: PointRule) -> Numbers:
    """What each lead has of a rule's points, 0 to 1; nothing where it is not known."""
    is_own = name.startswith(CUSTOM)
    if rule.values:
        held = leads[[name]] if is_own else features(leads, scoring, now, [name])
        return is_one_of(held, name, rule.values)
    ages = rule.half_life_days is not None or rule.within_days is not None
    # It decays by itself, unless the rule says how.
    measure = "engaged" if ages and name == "recent_engagement" else name
    found = leads[name].to_numpy() if is_own else measured(leads, scoring, now, measure)
    amounts = np.nan_to_num(found)
    shares = np.clip(amounts / (rule.full_at or 1), 0, 1)
    if rule.half_life_days is not None:
        shares = shares * halved(days_since(leads, "last_engaged_at", now), rule.half_life_days)
    if rule.within_days is not None:
        shares = shares * (days_since(leads, "last_engaged_at", now) <= rule.within_days)
    return shares


def _capped(names: Sequence[str], parts: Numbers, scoring: Scoring) -> Numbers:
    """`parts` (rules by leads) within the caps of the families and of the score."""
    if scoring.points is None:
        return parts
    kept = parts.copy()
    families = np.array([family_of(name) for name in names])
    for family, most in scoring.points.families.items():
        kept[families == family] = _between(kept[families == family], -np.inf, most)
    return _between(kept, 0, scoring.points.most)


def _between(parts: Numbers, least: float, most: float) -> Numbers:
    """`parts` whose sum for each lead is kept within bounds.

    A sum above the bounds takes from the parts above zero in proportion, a sum below them from
    those below zero: what a cap cuts is spread over the rules that ran into it.
    """
    gained, lost = np.maximum(parts, 0), np.minimum(parts, 0)
    up, down = gained.sum(axis=0), lost.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rising = np.where(up + down > most, np.maximum(most - down, 0) / up, 1.0)
        falling = np.where(up + down < least, (least - up) / down, 1.0)
    return gained * rising + lost * falling


def _exact(parts: Numbers) -> Numbers:
    """`parts` in decimals that sum to the rounded sum."""
    reached = np.round(np.cumsum(parts, axis=0), DECIMALS)
    return np.round(np.diff(reached, prepend=0, axis=0), DECIMALS)
