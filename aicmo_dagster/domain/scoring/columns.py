"""Columns of leads as the arrays that dimensions are measured with; missing numbers are NaN.

Text is matched once for each value that differs. Not here: any dimension.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

Numbers = npt.NDArray[np.float64]
Values = Numbers | pyarrow.Array
"""Numbers with NaN, or Arrow text with nulls; one value a lead."""

Now = datetime | pd.Series
"""The instant that ages count from: one for all leads, or each lead's own."""

_DAY = 86_400_000_000  # microseconds
_EDGE = r"[^\pL\pN_]"
"""What ends a word. Letters of any script make words; RE2's \\W knows those of English only."""


def text(leads: pd.DataFrame, column: str) -> pyarrow.Array:
    """A column of text."""
    values = pyarrow.array(leads[column])
    return values.combine_chunks() if isinstance(values, pyarrow.ChunkedArray) else values


def numbers(leads: pd.DataFrame, column: str) -> Numbers:
    """A column of numbers."""
    return leads[column].to_numpy(dtype=np.float64, na_value=np.nan)


def as_numbers(values: pyarrow.Array) -> Numbers:
    """Numbers, or truths as 1 and 0; NaN where there is none."""
    return np.asarray(values.cast(pyarrow.float64()).to_numpy(zero_copy_only=False))


def known(leads: pd.DataFrame, column: str) -> Numbers:
    """1 where there is a value, 0 where there is none."""
    return np.asarray(leads[column].notna(), dtype=np.float64)


def unknown(leads: pd.DataFrame) -> Numbers:
    """NaN for every lead."""
    return np.full(len(leads), np.nan)


def over_distinct(
    values: pyarrow.Array, function: Callable[[pyarrow.Array], pyarrow.Array]
) -> pyarrow.Array:
    """`function` of the values, computed over those that differ."""
    encoded = values.dictionary_encode()
    return function(encoded.dictionary).take(encoded.indices)


def holds_phrase(leads: pd.DataFrame, column: str, phrases: Sequence[str]) -> Numbers:
    """1 where the column holds one of `phrases` as whole words, whatever the case."""
    if not phrases:
        return unknown(leads)
    pattern = f"(^|{_EDGE})({'|'.join(map(re.escape, phrases))})({_EDGE}|$)"
    return as_numbers(
        over_distinct(
            text(leads, column),
            lambda texts: pc.match_substring_regex(texts, pattern=pattern, ignore_case=True),
        )
    )


def is_one_of(leads: pd.DataFrame, column: str, values: Sequence[str]) -> Numbers:
    """1 where the column of text is one of `values`, whatever the case; else 0."""
    wanted = pyarrow.array({value.strip().lower() for value in values}, pyarrow.string())

    def found(texts: pyarrow.Array) -> pyarrow.Array:
        return pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(texts)), value_set=wanted)

    return np.nan_to_num(as_numbers(over_distinct(text(leads, column), found)))


def is_within(values: Numbers, bounds: Sequence[float | None] | None) -> Numbers:
    """1 where the value is within `bounds`, both included; NaN where either is unknown."""
    if bounds is None:
        return np.full(len(values), np.nan)
    lower, upper = open_ended(bounds)
    inside = (values >= lower) & (values <= upper)
    return np.where(np.isnan(values), np.nan, inside)


def open_ended(bounds: Sequence[float | None]) -> tuple[float, float]:
    """The bounds as numbers, infinite where there is none."""
    lower, upper = bounds
    return -np.inf if lower is None else lower, np.inf if upper is None else upper


def days_since(leads: pd.DataFrame, column: str, now: Now) -> Numbers:
    """Whole days from the column's instant to `now`, 0 for the future; NaN where it is unknown."""
    then = _microseconds(leads[column])
    until = _microseconds(now) if isinstance(now, pd.Series) else pd.Timestamp(now).value // 1000
    return np.maximum(np.floor((until - then) / _DAY), 0)


def _microseconds(instants: pd.Series) -> Numbers:
    values = pyarrow.array(instants).cast(pyarrow.timestamp("us", tz="UTC"))
    return np.asarray(values.cast(pyarrow.int64()).cast(pyarrow.float64(), safe=False), np.float64)
