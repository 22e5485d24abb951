"""Reading a user's document: YAML to plain values, and Pydantic's refusals to problems people can mend.

Not here: what a campaign document holds (`campaigns`), or files.
"""

import difflib
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from aicmo_dagster.errors import BadInput, Problem

Location = tuple[int | str, ...]


class Section(BaseModel):
    """A part of a document: unknown keys refused, nothing coerced, never changed after reading."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, populate_by_name=True, allow_inf_nan=False
    )


SectionT = TypeVar("SectionT", bound=Section)


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """The mapping that `text` holds, read by the YAML 1.2 core rules (so ``NO`` is a string).

    Args:
        text: YAML or JSON.
        where: The document's name, for the error.

    Raises:
        BadInput: If it is not one mapping with string keys, each given once.
    """
    reader = YAML(typ="safe", pure=True)
    # The core schema knows no dates; a date stays the text that its author typed.
    reader.Constructor.add_constructor(
        "tag:yaml.org,2002:timestamp", reader.Constructor.construct_yaml_str
    )
    try:
        document = reader.load(text)
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}" if error.problem_mark else ""
        found = str(error.problem or error.context or "broken YAML").splitlines()[0]
        raise BadInput(Problem(where, line, found, "valid YAML 1.2 or JSON")) from error
    except YAMLError as error:
        found = str(error).splitlines()[0]
        raise BadInput(Problem(where, "", found, "valid YAML 1.2 or JSON")) from error
    if not isinstance(document, dict):
        found = "an empty document" if document is None else f"a {type(document).__name__}"
        raise BadInput(Problem(where, "", found, "a mapping that starts with 'campaign: KEY'"))
    return document


def validate(model: type[SectionT], document: Mapping[str, Any], where: str) -> SectionT:
    """`document` as a `model`.

    Raises:
        BadInput: With every problem found, each with its path and what is allowed.
    """
    try:
        # By way of JSON, whose strict rules know lists where Python's insist on tuples.
        return model.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        problems = [
            _problem(model, document, where, detail)
            for detail in error.errors(include_url=False, include_context=True)
        ]
        raise BadInput(*dict.fromkeys(problems)) from error


def path_text(location: Location) -> str:
    """`location` as people write it: ``routing.sequences[0].when``."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _problem(model: type[Section], document: object, where: str, detail: Any) -> Problem:
    kind = detail["type"]
    location = _real_location(document, detail["loc"], absent=kind == "missing")
    path = path_text(location)
    if kind == "extra_forbidden":
        known = sorted(_keys_at(model, detail["loc"][:-1]))
        return Problem(where, path, f"unknown key {location[-1]!r}", _nearest(location[-1], known))
    if kind == "missing":
        return Problem(where, path, "nothing", "a value: this key is required")
    message = detail["msg"].removeprefix("Value error, ")
    return Problem(where, path, _shown(detail["input"]), message[:1].lower() + message[1:])


def _shown(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _nearest(key: object, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
    allowed = ", ".join(known)
    return f"{near[0]!r} (allowed here: {allowed})" if near else f"one of: {allowed}"


def _real_location(document: object, location: Location, *, absent: bool) -> Location:
    """`location` without the names of union members, which Pydantic adds and nobody typed.

    Args:
        document: The values that `location` leads into.
        location: As Pydantic tells it.
        absent: Whether the last step names a key that is not there.
    """
    real: list[int | str] = []
    node = document
    for position, step in enumerate(location):
        last = position == len(location) - 1
        if isinstance(step, int) and isinstance(node, list) and step < len(node):
            node = node[step]
        elif isinstance(node, Mapping) and step in node:
            node = node[str(step)]
        elif not (last and absent):
            continue
        real.append(step)
    return tuple(real)


def _keys_at(annotation: Any, location: Location) -> set[str]:
    """The keys allowed at `location` below `annotation`."""
    reachable = list(_sections(annotation))
    for step in location:
        following = []
        for section in reachable:
            fields = {(f.alias or name): f for name, f in section.model_fields.items()}
            if step in fields:
                following += _sections(fields[str(step)].annotation)
        reachable = following or reachable
    return {f.alias or name for s in reachable for name, f in s.model_fields.items()}


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a value of type `annotation` may be or contain."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from _sections(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType, list, tuple, dict):
        for part in get_args(annotation):
            yield from _sections(part)
