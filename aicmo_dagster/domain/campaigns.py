"""The campaign document: what a user writes, as models, and the checks that span its parts.

Not here: reading YAML (`documents`), the languages of conditions (`conditions`) and templates
(`templates`), versions and storage (`store.campaigns`).
"""

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field, PositiveInt

from aicmo_dagster.domain.documents import Section, require_mapping, validate
from aicmo_dagster.domain.field_types import Address, Identifier, Key, OneLine
from aicmo_dagster.domain.sections.nurture import Nurture
from aicmo_dagster.domain.sections.qualification import Qualification
from aicmo_dagster.domain.sections.routing import Routing
from aicmo_dagster.domain.sections.schedule import Schedule
from aicmo_dagster.domain.sections.scoring import Scoring
from aicmo_dagster.domain.sections.sequences import Sequence
from aicmo_dagster.domain.sections.sources import Enrich, Source
from aicmo_dagster.errors import BadInput, Problem


class Goals(Section):
    """What the campaign is to reach."""

    replies: PositiveInt | None = None
    handoffs: PositiveInt | None = None


class Campaign(Section):
    """A whole campaign document."""

    campaign: Key
    name: OneLine
    owner: Address
    goals: Goals = Goals()
    schedule: Schedule = Schedule()
    sources: list[Source]
    enrich: Enrich | None = None
    scoring: Scoring = Scoring()
    qualification: Qualification = Qualification()
    routing: Routing
    sequences: dict[Identifier, Sequence] = Field(min_length=1)
    nurture: Nurture

    @property
    def zone(self) -> ZoneInfo:
        """The campaign's own time zone."""
        return ZoneInfo(self.schedule.timezone)


def read_campaign(document: object, where: str) -> Campaign:
    """`document` as a campaign.

    Raises:
        BadInput: With every problem of its parts and of what spans them.
    """
    mapping = require_mapping(document, where)
    problems = [*_route_problems(mapping, where), *_sequence_problems(mapping, where)]
    try:
        campaign = validate(Campaign, mapping, where)
    except BadInput as error:
        raise BadInput(*error.problems, *problems) from error
    if problems:
        raise BadInput(*problems)
    return campaign


# What one part says of another is looked up in plain values, so that it works on a broken document
# too: there nothing need have the type that it should have.


def _route_problems(document: dict[str, Any], where: str) -> Iterator[Problem]:
    """Every route names a sequence that is defined, each its own."""
    defined = _mapping(document.get("sequences"))
    seen: set[str] = set()
    for position, route in enumerate(_items(_mapping(document.get("routing")).get("sequences"))):
        name = _mapping(route).get("sequence")
        if not isinstance(name, str):
            continue
        path = f"routing.sequences[{position}].sequence"
        if name not in defined:
            known = ", ".join(map(str, defined)) or "none yet"
            expected = f"a sequence that 'sequences' defines: {known}"
            yield Problem(where, path, repr(name), expected)
        if name in seen:
            expected = "each sequence once; join two conditions with 'any'"
            yield Problem(where, path, f"{name!r} again", expected)
        seen.add(name)


def _sequence_problems(document: dict[str, Any], where: str) -> Iterator[Problem]:
    for name, sequence in _mapping(document.get("sequences")).items():
        steps = [_mapping(step) for step in _items(_mapping(sequence).get("steps"))]
        expected = "an id that no other step of the sequence has"
        for position in _repeated(steps):
            path = f"sequences.{name}.steps[{position}].id"
            yield Problem(where, path, repr(steps[position]["id"]), expected)
        for position, step in enumerate(steps):
            path = f"sequences.{name}.steps[{position}]"
            yield from _step_problems(step, path, where, first=position == 0)


def _step_problems(
    step: dict[str, Any], path: str, where: str, *, first: bool
) -> Iterator[Problem]:
    """A step's variants have distinct ids; every message has a body, of the first a subject."""
    variants = [_mapping(variant) for variant in _items(step.get("variants"))]
    for position in _repeated(variants):
        expected = "an id that no other variant of the step has"
        at = f"{path}.variants[{position}].id"
        yield Problem(where, at, repr(variants[position]["id"]), expected)
    places = {f"{path}.variants[{i}]": part for i, part in enumerate(variants)} or {path: step}
    for place, part in places.items():
        if not (part.get("body") or step.get("body")):
            yield Problem(where, place, "no body", "a 'body': text, or a .j2 file")
        if first and not (part.get("subject") or step.get("subject")):
            yield Problem(where, place, "no subject", "a 'subject', which the first step needs")


def _repeated(parts: list[dict[str, Any]]) -> list[int]:
    """The positions of those whose id stands before them already."""
    ids = [part.get("id") for part in parts]
    return [i for i, name in enumerate(ids) if isinstance(name, str) and name in ids[:i]]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
