"""Leads completed by the stand-in providers over real HTTP: nothing is paid for twice."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.tokens import address_key
from aicmo_dagster.settings import Provider
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.harvesting.providers import Time
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.suppressions import suppressed
from aicmo_dagster.store.tables import person_aliases, provider_answers, provider_calls
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.providers.wire import Fault
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.harvesting.harvests import (
    BOTH,
    SEARCH,
    Harvest,
    addresses,
    call_states,
    campaign,
    leads,
)
from aicmo_dagster_tests.workspaces import apply


@pytest.fixture
def workspace(harvest_workspace: Workspace) -> Workspace:
    return harvest_workspace


def test_a_search_is_paged_and_completed_by_the_waterfall(
    workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    campaign(workspace)
    report = run()
    found = addresses(workspace)
    true = {person.id: person.email for person in providers.people}
    assert report.rows_in == len(found) > 20
    complete = {lead: email for lead, email in found.items() if email}
    assert len(complete) > len(found) / 2
    assert all(email == true[lead] for lead, email in complete.items())
    assert providers.ledger.spent() == sum(
        report.figures[f"{name}_credits"] for name in ("apollo", "dropcontact")
    )
    per_lead = report.figures["apollo_credits"] / report.rows_out
    assert report.figures["apollo_credits_per_lead"] == round(per_lead, 4)


@pytest.mark.parametrize("companies", [False, True])
def test_how_many_leads_are_held_at_once_changes_nothing(
    workspace: Workspace, providers: StandIn, time: Time, companies: bool
) -> None:
    """Neither what becomes of them nor what is paid."""
    found, figures, spent = [], [], []
    for key, at_once in (("spring", 1000), ("autumn", 7)):
        with workspace.database.write() as connection:
            for table in (provider_calls, provider_answers, person_aliases):
                connection.execute(sa.delete(table))
        campaign(workspace, key, enrich=BOTH | {"companies": companies})
        before = providers.ledger.spent()
        figures.append(harvest(workspace, key, NOON, time, at_once).figures)
        spent.append(providers.ledger.spent() - before)
        found.append(leads(workspace, key).sort_values("external_id", ignore_index=True))
    assert len(found[0]) > 3 * 7
    pd.testing.assert_frame_equal(
        found[0].drop(columns="lead_id"), found[1].drop(columns="lead_id")
    )
    # One person has two ids there, as only the answer tells: in two calls they are paid twice.
    assert spent[1] - spent[0] in (0, 1)
    same = [
        {name: figure for name, figure in each.items() if "apollo_credits" not in name}
        for each in figures
    ]
    assert same[0] == same[1]


def test_a_provider_that_has_ended_is_not_asked_about_those_behind(
    workspace: Workspace, providers: StandIn, time: Time
) -> None:
    campaign(workspace)
    providers.faults.set(Fault("bulk_match", nth=(2,), status=403, body={"error": "no"}))
    report = harvest(workspace, "spring", NOON, time, 10)
    assert len(providers.ledger.calls("bulk_match")) == 2
    assert sum(note.startswith("apollo: ") for note in report.notes) == 1
    assert report.figures["dropcontact_credits"] > 0


def test_a_second_harvest_pays_for_nobody_again(
    workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    campaign(workspace)
    run()
    paid, before = providers.ledger.spent(), addresses(workspace)
    run(at=NOON + timedelta(days=1))
    assert addresses(workspace) == before
    assert providers.ledger.spent() == paid
    assert not providers.ledger.paid_twice("apollo")


def test_what_one_campaign_paid_for_serves_another(
    workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    campaign(workspace)
    campaign(workspace, "autumn")
    run()
    paid = providers.ledger.spent()
    report = run("autumn")
    assert providers.ledger.spent() == paid
    assert report.figures["apollo: cache hits"] > 0
    assert addresses(workspace, "autumn") == addresses(workspace)


def test_an_answer_that_is_no_longer_fresh_is_asked_for_again(
    workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    campaign(workspace, enrich=BOTH | {"fresh_days": 30})
    run()
    paid = providers.ledger.spent()
    missing = sum(email is None for email in addresses(workspace).values())
    run(at=NOON + timedelta(days=31))
    assert 0 < providers.ledger.spent() - paid <= 2 * missing


def test_the_budget_stops_the_harvest_cleanly(
    workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    campaign(workspace, enrich=BOTH | {"max_credits": 13})
    report = run()
    assert providers.ledger.spent() <= 13
    assert report.figures["not_tried: no_credits"] > 0


def test_a_call_whose_outcome_is_unknown_is_never_repeated(
    workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    campaign(workspace, enrich=BOTH | {"waterfall": ["apollo"]})
    providers.faults.set(Fault("bulk_match", nth=(1,), drop_after_charge=True))
    run()
    assert "unknown" in call_states(workspace)
    paid = providers.ledger.spent()
    run(at=NOON + timedelta(days=1))
    assert providers.ledger.spent() == paid
    assert not providers.ledger.paid_twice("apollo")


def test_a_source_without_a_key_is_told_and_the_others_are_harvested(
    tmp_path: Path, workspace: Workspace, run: Harvest
) -> None:
    keyless = replace(workspace.settings, apollo=Provider("http://127.0.0.1:1"))
    csv = {"type": "csv", "path": "leads.csv", "columns": {"email": "Email"}}
    apply(workspace, "spring", 4, sources=[csv, SEARCH], enrich=BOTH)
    report = harvest(Workspace(keyless, workspace.database), "spring", NOON)
    assert report.rows_out == 4
    assert any("AICMO_APOLLO_API_KEY" in note for note in report.notes)


def test_a_batch_that_is_not_ready_is_collected_by_a_later_run(
    workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    providers.dropcontact.modes.ready_after = None
    campaign(workspace)
    first = run()
    assert first.figures["dropcontact: not ready, collected by a later run"] > 0
    before = addresses(workspace)
    submitted = len(providers.ledger.calls("/enrich/all"))
    providers.dropcontact.modes.ready_after = 1
    run(at=NOON + timedelta(days=1))
    found = [lead for lead, email in addresses(workspace).items() if email and not before[lead]]
    assert found
    assert (
        len([c for c in providers.ledger.calls() if c.charged and c.provider == "dropcontact"]) == 1
    )
    assert submitted > 1
    assert call_states(workspace).count("pending") == 0


@pytest.mark.parametrize(
    "providers", [{"limits": {"minute": 100, "hour": 2, "day": 1000}}], indirect=True
)
def test_an_hourly_limit_parks_the_provider_and_says_until_when(
    workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    campaign(workspace, enrich=BOTH | {"waterfall": ["apollo"]})
    report = run()
    assert len(providers.ledger.calls("bulk_match")) == 2
    assert any("until" in note for note in report.notes)
    assert call_states(workspace).count("done") == 2


def test_csv_leads_are_completed_too_and_keep_their_ids(
    workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    known = next(p for p in providers.people[10:] if p.apollo == "verified")
    columns = {
        "first_name": "First",
        "last_name": "Last",
        "company": "Account",
        "domain": "Website",
    }
    csv = {"type": "csv", "path": "leads.csv", "columns": columns}
    path = apply(workspace, "spring", 0, sources=[csv], enrich=BOTH)
    row = f"{known.first_name},{known.last_name},{known.company},{known.domain}"
    path.write_text(f"First,Last,Account,Website\n{row}\n", encoding="utf-8")
    run()
    with workspace.database.read() as connection:
        first = read_frame(connection, "raw_leads", "spring")
    assert list(first["email"]) == [known.email]
    assert list(first["source"]) == ["csv-1"]
    run(at=NOON + timedelta(days=1))
    with workspace.database.read() as connection:
        second = read_frame(connection, "raw_leads", "spring")
    assert list(second["lead_id"]) == list(first["lead_id"])


def test_whoever_objects_at_a_provider_is_suppressed_everywhere(
    workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    person = next(p for p in providers.people[10:] if p.apollo == "unavailable")
    objection = {"email": person.email, "qualification": "Do_Not_Contact@pro"}
    providers.dropcontact.modes.qualifications = {person.id: [objection]}
    campaign(workspace)
    run()
    secret_key = workspace.settings.secret_key()
    with workspace.database.read() as connection:
        assert suppressed(connection, [address_key(secret_key, person.email)])
    assert addresses(workspace)[person.id] is None
