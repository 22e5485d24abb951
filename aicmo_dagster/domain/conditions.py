"""Conditions over leads: the document's models, and what they say in words.

Qualification, routing and graduation share this one language. Text is compared without regard to
case. A missing value neither holds nor fails: `missing` says which (`reject` unless stated). Not
here: where a condition holds (`facts`), or what follows from it (`qualification`, `routing`).
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, Self

import pyarrow
import pyarrow.compute as pc
from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from aicmo_dagster.domain.documents import Section
from aicmo_dagster.domain.schemas import field_kinds

Scalar = bool | int | float | str
Operator = Literal[
    "==", "!=", "<", "<=", ">", ">=", "between", "in", "not_in", "contains", "matches", "is_missing"
]

ENGAGEMENT = ("sends", "clicks", "replies")
"""What a lead got from the campaign and did about it: numbers, 0 where nothing happened."""

LONGEST_PATTERN = 500
"""Characters of a pattern: RE2 takes time in proportion to it, times the length of the text."""

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
        known = condition_fields()
        if field not in known and not (field.startswith("custom.") and len(field) > 7):
            raise ValueError(
                "a lead's field, 'score', 'band' or 'custom.<Their Column>'; "
                f"fields: {', '.join(known)}"
            )
        return field

    @model_validator(mode="after")
    def _fits(self) -> Self:
        kind = condition_fields().get(self.field)
        if self.is_instant:
            _check_instants(self.field, self.op, self.value)
            return self
        _check_shape(self.op, self.value)
        values = self.values
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

    @property
    def is_instant(self) -> bool:
        """Whether the field is an instant."""
        return condition_fields().get(self.field) == "instant"

    @property
    def bounds(self) -> list[float]:
        """The values as numbers; instants as microseconds since 1970."""
        if self.is_instant:
            return [read_instant(value).timestamp() * 1e6 for value in self.values]
        return [float(value) for value in self.values]


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


class Choice(Section):
    """Holds where the part holds that another part chooses."""

    name: str | None = Field(default=None, max_length=80)
    if_: "Condition" = Field(alias="if")
    then: "Condition"
    else_: "Condition" = Field(alias="else")


def _which(value: Any) -> str:
    if isinstance(value, dict):
        return next((key for key in ("all", "any", "not", "if") if key in value), "comparison")
    built = {AllOf: "all", AnyOf: "any", Not: "not", Choice: "if"}
    return next((tag for kind, tag in built.items() if isinstance(value, kind)), "comparison")


Condition = Annotated[
    Annotated[Comparison, Tag("comparison")]
    | Annotated[AllOf, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[Not, Tag("not")]
    | Annotated[Choice, Tag("if")],
    Discriminator(_which),
]

for _model in (AllOf, AnyOf, Not, Choice):
    _model.model_rebuild()


@cache
def condition_fields() -> dict[str, str]:
    """What conditions may name beside `custom.<Their Column>`: field to its kind."""
    return {**field_kinds(), **dict.fromkeys(ENGAGEMENT, "number")}


def read_instant(value: Scalar) -> datetime:
    """An ISO 8601 date or instant, in UTC unless it says otherwise.

    Raises:
        ValueError: If it is none.
    """
    instant = datetime.fromisoformat(str(value))
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def describe(condition: Condition) -> str:
    """`condition` in words: ``employees is between 11 and 1000``."""
    match condition:
        case AllOf():
            return " and ".join(_nested(part) for part in condition.all)
        case AnyOf():
            return " or ".join(_nested(part) for part in condition.any)
        case Not():
            return f"not {_nested(condition.not_)}"
        case Choice():
            parts = (condition.if_, condition.then, condition.else_)
            return "if {} then {}, else {}".format(*map(_nested, parts))
        case Comparison():
            return f"{field_name(condition.field)} {_predicate(condition)}"


def columns_asked(conditions: Iterable[Condition]) -> set[str]:
    """The columns of leads that hold what `conditions` look at, which not all frames have."""
    asked = set().union(*map(fields, conditions))
    return {"custom" if name.startswith("custom.") else name for name in asked}


def field_name(field: str) -> str:
    """What a field is called in words: a custom field as its source calls it."""
    return field.removeprefix("custom.")


def fields(condition: Condition) -> set[str]:
    """The fields that `condition` looks at."""
    match condition:
        case AllOf():
            return set().union(*(fields(part) for part in condition.all))
        case AnyOf():
            return set().union(*(fields(part) for part in condition.any))
        case Not():
            return fields(condition.not_)
        case Choice():
            return set().union(*map(fields, (condition.if_, condition.then, condition.else_)))
        case Comparison():
            return {condition.field}


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


def _check_instants(field: str, op: str, value: object) -> None:
    """Instants are compared with ISO 8601 dates or instants, and only for order."""
    if op == "is_missing":
        _check_shape(op, value)
        return
    _require(op in _ORDERED, f"an operator for instants, since {field!r} is one; not", op)
    count = 2 if op == "between" else 1
    given = value if isinstance(value, list) else [value]
    try:
        read = [read_instant(item) for item in given if isinstance(item, str)]
    except ValueError:
        read = []
    expected = "two ISO 8601 dates, the earlier first," if count == 2 else "an ISO 8601 date"
    _require(len(read) == len(given) == count and read == sorted(read), expected, op)


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
    _require(len(pattern) <= LONGEST_PATTERN, f"at most {LONGEST_PATTERN} characters", "matches")
    try:
        # RE2, so that no pattern takes more than linear time; it refuses those it could not bound.
        pc.match_substring_regex(pyarrow.array([""]), pattern=pattern, ignore_case=True)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"a pattern that RE2 can read ({error})") from error
