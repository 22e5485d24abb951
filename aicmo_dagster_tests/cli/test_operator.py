"""What the audit has of changes made at the command line."""

import json
import os
import pwd
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.workspace import open_workspace
from aicmo_dagster.store.handoffs import add_handoff
from aicmo_dagster.store.leads import find_lead
from aicmo_dagster_tests.cli.conftest import Aicmo, audited
from aicmo_dagster_tests.samples import campaign_document, leads_csv

LEAD = "lead2@company2.example"


@pytest.fixture
def lead(aicmo: Aicmo, tmp_path: Path) -> str:
    """The id of a lead of the campaign `spring`, who was handed over."""
    columns = {"email": "Email", "first_name": "First", "company": "Account"}
    sources = [{"type": "csv", "path": "leads.csv", "columns": columns}]
    (tmp_path / "leads.csv").write_text(leads_csv(3), encoding="utf-8")
    document = json.dumps(campaign_document(sources=sources))
    (tmp_path / "spring.yaml").write_text(document, encoding="utf-8")
    assert aicmo("campaign", "apply", tmp_path / "spring.yaml").code == 0
    now = datetime.now(UTC)
    with open_workspace(load_settings()) as workspace:
        harvest(workspace, "spring", now)
        with workspace.database.write() as connection:
            found = find_lead(connection, "spring", LEAD)
            add_handoff(connection, "spring", found, "csv", "msg_1", "replied", {}, now)
    return found


def test_every_change_is_on_record_with_who_made_it_and_with_nothing_personal(
    aicmo: Aicmo, lead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    why = ("--reason", "Ann asked", "--by", "Ida")
    for arguments in (
        ("campaign", "apply", tmp_path / "spring.yaml"),
        ("override", "spring", LEAD, "pause", *why),
        ("override", "spring", LEAD, "resume", "--mode", "skip", *why),
        ("override", "spring", LEAD, "withdraw:route", *why),
        ("campaign", "pause", "spring", *why),
        ("campaign", "pause", "spring", *why),
        ("campaign", "resume", "spring", "--mode", "shift"),
        ("campaign", "resume", "spring", "--mode", "no such"),
        ("suppress", "rival.example", *why),
        ("suppress", "rival.example", *why),
        ("handoff", "resend", "spring", LEAD),
        ("handoff", "acknowledge", "spring", LEAD, "--by", "Bo Berg"),
        ("handoff", "acknowledge", "spring", LEAD, "--by", "Bo Berg"),
        ("campaign", "migrate", "spring", "--yes"),
        ("erase", "lead1@company1.example"),
        ("campaign", "archive", "spring"),
        ("campaign", "archive", "spring"),
    ):
        aicmo(*arguments)

    found = audited()[::-1]
    assert [each.action for each in found] == [
        "campaign.apply",
        "lead.override",
        "lead.override",
        "campaign.pause",
        "campaign.resume",
        "suppression.add",
        "handoff.resend",
        "handoff.acknowledge",
        "person.erase",
        "campaign.archive",
    ]
    assert {each.who for each in found} == {f"cli:{pwd.getpwuid(os.getuid()).pw_name}"}
    assert {each.subject for each in found if each.action.startswith("lead")} == {lead}
    text = json.dumps([vars(each) for each in found], default=str)
    people = ("company1", "company2", "Ann", "rival.example", "Ida", "Bo Berg")
    assert not any(private in text for private in people)
    archived = found[-1]
    assert archived.before is not None
    assert archived.after is not None
    assert (archived.before["state"], archived.after["state"]) == ("active", "archived")


def test_a_number_that_nobody_is_stands_for_itself(
    aicmo: Aicmo, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 2)
    assert aicmo("suppress", "rival.example", "--by", "Ida").code == 0
    assert [each.who for each in audited()] == [f"cli:{2**31 - 2}"]
