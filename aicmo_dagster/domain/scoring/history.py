"""What a model learns from: leads in order of arrival, with the outcomes that have ripened.

The label is "won within the horizon". An outcome that cannot be known yet is unknown, and unknown
is never a loss. Parts are split by arrival, never at random: a pooled figure of a random split
tells when a lead came, not who it is. Not here: what is learned (`training`).
"""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.scoring.binning import as_numbers, as_texts, is_category
from aicmo_dagster.domain.scoring.dimensions import Dimension

TEST_SHARE = 0.3
COHORT_LEADS = 1_000
"""Leads of a cohort where arrival is an order and not a time; else a cohort is a week."""

Mask = npt.NDArray[np.bool_]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """n leads with what was known of them when they arrived, and what became of them.

    Args:
        columns: A column for each of `dimensions`: numbers (NaN is missing) or Arrow strings.
        dimensions: What may be learned from.
        won: The ripened label, dtype "boolean"; missing is unknown (see `ripened`).
        arrival: When each arrived, or as which: instants with a time zone, or numbers. A lead
            without one is in no part of a split.
        points: The expert scorecard's points; None where there is no scorecard.
        points_from: The dimensions that they are given for.
    """

    columns: pd.DataFrame
    dimensions: tuple[Dimension, ...]
    won: pd.Series
    arrival: pd.Series
    points: Vector | None
    points_from: tuple[str, ...] = ()

    @property
    def labelled(self) -> Mask:
        """Whose label is known, shape (n,)."""
        return self.won.notna().to_numpy(dtype=np.bool_)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The known labels, 1 for won, in order; shorter than n where some are unknown."""
        return self.won.dropna().to_numpy(dtype=np.int64)

    def part(self, mask: Mask) -> "History":
        """The leads of `mask`."""
        return replace(
            self,
            columns=self.columns.loc[mask],
            won=self.won.loc[mask],
            arrival=self.arrival.loc[mask],
            points=None if self.points is None else self.points[mask],
        )

    def latest(self, share: float) -> "History":
        """The last `share` by arrival of the labelled leads, at least one where there are any."""
        return self.part(time_split(self, test_share=share).test)

    def without(self, names: tuple[str, ...]) -> "History":
        """The same leads without the dimensions `names`."""
        kept = tuple(each for each in self.dimensions if each.name not in names)
        return replace(self, dimensions=kept)

    def window(self) -> dict[str, Any]:
        """First and last arrival, and how many leads, labels and wins there are; for JSON."""
        order = self.arrival.dropna()
        first, last = (order.min(), order.max()) if len(order) else (None, None)
        return {
            "first_arrival": _plain(first),
            "last_arrival": _plain(last),
            "leads": len(self.won),
            "labelled": len(self.labels),
            "won": int(self.labels.sum()),
        }

    def content_hash(self) -> str:
        """SHA-256 of the columns, the labels, the order and the points, in hexadecimal."""
        digest = hashlib.sha256()
        named = {each.name: self.columns[each.name] for each in self.dimensions}
        for name, column in named.items():
            digest.update(name.encode() + b"\0")
            for part in _content(column):
                digest.update(part)
        for numbers in (as_numbers(self.won), arrival_order(self.arrival), self.points):
            if numbers is not None:
                digest.update(_number_content(numbers))
        return digest.hexdigest()


@dataclass(frozen=True)
class Split:
    """The leads to learn from and, later than all of them, those to measure on.

    Args:
        train: Shape (n,). Leads, labelled or not, whose label was ripe before the test began.
        test: Shape (n,). The latest of the labelled leads.
    """

    train: Mask
    test: Mask


def ripened(
    won: pd.Series,
    *,
    arrived_at: pd.Series | None,
    won_at: pd.Series | None,
    now: datetime,
    horizon_days: int,
) -> pd.Series:
    """Whether each lead was won within the horizon, dtype "boolean"; missing while unknown.

    A lead that arrived less than a horizon ago is unknown, even if won: its cohort has not ripened.
    After the horizon an empty outcome is a loss, if outcomes were recorded by then: leads before
    the first with an outcome stay unknown. Without instants of arrival nothing ripens, and an
    outcome counts as it was given.

    Args:
        won: The outcome as recorded, missing where empty.
        arrived_at: Instants of arrival, UTC; None where only an order is known.
        won_at: Instants of winning, UTC, if any are known.
        now: The instant of asking.
        horizon_days: Within how many days of arrival a win counts.
    """
    given = won.astype("boolean")
    if arrived_at is None:
        return given
    horizon = pd.Timedelta(days=horizon_days)
    arrived = _instants(arrived_at)
    since = arrived.where(given.notna()).min()
    recorded = arrived.ge(since).astype("boolean") if pd.notna(since) else given.isna() & False
    label = given.mask(given.isna() & recorded, other=False)
    if won_at is not None:
        late = (_instants(won_at) > arrived + horizon).astype("boolean")
        label = label.mask(given.fillna(value=False) & late, other=False)
    return label.where(arrived + horizon <= pd.Timestamp(now), other=pd.NA)


def time_split(
    history: History, *, test_share: float = TEST_SHARE, embargo: timedelta = timedelta(0)
) -> Split:
    """The last `test_share` of the labelled leads by arrival to measure on, the earlier to learn.

    Args:
        history: The leads, in any order.
        test_share: Of the labelled leads, between 0 and 1.
        embargo: How long before the test the training stops: the horizon, so that no label that
            is learned from was still open when the test began. No use where arrival is an order.
    """
    order = arrival_order(history.arrival)
    known = history.labelled & ~np.isnan(order)
    if not known.any():
        return Split(train=np.zeros_like(known), test=np.zeros_like(known))
    ranked = np.sort(order[known])
    begin = ranked[min(round(len(ranked) * (1 - test_share)), len(ranked) - 1)]
    gap = embargo / timedelta(microseconds=1) if is_instant(history.arrival) else 0.0
    before = order < begin if gap == 0 else order + gap <= begin
    return Split(train=before, test=known & (order >= begin))


def cohorts(arrival: pd.Series, leads: int = COHORT_LEADS) -> npt.NDArray[np.int64]:
    """The cohort of each lead, numbered in order: its week (from Monday, UTC), or so many leads.

    A lead without an arrival is in cohort -1.
    """
    order = arrival_order(arrival)
    if is_instant(arrival):
        days = np.floor(order / 86_400_000_000)
        weeks = np.floor((days + 3) / 7)  # 1970-01-01 was a Thursday
        return np.nan_to_num(weeks - np.nanmin(weeks, initial=np.inf), nan=-1).astype(np.int64)
    rank = pd.Series(order).rank(method="first").to_numpy(dtype=np.float64, na_value=0.0)
    return ((rank - 1) // leads).astype(np.int64)


def is_instant(arrival: pd.Series) -> bool:
    """Whether arrival is a time, and not only an order."""
    if isinstance(arrival.dtype, pd.ArrowDtype):
        return bool(pyarrow.types.is_timestamp(arrival.dtype.pyarrow_dtype))
    return bool(pd.api.types.is_datetime64_any_dtype(arrival.dtype))


def arrival_order(arrival: pd.Series) -> Vector:
    """Numbers that ascend with arrival, NaN for unknown: microseconds of instants."""
    if not is_instant(arrival):
        return as_numbers(arrival)
    stamps = _instants(arrival).to_numpy(dtype="datetime64[us]")
    return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64).astype(np.float64))


def _instants(stamps: pd.Series) -> pd.Series:
    return stamps.astype("datetime64[us, UTC]")


def _plain(arrival: Any) -> Any:
    """An arrival as JSON holds it."""
    if arrival is None:
        return None
    return arrival.isoformat() if isinstance(arrival, datetime) else float(arrival)


def _content(column: pd.Series) -> list[bytes]:
    """Bytes that are the same for the same values, whatever holds them."""
    if not is_category(column):
        return [_number_content(as_numbers(column))]
    encoded = pc.dictionary_encode(as_texts(column))
    positions = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return [json.dumps(encoded.dictionary.to_pylist()).encode(), positions.astype("<i4").tobytes()]


def _number_content(numbers: Vector) -> bytes:
    return np.where(np.isnan(numbers), np.nan, numbers).astype("<f8").tobytes()
