"""What a lead did, and how long ago."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from aicmo_dagster.domain.scoring.columns import Now, Numbers, Values, days_since, numbers, text
from aicmo_dagster.domain.sections.scoring import Scoring

HALF_LIFE_DAYS = 30


def halved(days: Numbers, half_life: float) -> Numbers:
    """What is left of 1 after `days`, if every `half_life` days halve it; nothing if unknown."""
    return np.nan_to_num(np.exp2(-days / half_life))


def _days(leads: pd.DataFrame, _: Scoring, now: Now) -> Numbers:
    return days_since(leads, "last_engaged_at", now)


def _visits(leads: pd.DataFrame, _: Scoring, __: Now) -> Numbers:
    return numbers(leads, "visits")


def _engaged(leads: pd.DataFrame, scoring: Scoring, now: Now) -> Numbers:
    """Unknown where the lead's source tells of nothing that leads do."""
    acted = ~np.isnan(_days(leads, scoring, now)) | (_visits(leads, scoring, now) > 0)
    told = acted | ~np.isnan(_visits(leads, scoring, now))
    return np.where(told, acted, np.nan)


def _decayed(leads: pd.DataFrame, scoring: Scoring, now: Now) -> Numbers:
    days = _days(leads, scoring, now)
    return np.where(np.isnan(days), np.nan, halved(days, HALF_LIFE_DAYS))


def _recent_visits(leads: pd.DataFrame, scoring: Scoring, now: Now) -> Numbers:
    return _visits(leads, scoring, now) * _decayed(leads, scoring, now)


MEASURES: dict[str, Callable[[pd.DataFrame, Scoring, Now], Values]] = {
    "engaged": _engaged,
    "recent_engagement": _decayed,
    "days_since_engagement": _days,
    "visits": _visits,
    "recent_visits": _recent_visits,
    "channel": lambda leads, _, __: text(leads, "source_detail"),
}
