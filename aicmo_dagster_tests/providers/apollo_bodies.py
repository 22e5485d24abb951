"""People and companies as Apollo writes them."""

from typing import Any

from aicmo_dagster_tests.providers.market import HUGE, LOCKED, LOCKED_EMAIL, NO_COMPANY, Person


def teaser(person: Person) -> dict[str, Any]:
    """Somebody as the search shows them."""
    masked = f"{person.last_name[:2]}***{person.last_name[-1]}"
    firm = {"name": person.company, "has_industry": True, "has_employee_count": True}
    body = {
        "id": person.id,
        "first_name": person.first_name,
        "last_name_obfuscated": masked,
        "title": person.title,
        "last_refreshed_at": "2026-10-30T08:14:02.118+00:00",
        "has_email": person.apollo != "unavailable",
        "has_country": True,
        "has_direct_phone": "Yes",
        "organization": None if person.id == NO_COMPANY else firm,
    }
    if int(person.id, 16) % 10 == 3:  # nothing instead of null
        body = {name: value for name, value in body.items() if value is not None}
    return body


def person_body(person: Person, *, locked: bool, with_contact: bool) -> dict[str, Any]:
    """Somebody as a match shows them."""
    unavailable = person.apollo == "unavailable"
    body = {
        "id": person.id,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "name": f"{person.first_name} {person.last_name}",
        "linkedin_url": person.linkedin,
        "title": person.title,
        "email": None if unavailable else person.email,
        "email_status": person.apollo,
        "extrapolated_email_confidence": 0.62 if person.apollo == "extrapolated" else None,
        "employment_history": _history(person, 400 if person.id == HUGE else 1),
        "city": "Bergen",
        "state": "Vestland",
        "country": "Norway",
        "departments": ["master_sales"],
        "seniority": "vp",
        "phone_numbers": [],
        "organization": None if person.id == NO_COMPANY else organization(person),
    }
    if locked and person.id == LOCKED:
        body["email"] = LOCKED_EMAIL.title()
    if with_contact:
        body["contact_id"] = "c-1"
        body["contact"] = {"id": person.id, "first_name": "Else", "email": "else@other.example"}
    return body


def organization(person: Person) -> dict[str, Any]:
    """The company somebody works for."""
    return {
        "id": "5f0a0b0c0d0e0f0001020304",
        "name": person.company,
        "website_url": f"http://www.{person.domain}",
        "primary_domain": person.domain,
        "primary_phone": {},
        "founded_year": 1987,
        "industry": "shipbuilding",
        "keywords": ["refit"] * (5000 if person.id == HUGE else 1),
        "estimated_num_employees": 340,
        "annual_revenue": 61000000.0,
        "technology_names": ["Hubspot", "Google Tag Manager"],
        "account": {"name": "Else Ltd"},
    }


def _history(person: Person, length: int) -> list[dict[str, Any]]:
    job = {"current": False, "description": "x" * 1200, "organization_name": person.company}
    return [{**job, "key": str(place)} for place in range(length)]
