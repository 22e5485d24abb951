"""What a harvest of several sources leaves behind, counts, and tells of a lead."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from aicmo_dagster.errors import BadInput
from aicmo_dagster.settings import Provider
from aicmo_dagster.stages.claims import LEAST_ADDRESSED, most_leads_can_be_written_to
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.leads.explain import explain_lead
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.harvests import source_overlaps
from aicmo_dagster.store.provider_answers import Answer, put_answers
from aicmo_dagster_tests.providers.accounts import GOOD
from aicmo_dagster_tests.providers.clock import VirtualClock
from aicmo_dagster_tests.providers.market import SPECIALS
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

COLUMNS = {"email": "Email", "first_name": "First", "city": "City", "external_id": "Id"}


def sources(workspace: Workspace, *files: str, **changes: Any) -> list[Path]:
    """The campaign `spring` has a CSV source for each of `files`, which stand beside it."""
    named = [f"leads{place}.csv" for place in range(1, len(files) + 1)]
    described = [{"type": "csv", "path": name, "columns": COLUMNS} for name in named]
    folder = apply(workspace, "spring", None, sources=described, **changes).parent
    paths = [folder / name for name in named]
    for path, text in zip(paths, files, strict=True):
        path.write_text(f"Email,First,City,Id\n{text}", encoding="utf-8")
    return paths


def leads(workspace: Workspace) -> pd.DataFrame:
    with workspace.database.read() as connection:
        return read_frame(connection, "raw_leads", "spring").set_index("email")


def test_each_source_is_counted_and_so_is_who_overlaps(workspace: Workspace) -> None:
    sources(
        workspace,
        "a@x.example,A,Oslo,\nb@x.example,B,,\nbroken@,C,,\n",
        "a@x.example,,Bergen,\nc@gmail.com,C,,\ninfo@x.example,,,\n",
    )
    report = harvest(workspace, "spring", NOON)
    counted = {name: n for name, n in report.figures.items() if name.startswith("csv-")}
    assert counted == {
        **{"csv-1_rows": 3, "csv-1_leads": 2, "csv-1_rejects": 1},
        **{"csv-2_rows": 3, "csv-2_leads": 3, "csv-2_rejects": 0},
    }
    assert report.reasons == {
        "email: not an address": 1,
        "merged with another record of the same person": 1,
    }
    with workspace.database.read() as connection:
        overlaps = source_overlaps(connection, "spring")
    assert overlaps == {("csv-2",): 2, ("csv-1",): 1, ("csv-1", "csv-2"): 1}
    assert next(iter(overlaps)) == ("csv-2",), "the most frequent first"
    found = leads(workspace)
    assert found.loc["a@x.example", "sources"] == "csv-1;csv-2"
    assert json.loads(found.loc["a@x.example", "origins"]) == {"first_name": "csv-1"}
    assert found["address_kind"].to_dict() == {
        **{"a@x.example": "company", "b@x.example": "company"},
        **{"c@gmail.com": "free", "info@x.example": "role"},
    }


def test_a_second_harvest_tells_new_changed_unchanged_and_kept_apart(workspace: Workspace) -> None:
    [path] = sources(workspace, "a@x.example,A,,\nb@x.example,B,,\nc@x.example,C,,\n")
    first = harvest(workspace, "spring", NOON)
    path.write_text("Email,First,City,Id\na@x.example,A,,\nb@x.example,B,Oslo,\nd@x.example,D,,\n")
    again = harvest(workspace, "spring", NOON + timedelta(days=1))
    names = ("seen", "new", "changed", "unchanged", "kept_from_before")
    assert [first.figures[name] for name in names] == [3, 3, 0, 0, 0]
    assert [again.figures[name] for name in names] == [3, 1, 1, 1, 1]


def test_a_source_that_cannot_be_read_leaves_all_as_it_was(workspace: Workspace) -> None:
    one, other = sources(workspace, "a@x.example,A,,\n", "b@x.example,B,,\n")
    harvest(workspace, "spring", NOON)
    one.write_text("Email,First,City,Id\nz@x.example,Z,,\n", encoding="utf-8")
    other.write_text('Email,First,City,Id\n"never closed', encoding="utf-8")
    with pytest.raises(BadInput, match="never closed"):
        harvest(workspace, "spring", NOON)
    assert set(leads(workspace).index) == {"a@x.example", "b@x.example"}


def test_a_harvest_that_finds_few_addresses_is_warned_of(workspace: Workspace) -> None:
    assert most_leads_can_be_written_to(workspace, "spring").holds, "nobody is not too few"
    sources(workspace, "a@x.example,A,,\nb@mailinator.com,B,,\n,C,,7\n,D,,8\n")
    harvest(workspace, "spring", NOON)
    finding = most_leads_can_be_written_to(workspace, "spring")
    assert not finding.holds
    assert finding.figures == {
        **{"address_coverage": 0.25, "address_company": 1, "address_disposable": 1},
        "address_none": 2,
    }
    assert finding.figures["address_coverage"] < LEAST_ADDRESSED
    assert "mailinator" not in finding.text


def test_a_lead_tells_where_its_fields_are_from_and_who_answered(workspace: Workspace) -> None:
    sources(workspace, "a@x.example,A,Oslo,\n", "a@x.example,,Bergen,\n", "a@x.example,,,\n")
    harvest(workspace, "spring", NOON)
    [lead_id] = leads(workspace)["lead_id"]
    paid = Answer("spring", lead_id, "apollo", "p", {"title": "CEO"}, "bounced", False, 1.0, NOON)
    free = replace(paid, provider="dropcontact", answer={}, status="verified", usable=True)
    with workspace.database.write() as connection:
        put_answers(connection, [paid, replace(free, cached=True)])
    account = explain_lead(workspace, "spring", lead_id, NOON)
    harvested, apollo, dropcontact = account.entries
    assert harvested.reason.startswith("from csv-3")
    assert harvested.details == ("from csv-1: first_name", "from csv-2: city")
    assert (apollo.outcome, apollo.details) == ("bounced", ("told of: title", "1 credits"))
    assert dropcontact.reason == "dropcontact: an address that may be written to"
    assert dropcontact.details == ("told of: nothing", "answered before, so free of charge")


@pytest.mark.parametrize("found", [True, False])
def test_what_providers_answered_is_of_them_and_the_file_keeps_its_own(
    tmp_path: Path, database_url: str, found: bool
) -> None:
    with StandIn(clock=VirtualClock()).running() as stand_in:
        person = next(p for p in stand_in.people[SPECIALS:] if p.apollo == "verified")
        last_name = person.last_name if found else "Nemo"
        workspace = open_test_workspace(
            tmp_path, database_url, apollo=Provider(f"{stand_in.url}/apollo", GOOD)
        )
        columns = {"first_name": "First", "last_name": "Last", "domain": "Web", "city": "City"}
        described = [{"type": "csv", "path": "leads.csv", "columns": columns}]
        enrich = {"waterfall": ["apollo"], "max_credits": 5}
        path = apply(workspace, "spring", None, sources=described, enrich=enrich)
        row = f"{person.first_name},{last_name},{person.domain},Own"
        path.write_text(f"First,Last,Web,City\n{row}\n", encoding="utf-8")
        report = harvest(workspace, "spring", NOON)
        [lead] = leads(workspace).reset_index().to_dict("records")
        account = explain_lead(workspace, "spring", lead["lead_id"], NOON)
        workspace.database.close()
    assert report.figures.get("changed_by_answers", 0) == int(found)
    assert lead["city"] == "Own", "the file's own"
    [harvested] = [e for e in account.entries if e.stage == "raw_leads"]
    [answered] = [e for e in account.entries if e.stage == "provider_answers"]
    if found:
        assert (lead["email"], lead["sources"]) == (person.email, "apollo;csv-1")
        [told] = harvested.details
        assert told.startswith("from apollo: ")
        assert "email" in told
        assert "city" not in told
    else:
        assert (answered.outcome, harvested.details) == ("not_found", ())
        assert lead["sources"] == "csv-1", "who knows nothing of somebody is no source of them"
