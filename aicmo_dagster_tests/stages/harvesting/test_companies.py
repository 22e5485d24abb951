"""Companies' fields from Apollo for leads that lack them, paid for once a company."""

from pathlib import Path
from typing import Any

import pytest

from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.providers.wire import Fault
from aicmo_dagster_tests.stages.harvesting.harvests import Harvest, calls, leads
from aicmo_dagster_tests.workspaces import apply

COLUMNS = {"email": "Email", "company": "Account", "domain": "Site", "industry": "Industry"}
CSV = {"type": "csv", "path": "leads.csv", "columns": COLUMNS}
ENRICH = {"waterfall": ["dropcontact"], "max_credits": 100, "companies": True}


def written(workspace: Workspace, *rows: str, key: str = "spring", **enrich: Any) -> None:
    path = apply(workspace, key, 0, sources=[CSV], enrich=ENRICH | enrich)
    Path(path).write_text("\n".join(["Email,Account,Site,Industry", *rows]), encoding="utf-8")


def known(providers: StandIn, number: int) -> tuple[str, str]:
    """The name and the domain of a company that Apollo knows."""
    person = providers.people[number]
    return person.company, person.domain


def asked(providers: StandIn) -> list[str]:
    requests = [r for r in providers.requests if "/organizations/" in r.path]
    return sorted(request.values["domain"] for request in requests)


def test_a_company_is_asked_about_once_for_all_who_work_there(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    (one, first), (two, second) = known(providers, 20), known(providers, 21)
    written(
        harvest_workspace,
        f"a@{first},{one},{first},",
        f"b@{first},{one},{first},",
        f"c@{second},{two},{second},",
        "d@nowhere.example,Nowhere,nowhere.example,",
    )
    report = run()
    found = leads(harvest_workspace).sort_values("email")
    assert asked(providers) == sorted([first, "nowhere.example", second])
    assert found["employees"].tolist()[:3] == [340, 340, 340]
    assert found["industry"].isna().tolist() == [False, False, False, True]
    assert report.figures["apollo_credits"] == providers.ledger.spent() == 2
    assert report.figures["apollo: companies found"] == 2
    assert report.figures["apollo: companies not found"] == 1


def test_what_a_lead_has_is_kept_and_what_it_lacks_is_filled(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    _, domain = known(providers, 20)
    written(harvest_workspace, f"a@{domain},Ours,{domain},Boats")
    run()
    (lead,) = leads(harvest_workspace).to_dict("records")
    assert (lead["company"], lead["industry"], lead["employees"]) == ("Ours", "Boats", 340)


def test_a_second_harvest_and_another_campaign_pay_for_no_company_again(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    company, domain = known(providers, 20)
    for key in ("spring", "autumn"):
        written(harvest_workspace, f"a@{domain},{company},{domain},", key=key)
    run()
    run()
    run("autumn")
    assert asked(providers) == [domain]
    assert leads(harvest_workspace, "autumn")["employees"].tolist() == [340]


def test_without_the_key_in_the_document_no_company_is_asked_about(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    company, domain = known(providers, 20)
    written(harvest_workspace, f"a@{domain},{company},{domain},", companies=False)
    run()
    assert asked(providers) == []


def test_companies_share_the_budget(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    rows = [f"a{n}@{d},{c},{d}," for n, (c, d) in ((n, known(providers, n)) for n in range(20, 30))]
    written(harvest_workspace, *rows, max_credits=4)
    run()
    assert providers.ledger.spent() == 4
    assert leads(harvest_workspace)["employees"].notna().sum() == 4


@pytest.mark.parametrize("after_charge", [True, False])
def test_20_a_company_whose_answer_is_lost_is_not_paid_for_twice(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, after_charge: bool
) -> None:
    company, domain = known(providers, 20)
    written(harvest_workspace, f"a@{domain},{company},{domain},")
    providers.faults.set(
        Fault("/organizations", drop_after_charge=after_charge, reset=not after_charge)
    )
    run()
    providers.faults.set()
    run()
    assert providers.ledger.spent() == int(after_charge)
    assert calls(harvest_workspace, "state") == [("unknown",)]
