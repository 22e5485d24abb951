"""The expert scorecard: points for what the campaign document says it looks for.

Every feature gives a lead a share from 0 to 1 of its weight. Features that a campaign states
nothing for do not count, and the weights of the others are scaled so that a lead which meets all of
them has 100 points. The score is points, not a probability. Not here: learning from outcomes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.addresses import FREE_MAIL
from aicmo_dagster.domain.campaigns import Scoring
from aicmo_dagster.domain.schemas import typed

VERSION = "scorecard"
DECIMALS = 4
"""Of points: contributions are rounded before they are summed, so that the sum is exact."""

HALF_LIFE_DAYS = 30
FULL_VISITS = 10

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Feature:
    """One dimension of the scorecard.

    Args:
        name: What its contributions are called.
        family: fit, budget, engagement, company or data_quality.
        weight: Points before scaling.
        description: What earns the points, in words.
        stated: Whether the campaign asks for it.
        share: The share of its points that each lead earns, 0 to 1.
    """

    name: str
    family: str
    weight: float
    description: str
    stated: Callable[[Scoring], bool]
    share: Callable[[pd.DataFrame, Scoring, datetime], Shares]


def score(leads: pd.DataFrame, scoring: Scoring, now: datetime) -> pd.DataFrame:
    """The `ScoredLeads` frame of `leads`, a `RawLeads` frame, in its order.

    Args:
        leads: The leads.
        scoring: The scoring section of the campaign.
        now: The instant that recency counts from.
    """
    stated = [feature for feature in FEATURES if feature.stated(scoring)]
    points = {
        feature.name: np.round(feature.share(leads, scoring, now) * most, DECIMALS)
        for feature, most in zip(stated, _most_points(stated), strict=True)
    }
    summed = np.round(np.sum(list(points.values()), axis=0), DECIMALS)
    columns = {
        "lead_id": leads["lead_id"],
        "score": summed,
        "scale": "points",
        "model": VERSION,
        "contributions": _as_json(points),
    }
    return typed("scored_leads", columns)


def _most_points(stated: list[Feature]) -> Shares:
    """What each feature gives at most, in decimals that sum to exactly 100."""
    reached = np.cumsum([feature.weight for feature in stated])
    units = np.round(reached / reached[-1] * 100 * 10**DECIMALS)
    return np.diff(units, prepend=0) / 10**DECIMALS


def _as_json(points: dict[str, Shares]) -> pd.arrays.ArrowExtensionArray:
    """One JSON object a lead, holding the features that gave it points."""
    parts = []
    for name, values in points.items():
        numbers = pyarrow.array(values).cast(pyarrow.string())
        texts = pc.binary_join_element_wise(f'"{name}":', numbers, ",", "")
        parts.append(pc.if_else(pyarrow.array(values > 0), texts, ""))
    joined = pc.utf8_rtrim(pc.binary_join_element_wise(*parts, ""), characters=",")
    return pd.arrays.ArrowExtensionArray(pc.binary_join_element_wise("{", joined, "}", ""))


def _always(_: Scoring) -> bool:
    return True


def _arrow(leads: pd.DataFrame, column: str) -> pyarrow.Array:
    return pyarrow.array(leads[column])


def _shares(truths: pyarrow.Array) -> Shares:
    return np.asarray(pc.fill_null(truths, fill_value=False), dtype=np.float64)


def _known(column: str) -> Callable[[pd.DataFrame, Scoring, datetime], Shares]:
    return lambda leads, _, __: np.asarray(leads[column].notna(), dtype=np.float64)


def _any_phrase(leads: pd.DataFrame, column: str, phrases: list[str]) -> Shares:
    """Where the column holds one of `phrases` as whole words, whatever the case."""
    # Letters of any script make words; RE2's \W knows those of English only.
    edge = r"[^\pL\pN_]"
    pattern = f"(^|{edge})({'|'.join(map(re.escape, phrases))})({edge}|$)"
    matched = pc.match_substring_regex(_arrow(leads, column), pattern=pattern, ignore_case=True)
    return _shares(matched)


def _within(leads: pd.DataFrame, column: str, bounds: list[float | None] | None) -> Shares:
    lower, upper = bounds or [None, None]
    values = leads[column].to_numpy(dtype=np.float64, na_value=np.nan)
    with np.errstate(invalid="ignore"):
        above = values >= (-np.inf if lower is None else lower)
        below = values <= (np.inf if upper is None else upper)
    return np.asarray(above & below, dtype=np.float64)


def _technologies(leads: pd.DataFrame, scoring: Scoring, _: datetime) -> Shares:
    """The share of the asked technologies that the lead's company uses."""
    asked = scoring.budget.technologies
    return np.mean([_any_phrase(leads, "technologies", [name]) for name in asked], axis=0)


def _recency(leads: pd.DataFrame, _: Scoring, now: datetime) -> Shares:
    """Halved every 30 days since the lead last did something."""
    days = (pd.Timestamp(now) - leads["last_engaged_at"].astype("datetime64[us, UTC]")).dt.days
    halvings = days.clip(lower=0).to_numpy(dtype=np.float64) / HALF_LIFE_DAYS
    return np.nan_to_num(np.exp2(-halvings))


def _visits(leads: pd.DataFrame, _: Scoring, __: datetime) -> Shares:
    visits = leads["visits"].to_numpy(dtype=np.float64, na_value=0)
    return np.minimum(visits, FULL_VISITS) / FULL_VISITS


def _own_domain(leads: pd.DataFrame, _: Scoring, __: datetime) -> Shares:
    domain = _arrow(leads, "domain")
    own = pc.invert(pc.is_in(domain, value_set=pyarrow.array(FREE_MAIL)))
    return _shares(pc.and_(own, pc.is_valid(domain)))


FEATURES = (
    Feature(
        "title_match",
        "fit",
        18,
        "The job title holds one of the campaign's titles.",
        lambda scoring: bool(scoring.fit.titles),
        lambda leads, scoring, _: _any_phrase(leads, "title", scoring.fit.titles),
    ),
    Feature(
        "seniority_match",
        "fit",
        12,
        "The seniority is one of the campaign's.",
        lambda scoring: bool(scoring.fit.seniorities),
        lambda leads, scoring, _: _any_phrase(leads, "seniority", scoring.fit.seniorities),
    ),
    Feature(
        "industry_match",
        "fit",
        10,
        "The industry holds one of the campaign's.",
        lambda scoring: bool(scoring.fit.industries),
        lambda leads, scoring, _: _any_phrase(leads, "industry", scoring.fit.industries),
    ),
    Feature(
        "size_match",
        "fit",
        10,
        "The headcount is within the campaign's bounds.",
        lambda scoring: scoring.fit.employees is not None,
        lambda leads, scoring, _: _within(leads, "employees", scoring.fit.employees),
    ),
    Feature(
        "country_match",
        "fit",
        8,
        "The country is one of the campaign's.",
        lambda scoring: bool(scoring.fit.countries),
        lambda leads, scoring, _: _any_phrase(leads, "country", scoring.fit.countries),
    ),
    Feature(
        "revenue_match",
        "budget",
        8,
        "The annual revenue is within the campaign's bounds.",
        lambda scoring: scoring.budget.annual_revenue is not None,
        lambda leads, scoring, _: _within(leads, "annual_revenue", scoring.budget.annual_revenue),
    ),
    Feature(
        "technology_match",
        "budget",
        8,
        "The share of the campaign's technologies that the company uses.",
        lambda scoring: bool(scoring.budget.technologies),
        _technologies,
    ),
    Feature(
        "recent_engagement",
        "engagement",
        6,
        "Did something lately; halved every 30 days since.",
        _always,
        _recency,
    ),
    Feature("visits", "engagement", 4, "Visits to our site, up to ten.", _always, _visits),
    Feature(
        "company_known", "company", 3, "The company's name is known.", _always, _known("company")
    ),
    Feature("own_domain", "company", 3, "Not at a free mail provider.", _always, _own_domain),
    Feature("address_known", "data_quality", 4, "There is an address.", _always, _known("email")),
    Feature(
        "name_known", "data_quality", 2, "The given name is known.", _always, _known("first_name")
    ),
    Feature("title_known", "data_quality", 2, "The job title is known.", _always, _known("title")),
    Feature(
        "country_known", "data_quality", 2, "The country is known.", _always, _known("country")
    ),
)
"""The scorecard, family by family."""
