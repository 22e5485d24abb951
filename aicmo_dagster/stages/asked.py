"""Whom a provider is asked about, and what a person is known by there, in all campaigns and runs.

Not here: asking (`paid_calls`), or who a lead is (`domain.identity`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow

from aicmo_dagster.domain import normalise
from aicmo_dagster.sources.people import Asked

IDENTIFYING = ("linkedin_url", "first_name", "last_name", "company", "domain")
"""The fields that a provider may find somebody by."""

_READERS = {"linkedin_url": normalise.linkedin_urls, "domain": normalise.domains}

Known = Mapping[str, Any]
"""What is known of somebody, by our fields; a field that is not known is None or missing."""


def asked_about(provider: str, leads: Sequence[Known]) -> list[Asked]:
    """How `provider` is asked about each of `leads`: spelled as intake spells it.

    The id is given to the provider whose search told it, and to no other.
    """
    columns = [_spelled(name, leads) for name in IDENTIFYING]
    return [
        Asked(
            key=lead["lead_id"],
            external_id=lead["external_id"] if knows_by_id(provider, lead) else None,
            **dict(zip(IDENTIFYING, values, strict=True)),
        )
        for lead, *values in zip(leads, *columns, strict=True)
    ]


def knows_by_id(provider: str, lead: Known) -> bool:
    """Whether the lead has an id and it is the one that `provider` knows it by."""
    if not lead["external_id"]:
        return False
    origins = json.loads(lead.get("origins") or "{}")
    return str(origins.get("external_id", lead["source"])).startswith(provider)


def identity_of(person: Asked) -> str | None:
    """What the person is known by, if it is enough to be asked about."""
    return next(iter(_identities(person)), None)


def identities_of(answers: Sequence[Known]) -> list[list[str]]:
    """Of each answer everything that `identity_of` may call whom it is about."""
    columns = [_spelled(name, answers) for name in IDENTIFYING]
    found = []
    for answer, *values in zip(answers, *columns, strict=True):
        named = dict(zip(IDENTIFYING, values, strict=True))
        person = Asked(key="", external_id=answer.get("external_id"), **named)
        firmless = replace(person, external_id=None, linkedin_url=None, domain=None)
        found.append(list(dict.fromkeys([*_identities(person), *_identities(firmless)])))
    return found


def _identities(person: Asked) -> list[str]:
    """The person's identities, the strongest first."""
    found = []
    if person.external_id:
        found.append(f"id:{person.external_id}")
    if person.linkedin_url:
        found.append(f"linkedin:{person.linkedin_url}")
    firm = person.domain or person.company
    if person.first_name and person.last_name and firm:
        found.append(f"name:{person.first_name}|{person.last_name}|{firm}".casefold())
    return found


def _spelled(name: str, known: Sequence[Known]) -> list[str | None]:
    """The field of each as intake spells it."""
    given = pyarrow.array([one.get(name) for one in known], pyarrow.string())
    cleaned = normalise.texts(given)
    return _READERS[name](cleaned).to_pylist() if name in _READERS else cleaned.to_pylist()
