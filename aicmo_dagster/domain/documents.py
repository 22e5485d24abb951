"""Reading a user's document: YAML to plain values, Pydantic's refusals to problems one can mend.

Not here: what a campaign document holds (`campaigns`), or files.
"""

import difflib
import json
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Tag, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from aicmo_dagster.errors import BadInput, Problem

Location = tuple[int | str, ...]
Option = tuple[str | None, type[BaseModel]]

DEEPEST = 100
"""Levels that a document may be nested: enough for any decision tree a person can read."""

MOST_VALUES = 100_000
"""Values that a document may hold; aliases of aliases make more of them than memory can take."""

LARGEST = 10**18
"""No number is further from zero than this: beyond it, 64 bits do not hold whole numbers."""

_OLD_RULES = re.compile(r"^%YAML(?!\s+1\.2\s)", re.MULTILINE)


class Section(BaseModel):
    """A part of a document: unknown keys refused, nothing coerced, never changed after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


SectionT = TypeVar("SectionT", bound=Section)


class _Constructor(SafeConstructor):
    """Plain values by the YAML 1.2 core rules; a value that its tag forbids names its line."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError) as error:
            found = f"a value that is no {node.tag.rpartition(':')[2]}"
            raise ConstructorError(problem=found, problem_mark=node.start_mark) from error


# The core schema knows no dates; a date stays the text that its author typed.
_Constructor.add_constructor("tag:yaml.org,2002:timestamp", _Constructor.construct_yaml_str)


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """The mapping that `text` holds, read by the YAML 1.2 core rules (so ``NO`` is a string).

    Args:
        text: YAML or JSON.
        where: The document's name, for the error.

    Raises:
        BadInput: If it is not one mapping whose keys are each given once.
    """
    if old := _OLD_RULES.search(text):
        line = f"line {text.count(chr(10), 0, old.start()) + 1}"
        raise BadInput(Problem(where, line, "a %YAML directive", "none, or %YAML 1.2"))
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = _Constructor
    try:
        return require_mapping(reader.load(text), where)
    except (YAMLError, RecursionError) as error:
        raise BadInput(_unread(error, where)) from error


def require_mapping(document: object, where: str) -> dict[str, Any]:
    """`document`, which is a mapping.

    Raises:
        BadInput: If it is not.
    """
    if isinstance(document, dict):
        return document
    found = {type(None): "an empty document", list: "a list"}.get(type(document), "a single value")
    raise BadInput(Problem(where, "", found, "a mapping that starts with 'campaign: KEY'"))


def validate(model: type[SectionT], document: Mapping[str, Any], where: str) -> SectionT:
    """`document` as a `model`.

    Raises:
        BadInput: With every problem found, each with its path and what is allowed.
    """
    reading = _Reading(where)
    plain = reading.plain(document, ())
    problems = reading.problems
    told = {problem.path for problem in problems}
    try:
        # By way of JSON, whose strict rules know lists where Python's insist on tuples.
        section = model.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
        found = _joined([_problem(model, plain, where, detail) for detail in details])
        raise BadInput(*problems, *(p for p in found if p.path not in told)) from error
    if problems:
        raise BadInput(*problems)
    return section


@dataclass
class _Reading:
    """One walk over a document, which leaves what JSON knows and lists the rest as problems."""

    where: str
    problems: list[Problem] = field(default_factory=list)
    values: int = 0

    def plain(self, value: object, at: Location) -> Any:
        """`value` without what is not plain.

        Raises:
            BadInput: If the document is too large to be read to its end.
        """
        self.values += 1
        if len(at) > DEEPEST or self.values > MOST_VALUES:
            expected = f"at most {DEEPEST} levels and {MOST_VALUES} values"
            raise BadInput(
                Problem(self.where, path_text(at[:3]), "more than can be read", expected)
            )
        if isinstance(value, Mapping):
            keys = [key for key in value if self._is_key(key, at)]
            return {key: self.plain(value[key], (*at, key)) for key in keys}
        if isinstance(value, list):
            return [self.plain(item, (*at, position)) for position, item in enumerate(value)]
        fault = _fault(value)
        if fault is None:
            return value
        self.problems.append(Problem(self.where, path_text(at), *fault))
        return None

    def _is_key(self, key: object, at: Location) -> bool:
        fault = _fault(key) if isinstance(key, str) else (f"the key {key!r}", "text; quote it")
        if fault:
            self.problems.append(Problem(self.where, path_text((*at, str(key))), *fault))
        return fault is None


def _fault(value: object) -> tuple[str, str] | None:
    """What was found and what is allowed, where `value` is no plain value."""
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
            return "a character that is no text", "Unicode text without NUL"
    elif isinstance(value, int | float):
        if not -LARGEST <= value <= LARGEST:
            return "a number without bounds", f"a number between -{LARGEST:g} and {LARGEST:g}"
    elif value is not None:
        return (
            f"a value of type {type(value).__name__}",
            "text, a number, true, false, a list or a mapping",
        )
    return None


def _unread(error: YAMLError | RecursionError, where: str) -> Problem:
    expected = "valid YAML 1.2 or JSON"
    if isinstance(error, RecursionError):
        return Problem(where, "", "more than can be read", f"at most {DEEPEST} levels")
    if not isinstance(error, MarkedYAMLError):
        return Problem(where, "", str(error).splitlines()[0], expected)
    line = f"line {error.problem_mark.line + 1}" if error.problem_mark else ""
    found = str(error.problem or error.context or "broken YAML").splitlines()[0]
    return Problem(where, line, found.removeprefix("found "), expected)


def path_text(location: Location) -> str:
    """`location` as people write it: ``routing.sequences[0].when``."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            shown = step if step.isprintable() else _shown(step)
            text += f".{shown}" if text else shown
    return text


def _problem(model: type[Section], document: object, where: str, detail: Any) -> Problem:
    kind, given = detail["type"], detail["loc"]
    location = _real_location(document, given, detail["input"], absent=kind == "missing")
    path = path_text(location)
    if kind == "extra_forbidden":
        return Problem(
            where,
            path,
            f"unknown key {given[-1]!r}",
            nearest(given[-1], _keys_at(model, given[:-1])),
        )
    if kind == "missing":
        return Problem(where, path, "nothing", "a value: this key is required")
    return Problem(where, path, _shown(detail["input"]), _expected(detail["msg"]))


def _expected(message: str) -> str:
    """What Pydantic's `message` says is allowed."""
    text = message.removeprefix("Value error, ").replace(" after validation", "")
    text = re.sub(r"^(String|Input) should match", "text that matches", text)
    text = re.sub(r"^\w+ should (be|have) ", "", text)
    text = text.replace("an object", "a mapping").replace("a valid array", "a list")
    return text[:1].lower() + text[1:]


def _joined(problems: list[Problem]) -> list[Problem]:
    """One problem for each place, since a value that fits no member of a union has many."""
    expected: dict[tuple[str, str, str], list[str]] = {}
    for problem in problems:
        place = (problem.where, problem.path, problem.found)
        expected.setdefault(place, []).append(problem.expected)
    return [Problem(*place, " or ".join(dict.fromkeys(e))) for place, e in expected.items()]


def _shown(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def nearest(key: str, known: Sequence[str]) -> str:
    """What to write instead of `key`: the most similar of `known`, and all of them."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    allowed = ", ".join(known)
    return f"{near[0]!r} (allowed here: {allowed})" if near else f"one of: {allowed}"


def _real_location(
    document: object, location: Location, given: object, *, absent: bool
) -> Location:
    """`location` without the names of union members, which Pydantic adds and nobody typed.

    Args:
        document: The values that `location` leads into.
        location: As Pydantic tells it.
        given: The value found there.
        absent: Whether the last step names a key that is not there, and `given` is what lacks it.
    """
    paths: dict[Location, Any] = {(): document}
    for step in location[:-1] if absent else location:
        taken = {(*at, step): node[step] for at, node in paths.items() if _holds(node, step)}
        # A step may be the name of a union's member even where there is a key of that name.
        paths = {**taken, **(paths if isinstance(step, str) else {})}
    fitting = [at for at, node in paths.items() if node == given] or list(paths)
    found = max(fitting, key=len, default=())
    return (*found, location[-1]) if absent else found


def _holds(node: object, step: int | str) -> bool:
    if isinstance(step, int):
        return isinstance(node, list) and step < len(node)
    return isinstance(node, Mapping) and step in node


def _keys_at(annotation: Any, location: Location) -> list[str]:
    """The keys allowed at `location` below `annotation`, in their order."""
    reachable = list(_sections(annotation))
    for step in location:
        tagged: list[Option] = [(None, section) for tag, section in reachable if tag == step]
        fields = [(_fields(section).get(str(step))) for _, section in reachable]
        following = [found for f in fields if f for found in _sections(f.annotation)]
        reachable = tagged or following or reachable
    return list(dict.fromkeys(key for _, section in reachable for key in _fields(section)))


def _fields(section: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _sections(annotation: Any, tag: str | None = None) -> Iterator[Option]:
    """The models that a value of `annotation` may be or contain, each with its name in a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        kind = annotation.model_fields.get("type")
        yield (tag or (get_args(kind.annotation)[0] if kind else None)), annotation
    elif get_origin(annotation) is Annotated:
        inner, *extras = get_args(annotation)
        yield from _sections(inner, next((e.tag for e in extras if isinstance(e, Tag)), tag))
    elif get_origin(annotation) in (Union, types.UnionType, list, tuple, dict):
        for part in get_args(annotation):
            yield from _sections(part)
