"""An enriched record as Dropcontact describes it, in our fields, and its words for addresses.

Not here: submitting and collecting batches (`dropcontact`).
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from aicmo_dagster.sources.people import (
    DO_NOT_CONTACT,
    NOT_FOUND,
    Answered,
    answered,
    text_of,
    texts_of,
)

_LOCALS = {
    "nominative": "nominative",
    "nominatif": "nominative",
    "catch all": "catch_all",
    "non confirm": "catch_all",
    "generic": "generic",
    "generique": "generic",
    "do not contact": DO_NOT_CONTACT,
    "ne pas contacter": DO_NOT_CONTACT,
    "non validated": "unverified",
    "non valide": "unverified",
    "random": "invalid",
    "invalid": "invalid",
    "invalide": "invalid",
}
_DOMAINS = {
    "pro": "pro",
    "perso": "personal",
    "school": "school",
    "disposable": "disposable",
    "jetable": "disposable",
    "invalid": "invalid",
    "invalid domain": "invalid",
    "domaine invalide": "invalid",
}
"""The words of a qualification, of each language and generation, without accents and hyphens."""

_RANKS = (
    *(DO_NOT_CONTACT, "verified", "catch_all", "unverified", "generic", "personal", "school"),
    *("unknown", "disposable", "invalid"),
)
"""The states of addresses, the telling ones first: an objection outweighs any address."""


def answer_of(row: Mapping[str, Any]) -> Answered:
    """What Dropcontact knows of a person: of several addresses the best, wherever it stands."""
    fields = texts_of(
        {
            "first_name": row.get("first_name"),
            "last_name": row.get("last_name"),
            "title": row.get("job"),
            "seniority": row.get("job_level"),
            "department": row.get("job_function"),
            "phone": row.get("mobile_phone"),
            "linkedin_url": row.get("linkedin"),
            "company": row.get("company"),
            "domain": row.get("website"),
            "industry": row.get("industry") or row.get("naf5_des"),
            "employees": row.get("employee_count") or row.get("nb_employees"),
            "annual_revenue": row.get("company_turnover"),
            "country": row.get("country"),
        }
    )
    found = _addresses(row.get("email"))
    if not found:
        return answered(fields, None, NOT_FOUND)
    address, written = min(found, key=lambda one: _RANKS.index(status_of(one[1])))
    return answered(fields, address, status_of(written), written)


@lru_cache(maxsize=1024)  # there are few, and each address has one
def status_of(qualification: str) -> str:
    """The state of an address that Dropcontact qualifies so; what it does not know is unknown."""
    local, _, domain = (_plain(part) for part in qualification.rpartition("@"))
    state, place = _LOCALS.get(local, "unknown"), _DOMAINS.get(domain, "unknown")
    if state == DO_NOT_CONTACT:
        return state
    if "invalid" in (state, place):
        return "invalid"
    if place != "pro" or state == "unknown":
        return place if place != "pro" and state != "unknown" else "unknown"
    return "verified" if state == "nominative" else state


def _addresses(listed: object) -> list[tuple[str, str]]:
    """(address, qualification) of each that was found; a mere text is what was asked, echoed."""
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    pairs = [(text_of(row.get("email")), text_of(row.get("qualification")) or "") for row in rows]
    return [(address, written) for address, written in pairs if address is not None]


def _plain(word: str) -> str:
    """`word` in lower case, without accents, with spaces for what joins words."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[-_]", " ", bare.lower()).split())
