"""Overrides and rehearsals as a user meets them."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from ruamel.yaml import YAML

from aicmo_dagster.store.database import open_database
from aicmo_dagster.store.tables import nurture_sends
from aicmo_dagster_tests.cli.conftest import Aicmo, Furnish, audited
from aicmo_dagster_tests.samples import campaign_document, leads_csv

STEPS = {"steps": [{"id": "intro", "subject": "Hello", "body": "Good day."}]}
BOTH = {"everyone": STEPS, "others": STEPS}


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A campaign document with three leads beside it."""
    columns = {"email": "Email", "first_name": "First", "company": "Account"}
    sources = [{"type": "csv", "path": "leads.csv", "columns": columns}]
    routing = {"sequences": [{"sequence": "everyone"}, {"sequence": "others", "weight": 2}]}
    (tmp_path / "leads.csv").write_text(leads_csv(3), encoding="utf-8")
    path = tmp_path / "campaign.yaml"
    whole = campaign_document(sources=sources, routing=routing, sequences=BOTH)
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


@pytest.fixture
def applied(document: Path, aicmo: Aicmo, furnish: Furnish) -> Path:
    """The same, applied."""
    furnish("applied", lambda: apply(aicmo, document))
    return document


@pytest.fixture
def routed(document: Path, aicmo: Aicmo, furnish: Furnish) -> Path:
    """The same, applied, harvested, scored, judged and routed."""

    def run() -> None:
        apply(aicmo, document)
        assert aicmo("run", "spring", "--to", "routed_leads", "--json").code == 0

    furnish("routed", run)
    return document


def apply(aicmo: Aicmo, document: Path) -> None:
    assert aicmo("campaign", "apply", document).code == 0


def changed(path: Path, **parts: object) -> Path:
    other = path.with_name("changed.yaml")
    whole = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    other.write_text(json.dumps(whole | parts), encoding="utf-8")
    return other


LEAD = "lead2@company2.example"


def test_overrides_are_made_listed_and_withdrawn(aicmo: Aicmo, routed: Path) -> None:
    for action in ("reject", "pause", "route:others"):
        made = aicmo(
            "override", "spring", LEAD, action, "--reason", "asked", "--by", "Ida",
            "--until", "2999-01-01T00:00:00+01:00",
        )  # fmt: skip
        assert (made.code, action in made.output) == (0, True)
    listed = json.loads(aicmo("overrides", "spring", "--json").output)
    assert [row["action"] for row in listed] == ["reject", "pause", "route:others"]
    assert {row["state"] for row in listed} == {"in force"}
    assert {row["expires_at"] for row in listed} == {"2998-12-31T23:00:00+00:00"}
    assert (
        "1 withdrawn"
        in aicmo("override", "spring", LEAD, "withdraw:pace", "--reason", "over").output
    )
    assert "pause" not in aicmo("overrides", "spring").output
    assert "pause (withdrawn) by Ida" in aicmo("overrides", "spring", "--all").output
    assert "2 withdrawn" in aicmo("override", "spring", LEAD, "withdraw", "--reason", "x").output
    assert aicmo("overrides", "spring").output == "there are none\n"


@pytest.mark.parametrize("action", ["promote", "route:nowhere", "withdraw:all", "route:"])
def test_an_action_that_does_not_exist_is_refused(aicmo: Aicmo, applied: Path, action: str) -> None:
    refused = aicmo("override", "spring", LEAD, action, "--reason", "x")
    assert (refused.code, "route:everyone, route:others" in refused.errors) == (2, True)


@pytest.mark.parametrize("until", ["tomorrow", "2999-01-01", "2020-01-01T00:00:00Z"])
def test_an_end_that_is_none_or_over_is_refused(aicmo: Aicmo, applied: Path, until: str) -> None:
    refused = aicmo("override", "spring", LEAD, "reject", "--reason", "x", "--until", until)
    assert (refused.code, "--until" in refused.errors) == (2, True)


def test_a_rehearsal_of_rules_tells_who_would_come_and_go(aicmo: Aicmo, routed: Path) -> None:
    rules = [{"name": "the first", "field": "company", "op": "==", "value": "Company 1"}]
    other = changed(routed, qualification={"rules": rules})
    asked = ("run", "spring", "--to", "qualified_leads", "--dry-run")
    assert "3 qualify now, 3 would" in aicmo(*asked).output
    text = aicmo(*asked, "--document", other).output
    assert "3 qualify now, 1 would; nothing was written" in text
    assert "leaves" in text
    assert "rule 'the first'" in text
    told = json.loads(aicmo(*asked, "--document", other, "--json").output)
    assert (told["qualified"], told["would_qualify"]) == (3, 1)
    assert (len(told["enters"]), len(told["leaves"])) == (0, 2)
    exported = aicmo("export", "spring", "qualified_leads", "--format", "jsonl").output
    assert len(exported.splitlines()) == 3


def test_a_rehearsal_of_routing_tells_shares_and_who_loses_a_place(
    aicmo: Aicmo, routed: Path
) -> None:
    routing = {"sequences": [{"sequence": "everyone", "capacity": 1}]}
    other = changed(routed, routing=routing)
    asked = ("run", "spring", "--to", "routed_leads", "--dry-run", "--document", other)
    settled = aicmo(*asked).output
    assert "Leads that would be elsewhere than before: 0" in settled
    afresh = aicmo(*asked, "--afresh").output
    assert "2 without a sequence: every sequence it may go to is full" in afresh
    told = json.loads(aicmo(*asked, "--afresh", "--json").output)
    assert told["sequences"][0] | {"weight": 0} == {
        "sequence": "everyone",
        "weight": 0,
        "capacity": 1,
        "per_day": None,
        "leads": 1,
        "active": 0,
        "room": 1,
    }
    assert told["fairness"] == [{"among": "everyone:1", "sequence": "everyone", "had": 1, "due": 1}]
    assert {change["after"] for change in told["changes"]} <= {None, "everyone"}


REFUSED = {
    "another stage": (
        ("--to", "raw_leads", "--dry-run"),
        "scored_leads, qualified_leads, routed_leads",
    ),
    "no stage": (("--dry-run",), "scored_leads, qualified_leads, routed_leads"),
    "a document to run by": (("--document", "x.yaml"), "--dry-run"),
    "afresh for rules": (("--to", "qualified_leads", "--dry-run", "--afresh"), "routed_leads"),
}


@pytest.mark.parametrize(("options", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_rehearsed_is_refused(
    aicmo: Aicmo, document: Path, options: tuple[str, ...], expected: str
) -> None:
    refused = aicmo("run", "spring", *options)
    assert (refused.code, expected in refused.errors) == (2, True)


def test_a_document_of_another_campaign_is_not_rehearsed(aicmo: Aicmo, document: Path) -> None:
    other = changed(document, campaign="autumn")
    refused = aicmo("run", "spring", "--to", "routed_leads", "--dry-run", "--document", other)
    assert (refused.code, "'spring', the campaign to rehearse" in refused.errors) == (2, True)


def test_a_campaign_is_paused_and_resumed_after_its_counts_were_shown(
    routed: Path, aicmo: Aicmo
) -> None:
    assert "was" not in aicmo("campaign", "pause", "spring", "--reason", "x").output
    assert "was paused before" in aicmo("campaign", "pause", "spring", "--reason", "x").output
    shown = aicmo("campaign", "resume", "spring").output
    assert "due at once" in shown
    assert "nothing was changed" in shown
    assert (
        "resumed, 0 sends changed" in aicmo("campaign", "resume", "spring", "--mode", "skip").output
    )
    assert aicmo("campaign", "resume", "spring").code == 1
    unpaused = aicmo("override", "spring", LEAD, "resume", "--mode", "skip", "--reason", "x")
    assert (unpaused.code, "is not paused" in unpaused.errors) == (1, True)
    wrong = aicmo("override", "spring", LEAD, "pause", "--mode", "skip", "--reason", "x")
    assert wrong.code == 2


def test_leads_are_moved_to_another_version_after_it_was_shown_who(
    routed: Path, aicmo: Aicmo
) -> None:
    more = {"steps": [*STEPS["steps"], {"id": "nudge", "wait": {"days": 1}, "body": "Again"}]}
    assert aicmo("campaign", "pause", "spring", "--reason", "x").code == 0
    assert aicmo("run", "spring", "--from", "nurture_sends", "--json").code == 0
    assert aicmo("campaign", "apply", changed(routed, sequences={"everyone": more, "others": more}))
    shown = aicmo("campaign", "migrate", "spring").output
    assert "nothing was changed" in shown
    assert "3 leads moved" in aicmo("campaign", "migrate", "spring", "--yes").output
    told = audited()[0]
    assert (told.action, told.before) == ("campaign.migrate", {"leads_by_version": {"1": 3}})
    assert told.after == {"leads": 3, "version": 2}


def test_a_message_in_doubt_is_listed_and_resolved_once(
    routed: Path, aicmo: Aicmo, home: Path
) -> None:
    assert aicmo("run", "spring", "--from", "nurture_sends", "--json").code == 0
    assert aicmo("unknown", "list", "spring").output == "there are none\n"
    database = open_database(f"sqlite:///{home / 'aicmo.db'}")
    with database.write() as connection:
        connection.execute(sa.update(nurture_sends).values(state="unknown"))
    database.close()
    first, second, _ = json.loads(aicmo("unknown", "list", "--json").output)
    for row, option, said in ((first, "sent", "sent"), (second, "not-sent", "due again")):
        told = ("unknown", "resolve", row["message_id"], option, "--reason", "the log says so")
        assert said in aicmo(*told).output
        assert aicmo(*told).code == 1
    told_of = [each for each in audited() if each.action == "send.resolve"]
    assert [each.subject for each in told_of] == [second["lead_id"], first["lead_id"]]
    assert aicmo("run", "spring", "--from", "nurture_sends", "--json").code == 0

    assert len(json.loads(aicmo("unknown", "list", "--json").output)) <= 1
    assert "the log says so" in aicmo("explain", "spring", first["lead_id"]).output
    resolve = ("unknown", "resolve", first["message_id"], "--reason", "x")
    assert aicmo(*resolve).code == 2
