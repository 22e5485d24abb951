"""Conditions over leads: the document's models, a vectorised mask, and the reason in words.

Qualification, routing and graduation share this one language. Text is compared without regard to
case. A missing value neither holds nor fails: `missing` says which (`reject` unless stated). Not
here: what follows from a condition (`qualification`, `routing`).
"""

import json
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc
from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from aicmo_dagster.domain.documents import Section
from aicmo_dagster.domain.schemas import field_kinds

Mask = npt.NDArray[np.bool_]
Scalar = bool | int | float | str
Operator = Literal[
    "==", "!=", "<", "<=", ">", ">=", "between", "in", "not_in", "contains", "matches", "is_missing"
]

_ORDERED = {"<", "<=", ">", ">=", "between"}
_TEXTUAL = {"contains", "matches"}
_WORDS = {
    "==": "is",
    "!=": "is not",
    "<": "is less than",
    "<=": "is at most",
    ">": "is more than",
    ">=": "is at least",
    "between": "is between",
    "in": "is one of",
    "not_in": "is none of",
    "contains": "contains",
    "matches": "matches",
}


class Comparison(Section):
    """One field against one value."""

    name: str | None = Field(default=None, max_length=80)
    field: str
    op: Operator
    value: Scalar | list[Scalar] | None = None
    missing: Literal["reject", "accept"] = "reject"

    @field_validator("field")
    @classmethod
    def _known(cls, field: str) -> str:
        known = field_kinds()
        if field not in known and not (field.startswith("custom.") and len(field) > 7):
            raise ValueError(
                "a lead's field, 'score', 'band' or 'custom.<Their Column>'; "
                f"fields: {', '.join(known)}"
            )
        return field

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_shape(self.op, self.value)
        kind = field_kinds().get(self.field)
        values = self.values
        if kind == "instant" and self.op != "is_missing":
            raise ValueError(f"'is_missing', since {self.field!r} is an instant")
        if kind == "number" and self.op in _TEXTUAL:
            raise ValueError(f"an operator for numbers, since {self.field!r} is a number")
        if kind == "number" and not all(_is_number(value) for value in values):
            raise ValueError(f"a number, since {self.field!r} is a number")
        if kind == "truth" and not all(isinstance(value, bool) for value in values):
            raise ValueError(f"true or false, since {self.field!r} is a truth")
        if kind == "text" and not all(isinstance(value, str) for value in values):
            raise ValueError(f"text, since {self.field!r} is text")
        return self

    @property
    def values(self) -> list[Scalar]:
        """The value or values compared with; none for `is_missing`."""
        if self.value is None or self.op == "is_missing":
            return []
        return self.value if isinstance(self.value, list) else [self.value]

    @property
    def numeric(self) -> bool:
        """Whether both sides are compared as numbers."""
        return bool(self.values) and all(_is_number(value) for value in self.values)


class AllOf(Section):
    """Holds where every part holds."""

    name: str | None = Field(default=None, max_length=80)
    all: list["Condition"] = Field(min_length=1)


class AnyOf(Section):
    """Holds where at least one part holds."""

    name: str | None = Field(default=None, max_length=80)
    any: list["Condition"] = Field(min_length=1)


class Not(Section):
    """Holds where its part does not."""

    name: str | None = Field(default=None, max_length=80)
    not_: "Condition" = Field(alias="not")


def _which(value: Any) -> str:
    if isinstance(value, dict):
        return next((key for key in ("all", "any", "not") if key in value), "comparison")
    built = {AllOf: "all", AnyOf: "any", Not: "not"}
    return next((tag for kind, tag in built.items() if isinstance(value, kind)), "comparison")


Condition = Annotated[
    Annotated[Comparison, Tag("comparison")]
    | Annotated[AllOf, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[Not, Tag("not")],
    Discriminator(_which),
]

for _model in (AllOf, AnyOf, Not):
    _model.model_rebuild()


class Facts:
    """The columns that conditions look at, over the leads of one frame.

    Args:
        leads: A frame with `custom` (JSON) and any of the lead fields; one row a lead.
    """

    def __init__(self, leads: pd.DataFrame) -> None:
        self.leads = leads

    def column(self, field: str) -> pyarrow.Array:
        """The values of `field` as one Arrow array; missing throughout where the frame lacks it."""
        if field.startswith("custom."):
            name = field.removeprefix("custom.")
            return pyarrow.array([_text(row.get(name)) for row in self._custom], pyarrow.string())
        if field not in self.leads:
            return pyarrow.nulls(len(self.leads), pyarrow.string())
        column = pyarrow.array(self.leads[field])
        return column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column

    @cached_property
    def _custom(self) -> list[dict[str, object]]:
        return [json.loads(row) for row in self.leads["custom"]]


def mask(condition: Condition, facts: Facts) -> Mask:
    """Where `condition` holds, one truth a lead."""
    match condition:
        case AllOf():
            return np.logical_and.reduce([mask(part, facts) for part in condition.all])
        case AnyOf():
            return np.logical_or.reduce([mask(part, facts) for part in condition.any])
        case Not():
            return ~mask(condition.not_, facts)
        case Comparison():
            return _compare(condition, facts.column(condition.field))


def describe(condition: Condition) -> str:
    """`condition` in words: ``employees is between 11 and 1000``."""
    match condition:
        case AllOf():
            return " and ".join(_nested(part) for part in condition.all)
        case AnyOf():
            return " or ".join(_nested(part) for part in condition.any)
        case Not():
            return f"not {_nested(condition.not_)}"
        case Comparison():
            return f"{condition.field} {_predicate(condition)}"


def fields(condition: Condition) -> set[str]:
    """The fields that `condition` looks at."""
    match condition:
        case AllOf():
            return set().union(*(fields(part) for part in condition.all))
        case AnyOf():
            return set().union(*(fields(part) for part in condition.any))
        case Not():
            return fields(condition.not_)
        case Comparison():
            return {condition.field}


def found(condition: Condition, facts: Facts) -> pd.Series:
    """What each lead holds in the fields of `condition`, in words: ``employees is 7``."""
    texts = pd.Series("", index=facts.leads.index, dtype=pd.ArrowDtype(pyarrow.string()))
    for position, field in enumerate(sorted(fields(condition))):
        values = facts.column(field).cast(pyarrow.string()).fill_null("missing")
        held = pd.Series(pd.arrays.ArrowExtensionArray(values), index=texts.index)
        texts = texts + ("; " if position else "") + f"{field} is " + held
    return texts


def _compare(comparison: Comparison, column: pyarrow.Array) -> Mask:
    """One comparison over one column; `missing` decides where there is no value."""
    if comparison.op == "is_missing":
        wanted = comparison.value is not False
        return _truths(pc.equal(pc.is_null(column), wanted))
    values = comparison.values
    if comparison.numeric:
        column, values = _as_numbers(column), [float(value) for value in values]
    elif all(isinstance(value, bool) for value in values):
        column = column if pyarrow.types.is_boolean(column.type) else _as_truths(column)
    else:
        column = pc.utf8_lower(column.cast(pyarrow.string()))
        # A pattern keeps its case: a capital in it may be a class, such as \S.
        values = values if comparison.op == "matches" else _lowered(values)
    held = _truths(_OPERATORS[comparison.op](column, values))
    return np.where(_truths(pc.is_null(column)), comparison.missing == "accept", held)


def _outcome(function: str) -> Callable[[pyarrow.Array, list[Scalar]], pyarrow.Array]:
    return lambda column, values: pc.call_function(function, [column, values[0]])


_OPERATORS: dict[str, Callable[[pyarrow.Array, list[Scalar]], pyarrow.Array]] = {
    "==": _outcome("equal"),
    "!=": _outcome("not_equal"),
    "<": _outcome("less"),
    "<=": _outcome("less_equal"),
    ">": _outcome("greater"),
    ">=": _outcome("greater_equal"),
    "between": lambda column, values: pc.and_(
        pc.greater_equal(column, values[0]), pc.less_equal(column, values[1])
    ),
    "in": lambda column, values: _is_in(column, values),
    "not_in": lambda column, values: pc.invert(_is_in(column, values)),
    "contains": lambda column, values: pc.match_substring(column, pattern=values[0]),
    # RE2, so that no pattern can take more than linear time.
    "matches": lambda column, values: pc.match_substring_regex(
        column, pattern=values[0], ignore_case=True
    ),
}


def _is_in(column: pyarrow.Array, values: list[Scalar]) -> pyarrow.Array:
    return pc.is_in(column, value_set=pyarrow.array(values).cast(column.type))


def _as_numbers(column: pyarrow.Array) -> pyarrow.Array:
    """Numbers where the text is one, missing elsewhere."""
    if not pyarrow.types.is_string(column.type):
        # Whole numbers beyond 2**53 become the nearest float.
        return column.cast(pyarrow.float64(), safe=False)
    numbers = pd.to_numeric(column.to_pandas(), errors="coerce").astype("float64")
    return pyarrow.array(numbers.where(np.isfinite(numbers)), from_pandas=True)


def _as_truths(column: pyarrow.Array) -> pyarrow.Array:
    """Truths where the text says one, missing elsewhere."""
    lowered = pc.utf8_lower(column.cast(pyarrow.string()))
    yes = pc.is_in(lowered, value_set=pyarrow.array(["true", "yes", "1"]))
    no = pc.is_in(lowered, value_set=pyarrow.array(["false", "no", "0"]))
    return pc.if_else(pc.or_(yes, no), yes, None)


def _truths(values: pyarrow.Array) -> Mask:
    filled = pc.fill_null(values, fill_value=False)
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=bool)


def _lowered(values: list[Scalar]) -> list[Scalar]:
    # As the columns are: Python's own lower case differs for a few letters, such as a last sigma.
    lowered: list[Scalar] = pc.utf8_lower(pyarrow.array(values, pyarrow.string())).to_pylist()
    return lowered


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _predicate(comparison: Comparison) -> str:
    if comparison.op == "is_missing":
        return "is given" if comparison.value is False else "is missing"
    joiner = " and " if comparison.op == "between" else ", "
    return f"{_WORDS[comparison.op]} {joiner.join(str(value) for value in comparison.values)}"


def _nested(condition: Condition) -> str:
    text = describe(condition)
    return text if isinstance(condition, Comparison) else f"({text})"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_shape(op: str, value: object) -> None:
    """The value has the shape that `op` takes."""
    if op == "is_missing":
        _require(value is None or isinstance(value, bool), "no value, true or false", op)
    elif op == "between":
        _check_bounds(value)
    elif op in ("in", "not_in"):
        _check_choices(op, value)
    else:
        _require(value is not None and not isinstance(value, list), "a single value", op)
        _require(op not in _ORDERED or _is_number(value), "a number", op)
        _require(op not in _TEXTUAL or isinstance(value, str), "text", op)
        if op == "matches":
            _check_pattern(str(value))


def _require(holds: bool, expected: str, op: str) -> None:
    if not holds:
        raise ValueError(f"{expected} with {op!r}")


def _check_bounds(value: object) -> None:
    numbers = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    _require(numbers, "a list of two numbers", "between")
    if isinstance(value, list):
        _require(value[0] <= value[1], "the lower bound first", "between")


def _check_choices(op: str, value: object) -> None:
    _require(isinstance(value, list) and bool(value), "a list of at least one value", op)
    if isinstance(value, list):
        kinds = {float if _is_number(item) else type(item) for item in value}
        _require(len(kinds) == 1, "values of one type", op)


def _check_pattern(pattern: str) -> None:
    try:
        pc.match_substring_regex(pyarrow.array([""]), pattern=pattern, ignore_case=True)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"a pattern that RE2 can read ({error})") from error
