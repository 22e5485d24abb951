"""A thousand leads from search to enriched frame, with both providers and a CSV that overlaps them.

Numbers are those of providers.md, section 6.
"""

from collections import Counter

import pandas as pd
import pytest

from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.providers.market import LOCKED_EMAIL, Person
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.stages.harvesting import Harvest, leads, search
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


@pytest.fixture
def frame(harvest_workspace: Workspace, providers: StandIn, run: Harvest) -> pd.DataFrame:
    providers.apollo.modes.locked = True
    sources = [CSV, search(PEOPLE)]
    path = apply(harvest_workspace, "spring", 0, sources=sources, enrich=ENRICH)
    path.write_text("\n".join(rows(providers.people)), encoding="utf-8")
    run()
    return leads(harvest_workspace)


@pytest.mark.parametrize("providers", [{"people": PEOPLE}], indirect=True)
def test_two_providers_and_a_csv_yield_one_row_a_person(
    frame: pd.DataFrame, providers: StandIn
) -> None:
    """1 to 4, 11, 13, 19, 25 and 28 are among them.

    Whom Apollo has under two ids is two to it: it answers about one of them by the other's id.
    """
    by_id = {person.id: person for person in providers.people}
    by_email = {person.email: person for person in providers.people}
    by_profile = {p.linkedin.removeprefix("http://www."): p for p in providers.people}
    found = Counter(
        (
            by_id.get(lead["external_id"])
            or by_email.get(lead["email"])
            or by_profile.get(str(lead["linkedin_url"]).removeprefix("https://www."))
            or lead["email"]
        )
        for lead in frame.astype(object).where(frame.notna(), None).to_dict("records")
    )
    assert [who for who, times in found.items() if times > 1] == []
    assert len(frame) == PEOPLE + OWN
    assert frame["email"].notna().mean() > 0.7
    assert not frame["email"].str.contains(LOCKED_EMAIL.partition("@")[0]).any()
    assert not frame["last_name"].str.contains("***", regex=False).any()
    assert providers.ledger.paid_twice("apollo") <= {providers.people[7].id}
    assert not providers.ledger.paid_twice("dropcontact")
