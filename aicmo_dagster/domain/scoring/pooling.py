"""Histories of campaigns that share a schema, as one to learn from. Not here: what is learned."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from aicmo_dagster.domain.scoring.binning import is_category
from aicmo_dagster.domain.scoring.history import History, is_instant
from aicmo_dagster.errors import AicmoError


def pooled(histories: Sequence[History]) -> History:
    """All leads of at least one history, with the dimensions that each of them has.

    A column that one campaign lacks, or holds as another kind, would tell campaigns apart and not
    leads: it is in the pool of none.

    Raises:
        AicmoError: If there are several and one has an order of arrival instead of instants, since
            nobody knows which of two campaigns' leads came first then.
    """
    first = histories[0]
    if len(histories) == 1:
        return first
    if not all(is_instant(each.arrival) for each in histories):
        raise AicmoError(
            "campaigns are learned from together only if the leads of each have instants of"
            " arrival; one of them has a mere order, by its source's 'arrived'"
        )
    shared = tuple(
        each for each in first.dimensions if all(_holds(h, first, each.name) for h in histories)
    )
    names = [each.name for each in shared]
    points = [each.points for each in histories if each.points is not None]
    return replace(
        first,
        columns=pd.concat([each.columns[names] for each in histories], ignore_index=True),
        dimensions=shared,
        won=pd.concat([each.won for each in histories], ignore_index=True),
        arrival=_one_after_another([each.arrival for each in histories]),
        points=np.concatenate(points) if len(points) == len(histories) else None,
        points_from=tuple({name for each in histories for name in each.points_from}),
    )


def _holds(history: History, like: History, name: str) -> bool:
    if name not in {each.name for each in history.dimensions}:
        return False
    return is_category(history.columns[name]) == is_category(like.columns[name])


def _one_after_another(arrivals: Sequence[pd.Series]) -> pd.Series:
    instants = [each.astype("datetime64[us, UTC]") for each in arrivals]
    return pd.concat(instants, ignore_index=True)
