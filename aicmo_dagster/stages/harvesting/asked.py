"""Whom a provider is asked about, and what a person is known by there, in all campaigns and runs.

Not here: asking (`paid_calls`), or who a lead is (`domain.identity`).
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
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
    origin = _origin_of_id(lead.get("origins") or "{}") or lead["source"]
    return str(origin).startswith(provider)


@lru_cache(maxsize=1024)  # most leads have the same
def _origin_of_id(origins: str) -> str | None:
    found: dict[str, str] = json.loads(origins)
    return found.get("external_id")


def identity_of(person: Asked) -> str | None:
    """What the person is known by, if it is enough to be asked about."""
    named = _named(person.first_name, person.last_name, person.domain or person.company)
    return _by_id(person.external_id) or _by_profile(person.linkedin_url) or named


def identities_of(answers: Sequence[Known]) -> list[list[str]]:
    """Of each answer everything that `identity_of` may call whom it is about."""
    columns = [_spelled(name, answers) for name in IDENTIFYING]
    return [
        list(
            dict.fromkeys(
                identity
                for identity in (
                    _by_id(answer.get("external_id")),
                    _by_profile(profile),
                    _named(first, last, domain or company),
                    _named(first, last, company),
                )
                if identity
            )
        )
        for answer, profile, first, last, company, domain in zip(answers, *columns, strict=True)
    ]


def _by_id(external_id: str | None) -> str | None:
    return f"id:{external_id}" if external_id else None


def _by_profile(profile: str | None) -> str | None:
    return f"linkedin:{profile}" if profile else None


def _named(first: str | None, last: str | None, firm: str | None) -> str | None:
    return f"name:{first}|{last}|{firm}".casefold() if first and last and firm else None


def _spelled(name: str, known: Sequence[Known]) -> list[str | None]:
    """The field of each as intake spells it."""
    given = pyarrow.array([one.get(name) for one in known], pyarrow.string())
    cleaned = normalise.texts(given)
    return _READERS[name](cleaned).to_pylist() if name in _READERS else cleaned.to_pylist()
