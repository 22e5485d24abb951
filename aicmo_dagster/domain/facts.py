"""Where conditions hold: columns of leads in the form that comparisons want, and what they found.

Text is judged once for each distinct value and looked up for each lead, so that a pattern costs no
more than an equality. Not here: what a condition may say (`conditions`).
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc
import pyarrow.json

from aicmo_dagster.domain.conditions import (
    AllOf,
    AnyOf,
    Choice,
    Comparison,
    Condition,
    Not,
    Scalar,
    field_name,
    fields,
)

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]

CUSTOM = "custom."
CHUNK = 100_000
"""Rows of custom fields that are parsed at once."""


@dataclass(frozen=True)
class Texts:
    """A column of text: for each lead the position of its value among `values`, -1 where missing.

    `values` are in lower case, and not all distinct.
    """

    positions: npt.NDArray[np.int32]
    values: pyarrow.Array

    def where(self, held: pyarrow.Array, *, missing: bool) -> Mask:
        """For each lead what `held` says of its value."""
        outcomes = np.append(_truths(held), missing)  # position -1 is the last
        return outcomes[self.positions]


class Facts:
    """The columns that conditions look at, over the leads of one frame.

    Args:
        leads: A frame with `custom` (JSON) and any of the fields; one row a lead.
        asked: Conditions that will be judged, so that their custom fields are parsed together.
    """

    def __init__(self, leads: pd.DataFrame, asked: Iterable[Condition] = ()) -> None:
        self.leads = leads
        asked_fields = set().union(*map(fields, asked))
        self._asked = {f.removeprefix(CUSTOM) for f in asked_fields if f.startswith(CUSTOM)}
        self._custom: dict[str, pyarrow.Array] = {}
        # Each form of a column is made once, whatever the number of conditions that look at it.
        self.column = cache(self._column)
        self.missing = cache(self._missing)
        self.texts = cache(self._texts)
        self.numbers = cache(self._numbers)
        self.truths = cache(self._truths)

    def _column(self, field: str) -> pyarrow.Array:
        """The values of `field` as one Arrow array; missing throughout where the frame lacks it."""
        if field.startswith(CUSTOM):
            return self._custom_column(field.removeprefix(CUSTOM))
        if field not in self.leads:
            return pyarrow.nulls(len(self.leads), pyarrow.string())
        return one_array(self.leads[field])

    def _custom_column(self, name: str) -> pyarrow.Array:
        if name not in self._custom:
            names = sorted({name, *(self._asked - self._custom.keys())})
            documents = one_array(self.leads["custom"])
            self._custom |= dict(zip(names, read_custom(documents, names), strict=True))
        return self._custom[name]

    def _missing(self, field: str) -> Mask:
        return _truths(pc.is_null(self.column(field)))

    def _texts(self, field: str) -> Texts:
        encoded = pc.dictionary_encode(self.column(field).cast(pyarrow.string()))
        positions = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return Texts(positions, pc.utf8_lower(encoded.dictionary))

    def _numbers(self, field: str) -> Numbers:
        """Numbers, NaN where missing or where the text is none; instants in microseconds."""
        column = self.column(field)
        if pyarrow.types.is_string(column.type):
            texts = self.texts(field)
            read = pd.to_numeric(texts.values.to_pandas(), errors="coerce").to_numpy(np.float64)
            return np.append(np.where(np.isfinite(read), read, np.nan), np.nan)[texts.positions]
        if pyarrow.types.is_timestamp(column.type):
            column = column.cast(pyarrow.timestamp("us", column.type.tz)).cast(pyarrow.int64())
        # Whole numbers beyond 2**53 become the nearest float.
        floats = column.cast(pyarrow.float64(), safe=False)
        return floats.to_numpy(zero_copy_only=False)

    def _truths(self, field: str) -> Numbers:
        """1 where it is true or the text says so, 0 where it is false, NaN elsewhere."""
        if pyarrow.types.is_boolean(self.column(field).type):
            return self.numbers(field)
        texts = self.texts(field)
        said = np.full(len(texts.values) + 1, np.nan)
        for number, spellings in ((1.0, ["true", "yes", "1"]), (0.0, ["false", "no", "0"])):
            said[:-1][_truths(pc.is_in(texts.values, pyarrow.array(spellings)))] = number
        return said[texts.positions]


def one_array(column: pd.Series) -> pyarrow.Array:
    """`column` as one Arrow array, without a copy where it is one already."""
    values = pyarrow.array(column)
    return _joined(values) if isinstance(values, pyarrow.ChunkedArray) else values


def mask(condition: Condition, facts: Facts) -> Mask:
    """Where `condition` holds, one truth a lead."""
    match condition:
        case AllOf():
            return np.logical_and.reduce([mask(part, facts) for part in condition.all])
        case AnyOf():
            return np.logical_or.reduce([mask(part, facts) for part in condition.any])
        case Not():
            return ~mask(condition.not_, facts)
        case Choice():
            chosen = mask(condition.if_, facts)
            return np.where(chosen, mask(condition.then, facts), mask(condition.else_, facts))
        case Comparison():
            return _compare(condition, facts)


def found(condition: Condition, facts: Facts, rows: npt.NDArray[np.int64]) -> pyarrow.Array:
    """What the leads at `rows` hold in the fields of `condition`: ``employees is 7``."""
    at = pyarrow.array(rows)
    parts = [_held(field, facts.column(field).take(at)) for field in sorted(fields(condition))]
    return pc.binary_join_element_wise(*parts, "; ") if len(parts) > 1 else parts[0]


def found_in(names: Iterable[str], facts: Facts, row: int) -> list[str]:
    """What the lead at `row` holds in the fields `names`, each as ``employees is 7``."""
    return [_held(name, facts.column(name).slice(row, 1))[0].as_py() for name in names]


def _held(field: str, values: pyarrow.Array) -> pyarrow.Array:
    told = values.cast(pyarrow.string()).fill_null("missing")
    return pc.binary_join_element_wise(f"{field_name(field)} is ", told, "")


def _compare(comparison: Comparison, facts: Facts) -> Mask:
    """One comparison over one column; `missing` decides where there is no value."""
    field, op = comparison.field, comparison.op
    accept = comparison.missing == "accept"
    if op == "is_missing":
        missing = facts.missing(field)
        return ~missing if comparison.value is False else missing
    if all(isinstance(value, bool) for value in comparison.values):
        return _compare_numbers(facts.truths(field), op, comparison.bounds, accept)
    if comparison.numeric or comparison.is_instant:
        return _compare_numbers(facts.numbers(field), op, comparison.bounds, accept)
    texts = facts.texts(field)
    return texts.where(_text_outcomes(op, texts.values, comparison.values), missing=accept)


_NUMERIC: dict[str, Callable[[Numbers, list[float]], Mask]] = {
    "==": lambda numbers, bounds: numbers == bounds[0],
    "!=": lambda numbers, bounds: numbers != bounds[0],
    "<": lambda numbers, bounds: numbers < bounds[0],
    "<=": lambda numbers, bounds: numbers <= bounds[0],
    ">": lambda numbers, bounds: numbers > bounds[0],
    ">=": lambda numbers, bounds: numbers >= bounds[0],
    "between": lambda numbers, bounds: (numbers >= bounds[0]) & (numbers <= bounds[1]),
    "in": lambda numbers, bounds: np.isin(numbers, bounds),
    "not_in": lambda numbers, bounds: ~np.isin(numbers, bounds),
}


def _compare_numbers(numbers: Numbers, op: str, bounds: list[float], accept: bool) -> Mask:
    held = _NUMERIC[op](numbers, bounds)
    if accept:
        return held | np.isnan(numbers)
    # A missing number, being NaN, differs from every other; it holds in nothing else.
    return held & ~np.isnan(numbers) if op in ("!=", "not_in") else held


def _text_outcomes(op: str, values: pyarrow.Array, wanted: list[Scalar]) -> pyarrow.Array:
    """What a comparison says of each of `values`, which are in lower case."""
    if op == "matches":
        # A pattern keeps its case: a capital in it may be a class, such as \S.
        return pc.match_substring_regex(values, pattern=wanted[0], ignore_case=True)
    # As the values are: Python's own lower case differs for a few letters, such as a last sigma.
    lowered = pc.utf8_lower(pyarrow.array(wanted, pyarrow.string()))
    if op == "contains":
        return pc.match_substring(values, pattern=lowered[0].as_py())
    among = pc.is_in(values, value_set=lowered)
    return pc.invert(among) if op in ("!=", "not_in") else among


def read_custom(documents: pyarrow.Array, names: list[str]) -> list[pyarrow.Array]:
    """The custom fields `names` as text, from one JSON object a lead; missing where it has none."""
    kind = pyarrow.schema([(name, pyarrow.string()) for name in names])
    pieces = [
        _parsed(documents.slice(start, CHUNK), kind) for start in range(0, len(documents), CHUNK)
    ]
    parsed = pyarrow.concat_tables(pieces) if pieces else kind.empty_table()
    return [
        parsed[name].combine_chunks() if len(parsed[name].chunks) != 1 else parsed[name].chunk(0)
        for name in names
    ]


def _parsed(documents: pyarrow.Array, kind: pyarrow.Schema) -> pyarrow.Table:
    lines = pc.binary_join_element_wise(documents, "\n", "")
    text = pyarrow.concat_arrays([lines]).buffers()[2]
    longest = pc.max(pc.binary_length(lines)).as_py()
    reading = pyarrow.json.ReadOptions(use_threads=False, block_size=max(1 << 20, 2 * longest))
    parsing = pyarrow.json.ParseOptions(kind, unexpected_field_behavior="ignore")
    try:
        table = pyarrow.json.read_json(pyarrow.BufferReader(text), reading, parsing)
    except pyarrow.ArrowInvalid:  # a custom value that is not text, which no source of ours makes
        return _parsed_one_by_one(documents, kind)
    return table.select(kind.names)


def _parsed_one_by_one(documents: pyarrow.Array, kind: pyarrow.Schema) -> pyarrow.Table:
    objects = [json.loads(document) for document in documents.to_pylist()]
    columns = [[_text(each.get(name)) for each in objects] for name in kind.names]
    return pyarrow.table(columns, schema=kind)


def _joined(column: pyarrow.ChunkedArray) -> pyarrow.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _truths(values: pyarrow.Array) -> Mask:
    filled = pc.fill_null(values, fill_value=False)
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=bool)
