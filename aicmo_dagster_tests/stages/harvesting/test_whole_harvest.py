"""A thousand leads from search to enriched frame, with both providers and a CSV that overlaps them.

Numbers are those of providers.md, section 6.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.providers.market import SPECIALS, Person
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.stages.harvesting.harvests import Harvest, leads, search
from aicmo_dagster_tests.workspaces import apply

PEOPLE, OWN = 1000, 40
FIELDS = {
    "email": "Email",
    "first_name": "First",
    "last_name": "Last",
    "company": "Firm",
    "domain": "Site",
    "linkedin_url": "Profile",
}
TOLD = ("email", "last_name", "title", "city")
ADDRESSED = range(100, 200)
"""Whose addresses the CSV knows."""
CSV = {"type": "csv", "path": "leads.csv", "columns": FIELDS}
ENRICH = {"waterfall": ["apollo", "dropcontact"], "max_credits": 5000}


def rows(people: list[Person]) -> list[str]:
    """The CSV: people known by address and profile, by profile, by name, and people of its own."""
    header = ",".join(FIELDS.values())
    by_address = [f"{p.email},{p.first_name},,,,{p.linkedin}" for p in people[100:200]]
    by_profile = [f",{p.first_name},,,,{p.linkedin}" for p in people[200:300]]
    named = [f",{p.first_name},{p.last_name},{p.company},{p.domain}," for p in people[300:400]]
    own = [f"own{n}@own{n}.example,Own,Lead {n},,," for n in range(OWN)]
    return [header, *by_address, *by_profile, *named, *own]


@dataclass(frozen=True)
class Whole:
    """What came of it."""

    report: Report
    leads: list[dict[str, Any]]

    @staticmethod
    def origin(lead: Mapping[str, Any], name: str) -> str | None:
        """The source of that field of `lead`, if it has one."""
        told = json.loads(lead["origins"]).get(name, lead["source"])
        return told if lead[name] is not None else None


@pytest.fixture
def whole(harvest_workspace: Workspace, providers: StandIn, run: Harvest) -> Whole:
    providers.apollo.modes.locked = True
    sources = [CSV, search(PEOPLE)]
    path = apply(harvest_workspace, "spring", 0, sources=sources, enrich=ENRICH)
    path.write_text("\n".join(rows(providers.people)), encoding="utf-8")
    report = run()
    frame = leads(harvest_workspace)
    plain = frame.astype(object).where(frame.notna(), None)
    return Whole(report, plain.to_dict("records"))


def known_as(people: list[Person]) -> dict[str | None, Person]:
    """Everybody by id, by address and by profile."""
    by_id = {person.id: person for person in people}
    by_email = {person.email: person for person in people}
    by_profile = {p.linkedin.replace("http://", "https://"): p for p in people}
    return {**by_id, **by_email, **by_profile}


def address_from(place: int, person: Person) -> str | None:
    """The first that has the person's address: the user's file, then the providers in order."""
    if place in ADDRESSED:
        return "csv-1"
    if person.apollo == "verified":
        return "apollo"
    return "dropcontact" if person.dropcontact == "nominative@pro" else None


def counts_are_told(whole: Whole, providers: StandIn) -> None:
    """By source, by overlap, by field and source, and what was paid."""
    figures = whole.report.figures
    read = {
        "csv-1_rows": 340,
        "csv-1_leads": 340,
        "apollo-2_rows": PEOPLE,
        "apollo-2_leads": PEOPLE,
    }
    gained = {"apollo_leads": 998, "dropcontact_leads": 383, "with_address": 838}
    free = {"apollo: cache hits": 200, "dropcontact_cache_hits": 0}
    paid = {f"{p}_credits": providers.ledger.spent(p) for p in ("apollo", "dropcontact")}
    assert {name: figures[name] for name in (*read, *gained, *free, *paid)} == {
        **{**read, **gained, **free},
        **{"apollo_credits": 999, "dropcontact_credits": 239},
    }
    assert (figures["seen"], whole.report.rows_out) == (PEOPLE + 340, PEOPLE + OWN), "300 merged"
    assert Counter(lead["sources"] for lead in whole.leads) == {
        **{"apollo;apollo-2": 434, "apollo;apollo-2;dropcontact": 264, "apollo-2": 2},
        **{"apollo;apollo-2;csv-1": 181, "apollo;apollo-2;csv-1;dropcontact": 119, "csv-1": OWN},
    }
    told = Counter((n, whole.origin(lead, n)) for lead in whole.leads for n in TOLD if lead[n])
    assert told == {
        **{("email", "csv-1"): 140, ("email", "apollo"): 548, ("email", "dropcontact"): 150},
        **{("last_name", "csv-1"): 140, ("last_name", "apollo"): 558},
        **{("last_name", "dropcontact"): 340, ("city", "apollo"): 998},
        **{("title", "apollo"): 758, ("title", "dropcontact"): 239, ("title", "apollo-2"): 2},
    }


@pytest.mark.parametrize("providers", [{"people": PEOPLE}], indirect=True)
def test_two_providers_and_a_csv_yield_one_row_a_person_and_the_provenance_of_each_field(
    whole: Whole, providers: StandIn
) -> None:
    """1 to 4, 11, 13, 19, 25 and 28 are among them.

    Whom Apollo has under two ids is two to it: it answers about one of them by the other's id.
    """
    known = known_as(providers.people)
    names = ("external_id", "email", "linkedin_url")
    whose = [next((known[x[n]] for n in names if x[n] in known), None) for x in whole.leads]
    found = Counter(p.id if p else x["email"] for p, x in zip(whose, whole.leads, strict=True))
    assert len(found) == len(whole.leads) == PEOPLE + OWN
    origin = {p.id: whole.origin(x, "email") for p, x in zip(whose, whole.leads, strict=True) if p}
    usual = {p.id: address_from(n, p) for n, p in enumerate(providers.people) if n > SPECIALS}
    assert {person: origin[person] for person in usual} == usual
    assert not any("email_not_unlocked" in str(lead["email"]) for lead in whole.leads)
    assert not any("***" in str(lead["last_name"]) for lead in whole.leads)
    assert providers.ledger.paid_twice("apollo") <= {providers.people[7].id}
    assert not providers.ledger.paid_twice("dropcontact")
    counts_are_told(whole, providers)
