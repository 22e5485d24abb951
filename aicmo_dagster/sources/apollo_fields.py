"""A person and a company as Apollo describes them, in our fields.

Not here: asking for them (`apollo`).
"""

from collections.abc import Mapping
from typing import Any

from aicmo_dagster.sources.people import Answered, answered, shown_address, text_of, texts_of

_STATUSES = {
    **{name: name for name in ("verified", "unverified", "likely_to_engage", "guessed")},
    **{name: name for name in ("unavailable", "bounced")},
    "extrapolated": "guessed",
    "pending_manual_fulfillment": "unavailable",
}


def fields_of(person: Mapping[str, Any]) -> dict[str, str]:
    """Our fields of a person, but the address: never a `contact`'s, never a masked name."""
    firm = person.get("organization")
    last_name = text_of(person.get("last_name")) or ""
    own = {
        "external_id": person.get("id"),
        "first_name": person.get("first_name"),
        "last_name": None if "*" in last_name else last_name,
        "title": person.get("title"),
        "seniority": person.get("seniority"),
        "department": _first(person.get("departments")),
        "phone": _phone(person.get("phone_numbers")),
        "linkedin_url": person.get("linkedin_url"),
        "city": person.get("city"),
        "region": person.get("state"),
        "country": person.get("country"),
        "timezone": person.get("time_zone"),
    }
    return texts_of(own) | (company_of(firm) if isinstance(firm, dict) else {})


def company_of(firm: Mapping[str, Any]) -> dict[str, str]:
    """Our fields of a company."""
    names = firm.get("technology_names")
    technologies = [name for name in map(text_of, names if isinstance(names, list) else ()) if name]
    return texts_of(
        {
            "company": firm.get("name"),
            "domain": firm.get("primary_domain") or firm.get("website_url"),
            "industry": firm.get("industry"),
            "employees": firm.get("estimated_num_employees"),
            "annual_revenue": firm.get("annual_revenue"),
            "technologies": ";".join(technologies),
            "founded_year": firm.get("founded_year"),
        }
    )


def identity_of(person: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, str]:
    """What tells who a person of these `fields_of` is."""
    return {**fields} | texts_of({"email": shown_address(person.get("email"))})


def answer_of(person: Mapping[str, Any], fields: Mapping[str, str]) -> Answered:
    """What Apollo knows of a person of these `fields_of`.

    That an address is verified does not mean that it is there.
    """
    written = (text_of(person.get("email_status")) or "").strip().lower().replace(" ", "_")
    confidence = person.get("extrapolated_email_confidence") or person.get("match_confidence")
    email = text_of(person.get("email"))
    status = _STATUSES.get(written, "unknown")
    return answered(fields, email, status, text_of(confidence))


def is_made_up(person: Mapping[str, Any]) -> bool:
    """Whether Apollo says by a person that it has none: what was asked, echoed."""
    return person.get("match_confidence") == "none"


def _first(values: object) -> object:
    return values[0] if isinstance(values, list) and values else None


def _phone(numbers: object) -> object:
    """The person's own number, as far as possible without what is not a digit."""
    first = _first(numbers)
    if not isinstance(first, dict):
        return None
    return first.get("sanitized_number") or first.get("raw_number")
