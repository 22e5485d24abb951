"""Bins: how the values of a column become the few cases that a model has a number for.

A column keeps every value as a bin of its own where at most 32 are distinct, else it has quantiles
in which a frequent value still stands alone: plain quantiles merge rare counts into zero. Missing
is a bin. Rare categories are pooled, and so is what was never seen. Bins are plain data that JSON
holds exactly. Not here: what a bin is worth (`model`), or which columns there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.errors import BadInput, Problem

EACH_VALUE = 32
"""So many distinct numbers at most have a bin each."""

MOST_BINS = 250
"""Of a column: with the pool and the missing it stays within scikit-learn's 255."""

RARE = 20
"""A category of fewer leads is pooled."""

Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class NumberBins:
    """Bins of a number: `edges` ascend, and a bin holds its lower edge; the last bin is missing.

    Args:
        edges: Where one bin ends and the next begins.
    """

    edges: tuple[float, ...]

    @property
    def count(self) -> int:
        """How many bins there are, the missing one included."""
        return len(self.edges) + 2

    @property
    def ordered(self) -> int:
        """How many of them, from the first, follow the order of the values."""
        return len(self.edges) + 1


@dataclass(frozen=True)
class CategoryBins:
    """Bins of a category: one for each of `values`, then the pool, then missing.

    Args:
        values: The categories that are frequent enough, sorted.
    """

    values: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many bins there are, the pool and the missing one included."""
        return len(self.values) + 2

    @property
    def ordered(self) -> int:
        """Categories have no order."""
        return 0


Bins = NumberBins | CategoryBins


def fit_bins(column: pd.Series, most: int = EACH_VALUE) -> Bins:
    """Bins for a column of numbers or of categories (text).

    Args:
        column: Float64 with NaN (any number or truth does), or Arrow strings.
        most: How many quantiles a number with more than 32 distinct values has at most, to 250.

    Raises:
        BadInput: The column is neither.
    """
    if is_category(column):
        return _fit_categories(column)
    return _fit_numbers(as_numbers(column), min(most, MOST_BINS))


def codes(bins: Bins, column: pd.Series) -> Codes:
    """The position of each value's bin; the last is missing, and for a category the pool before it.

    A number that is infinite counts as missing.

    Raises:
        BadInput: The column holds text and the bins are of numbers, or the other way round.
    """
    if isinstance(bins, CategoryBins):
        return _category_codes(bins, column)
    if is_category(column):
        raise _wrong_kind(column, "numbers")
    numbers = as_numbers(column)
    found = np.searchsorted(np.asarray(bins.edges), numbers, side="right").astype(np.uint8)
    found[~np.isfinite(numbers)] = bins.count - 1
    return found


def missing_codes(bins: Bins, count: int) -> Codes:
    """As `codes` of a column that is missing throughout."""
    return np.full(count, bins.count - 1, dtype=np.uint8)


def is_category(column: pd.Series) -> bool:
    """Whether the column holds text."""
    return isinstance(column.dtype, pd.StringDtype) or (
        isinstance(column.dtype, pd.ArrowDtype)
        and bool(
            pyarrow.types.is_string(column.dtype.pyarrow_dtype)
            or pyarrow.types.is_large_string(column.dtype.pyarrow_dtype)
        )
    )


def as_numbers(column: pd.Series) -> npt.NDArray[np.float64]:
    """The column as float64 with NaN for what is missing.

    Raises:
        BadInput: It holds no numbers.
    """
    if not (pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column)):
        raise _wrong_kind(column, "numbers or text")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def as_texts(column: pd.Series) -> pyarrow.Array:
    """The column as one array of plain strings."""
    array = pyarrow.array(column)
    if isinstance(array, pyarrow.ChunkedArray):
        array = array.combine_chunks()
    return array.cast(pyarrow.string())


def bins_to_data(bins: Bins) -> dict[str, Any]:
    """The bins as JSON holds them."""
    if isinstance(bins, NumberBins):
        return {"kind": "number", "edges": list(bins.edges)}
    return {"kind": "category", "values": list(bins.values)}


def bins_from_data(data: Mapping[str, Any]) -> Bins:
    """The bins that `bins_to_data` wrote."""
    if data["kind"] == "number":
        return NumberBins(tuple(float(edge) for edge in data["edges"]))
    return CategoryBins(tuple(data["values"]))


def _fit_numbers(numbers: npt.NDArray[np.float64], most: int) -> NumberBins:
    values, counts = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
    if len(values) <= EACH_VALUE:
        return NumberBins(tuple(_between(values[:-1], values[1:]).tolist()))
    starts = np.unique(np.concatenate([_own_bins(counts, most), _quantiles(counts, most)]))
    starts = starts[(starts > 0) & (starts < len(values))]
    return NumberBins(tuple(_between(values[starts - 1], values[starts]).tolist()))


def _own_bins(counts: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Where a bin starts and ends because one value fills it."""
    frequent = np.flatnonzero(counts >= counts.sum() / most)
    return np.concatenate([frequent, frequent + 1])


def _quantiles(counts: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Where the quantiles of the values that are not frequent start."""
    rest = np.where(counts >= counts.sum() / most, 0, counts)
    parts = max(most - int((rest == 0).sum()), 1)
    shares = np.arange(1, parts) * (rest.sum() / parts)
    return np.searchsorted(np.cumsum(rest), shares, side="right")


def _between(
    below: npt.NDArray[np.float64], above: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Edges half-way, so that an unseen number goes with the nearest; `above` lies beyond each."""
    middle = below / 2 + above / 2
    return np.where((middle > below) & (middle <= above), middle, above)


def _fit_categories(column: pd.Series) -> CategoryBins:
    counted = pc.value_counts(as_texts(column).drop_null())
    counts = zip(
        counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True
    )
    frequent = sorted((-count, value) for value, count in counts if count >= RARE)
    return CategoryBins(tuple(sorted(value for _, value in frequent[:MOST_BINS])))


def _category_codes(bins: CategoryBins, column: pd.Series) -> Codes:
    if not is_category(column):
        raise _wrong_kind(column, "text")
    texts = as_texts(column)
    found = pc.index_in(texts, value_set=pyarrow.array(bins.values, pyarrow.string()))
    pooled = pc.fill_null(found, len(bins.values))
    known = pc.if_else(pc.is_valid(texts), pooled, bins.count - 1)
    return known.to_numpy(zero_copy_only=False).astype(np.uint8)


def _wrong_kind(column: pd.Series, expected: str) -> BadInput:
    return BadInput(Problem("scoring", f"column {column.name}", f"{column.dtype}", expected))
