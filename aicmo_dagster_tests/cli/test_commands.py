"""The commands as a user meets them: what they print, and their exit codes."""

import json
import re
from email import message_from_bytes, policy
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from aicmo_dagster_tests.cli.conftest import Aicmo, Furnish, make_databases
from aicmo_dagster_tests.samples import campaign_document, leads_csv


@pytest.fixture
def document(tmp_path: Path, furnish: Furnish) -> Path:
    """A campaign document with three leads beside it, and a home with empty databases."""
    furnish("empty", make_databases)
    columns = {"email": "Email", "first_name": "First", "company": "Account"}
    sources = [{"type": "csv", "path": "leads.csv", "columns": columns}]
    (tmp_path / "leads.csv").write_text(leads_csv(3), encoding="utf-8")
    return write(tmp_path, campaign_document(sources=sources))


def write(folder: Path, document: object) -> Path:
    path = folder / "campaign.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(document, file)
    return path


def test_the_demo_sends_once_through_no_server_and_says_where_to_look(
    aicmo: Aicmo, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AICMO_SMTP_URL", "smtp://127.0.0.1:1?tls=none")
    first = aicmo("demo")
    assert (first.code, first.errors.count("Traceback")) == (0, 0)
    messages = sorted((home / "outbox").glob("*.eml"))
    assert len(messages) > 10
    assert f"Mail: {len(messages)} messages in {home / 'outbox'}" in first.output
    for path in messages:
        message = message_from_bytes(path.read_bytes(), policy=policy.default)
        assert not message.defects
        text = message.get_body(("plain",))
        assert text is not None
        assert len(text.get_content()) > 100
        assert "{{" not in text.get_content()
    second = aicmo("demo")
    assert second.code == 0
    assert sorted((home / "outbox").glob("*.eml")) == messages
    last = [line.strip() for line in second.output.splitlines()][-3:]
    assert all(aicmo(*line.split()[1:]).code == 0 for line in last[:2])
    assert last[2] == "aicmo dev"


def test_check_tells_each_cron_in_words_and_its_next_five_instants(
    aicmo: Aicmo, document: Path
) -> None:
    schedule = '{report: "0 8 * * 1", timezone: Europe/Oslo}'
    text = document.read_text(encoding="utf-8")
    document.write_text(f"{text}\nschedule: {schedule}\n", encoding="utf-8")

    _, told = aicmo("campaign", "check", document).output.splitlines()

    words, _, instants = told.partition("; next ")
    assert words == "  report: At 08:00 on Monday (0 8 * * 1)"
    assert len(instants.split(", ")) == 5
    assert all(re.match(r"Mon \d{4}-\d\d-\d\d 08:00 CES?T$", at) for at in instants.split(", "))


def test_a_campaign_is_checked_applied_run_and_explained(aicmo: Aicmo, document: Path) -> None:
    assert aicmo("campaign", "check", document).output == f"{document}: in order\n"
    assert aicmo("campaign", "apply", document).output.endswith("spring is at version 1\n")
    assert aicmo("campaign", "apply", document).output.endswith("version 1, unchanged\n")
    outcome = json.loads(aicmo("run", "spring", "--json").output)
    assert outcome["failure"] is None
    assert outcome["leads"]["sent"] == 3
    assert [stage["rows_out"] for stage in outcome["stages"]] == [3] * 5
    told = json.loads(aicmo("explain", "spring", "lead1@company1.example", "--json").output)
    assert [entry["stage"] for entry in told["entries"]] == [
        "raw_leads",
        "qualified_leads",
        "routed_leads",
        "nurture_sends",
    ]
    points = sum(reason["contribution"] for reason in told["score"]["contributions"])
    assert points == pytest.approx(told["score"]["score"], abs=1e-9)
    assert "score now" in aicmo("explain", "spring", told["lead_id"]).output


def test_a_run_can_be_cut_to_some_stages(aicmo: Aicmo, document: Path) -> None:
    aicmo("campaign", "apply", document)
    outcome = json.loads(aicmo("run", "spring", "--to", "scored_leads", "--json").output)
    assert [stage["stage"] for stage in outcome["stages"]] == ["raw_leads", "scored_leads"]
    assert outcome["leads"]["not qualified"] == 3


def test_campaigns_are_listed_shown_and_archived(aicmo: Aicmo, document: Path) -> None:
    aicmo("campaign", "apply", document)
    assert "spring" in aicmo("campaign", "list").output
    assert json.loads(aicmo("campaign", "show", "spring", "--json").output)["version"] == 1
    assert aicmo("campaign", "archive", "spring").code == 0
    refused = aicmo("run", "spring")
    assert (refused.code, "archived" in refused.errors) == (1, True)
    aicmo("campaign", "apply", document)
    assert aicmo("run", "spring", "--to", "raw_leads").code == 0


def test_an_override_outlives_runs_and_shows_in_the_reason(aicmo: Aicmo, document: Path) -> None:
    aicmo("campaign", "apply", document)
    aicmo("run", "spring", "--to", "raw_leads")
    lead = "lead2@company2.example"
    assert aicmo("override", "spring", lead, "reject", "--reason", "a rival").code == 0
    judged = ("--from", "scored_leads", "--to", "qualified_leads")
    for stages in ((), judged):
        outcome = json.loads(aicmo("run", "spring", *stages, "--json").output)
        assert (outcome["leads"]["sent"], outcome["leads"]["not qualified"]) == (2, 1)
    assert "a rival" in aicmo("explain", "spring", lead).output
    assert aicmo("override", "spring", lead, "withdraw", "--reason", "a mistake").code == 0
    assert json.loads(aicmo("run", "spring", "--json").output)["leads"]["sent"] == 3
    wrong = aicmo("override", "spring", lead, "promote", "--reason", "x")
    assert (wrong.code, "one of: qualify" in wrong.errors) == (2, True)


def test_the_suppressed_are_not_routed(aicmo: Aicmo, document: Path) -> None:
    for target in ("LEAD2@company2.example ", "company3.example"):
        assert aicmo("suppress", target).code == 0
        assert "already" in aicmo("suppress", target).output
    aicmo("campaign", "apply", document)
    outcome = json.loads(aicmo("run", "spring", "--json").output)
    assert (outcome["leads"]["sent"], outcome["leads"]["not routed"]) == (1, 2)


@pytest.mark.parametrize("target", ["@company2.example", "Company2.Example"])
def test_a_domain_may_be_given_in_several_ways(aicmo: Aicmo, document: Path, target: str) -> None:
    assert aicmo("suppress", target).output == "domain suppressed\n"
    assert "already" in aicmo("suppress", "company2.example").output


@pytest.mark.parametrize("target", ["not an address", "foo@", "", "a@b@c.example"])
def test_what_is_neither_address_nor_domain_is_not_suppressed(aicmo: Aicmo, target: str) -> None:
    refused = aicmo("suppress", target)
    assert (refused.code, "an address, or a domain" in refused.errors) == (2, True)


def test_a_stage_is_exported_and_a_formula_in_a_lead_is_defused_in_csv(
    aicmo: Aicmo, document: Path, tmp_path: Path
) -> None:
    row = "lead9@company9.example,=HYPERLINK(1),Company 9\n"
    leads = document.with_name("leads.csv")
    leads.write_text(leads_csv(2) + row, encoding="utf-8")
    aicmo("campaign", "apply", document)
    aicmo("run", "spring", "--to", "raw_leads")
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "jsonl": pd.read_json}
    for kind, reader in read.items():
        path = tmp_path / f"raw.{kind}"
        assert aicmo("export", "spring", "raw_leads", "--format", kind, "-o", path).code == 0
        frame = reader(path, **({"lines": True} if kind == "jsonl" else {}))
        assert sorted(frame["email"]) == [f"lead{n}@company{n}.example" for n in (1, 2, 9)]
        url = f"file://{tmp_path}/again"
        assert aicmo("export", "spring", "raw_leads", "--format", kind, "-o", url).code == 0
        assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert "'=HYPERLINK(1)" in aicmo("export", "spring", "raw_leads").output


def test_a_provider_without_a_key_is_told_by_check_and_hinders_no_other_source(
    aicmo: Aicmo, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = {"type": "apollo", "search": {"person_titles": ["Owner"]}, "max_leads": 10}
    enrich = {"waterfall": ["dropcontact"], "max_credits": 5}
    text = YAML(typ="safe", pure=True).load(document.read_text(encoding="utf-8"))
    write(document.parent, text | {"sources": [*text["sources"], search], "enrich": enrich})
    refused = aicmo("campaign", "check", document)
    assert refused.code == 2
    assert "sources[1].type: found 'apollo', without a key" in refused.errors
    assert "AICMO_DROPCONTACT_API_KEY" in refused.errors
    aicmo("campaign", "apply", document)
    assert json.loads(aicmo("run", "spring", "--json").output)["leads"]["sent"] == 3
    for name in ("APOLLO", "DROPCONTACT"):
        monkeypatch.setenv(f"AICMO_{name}_API_KEY", "a-key")
    assert aicmo("campaign", "check", document).code == 0


def test_every_problem_of_every_document_is_told_at_once(aicmo: Aicmo, document: Path) -> None:
    broken = document.with_name("broken.yaml")
    text = document.read_text(encoding="utf-8").replace("name: Spring", "nmae: Spring")
    broken.write_text(text.replace("sequence: everyone", "sequence: nobody"), encoding="utf-8")
    refused = aicmo("campaign", "apply", document, broken)
    assert refused.code == 2
    assert "unknown key 'nmae'" in refused.errors
    assert "routing.sequences[0].sequence" in refused.errors
    assert "no campaigns" in aicmo("campaign", "list").output


def test_a_missing_template_and_an_unknown_token_are_refused(aicmo: Aicmo, tmp_path: Path) -> None:
    steps = [
        {"id": "intro", "subject": "{{ frist_name }}", "body": "gone.md.j2"},
        {"id": "nudge", "body": "{{ company"},
        {"id": "more", "body": "../secret.md.j2"},
    ]
    (tmp_path.parent / "secret.md.j2").write_text("a secret", encoding="utf-8")
    path = write(tmp_path, campaign_document(sequences={"everyone": {"steps": steps}}))
    refused = aicmo("campaign", "check", path)
    assert refused.code == 2
    assert "sequences.everyone.steps[0].body: found no file 'gone.md.j2'" in refused.errors
    assert "first_name" in refused.errors
    assert "sequences.everyone.steps[1].body" in refused.errors
    assert "sequences.everyone.steps[2].body: found no file '../secret.md.j2'" in refused.errors


def test_a_csv_that_cannot_be_read_fails_with_its_name_and_exit_code(
    aicmo: Aicmo, document: Path
) -> None:
    aicmo("campaign", "apply", document)
    assert aicmo("run", "spring", "--to", "raw_leads").code == 0
    path = document.with_name("leads.csv")
    for leads, told in (
        (b"", "empty"),
        (b"PK\x03\x04\x00\x00\x00", "CSV"),
        (b'Email,First,Account\n"a@b.example,Ann,x\n', "line 2"),
        (b"Email,Email,Account\na@b.example,Ann,x\n", "Email"),
        (b"Address,First,Account\na@b.example,Ann,x\n", "Email"),
        (None, "leads.csv"),
    ):
        path.unlink() if leads is None else path.write_bytes(leads)
        failed = aicmo("run", "spring", "--to", "raw_leads")
        assert failed.code == 2
        assert "leads.csv" in failed.errors
        assert told in failed.errors
        assert "Traceback" not in failed.errors
        shown = json.loads(aicmo("campaign", "show", "spring", "--json").output)
        assert shown["leads"]["rejected"] == 0
        assert aicmo("export", "spring", "raw_leads").output.count("@company") == 3


def test_a_column_that_only_a_template_names_is_missed_too(aicmo: Aicmo, document: Path) -> None:
    text = YAML(typ="safe", pure=True).load(document.read_text(encoding="utf-8"))
    text["sources"][0]["columns"] = {"email": "{{ row['Id'] }}@leads.example"}
    write(document.parent, text)
    aicmo("campaign", "apply", document)
    failed = aicmo("run", "spring", "--to", "raw_leads")
    assert (failed.code, "no column 'Id'" in failed.errors) == (2, True)


def test_an_error_of_our_own_shows_no_traceback_unless_asked(
    aicmo: Aicmo, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aicmo_dagster.cli.campaign.list_campaigns", None)
    failed = aicmo("campaign", "list")
    assert (failed.code, "Traceback" in failed.errors) == (1, False)
    assert "TypeError" in failed.errors
    with pytest.raises(TypeError):
        aicmo("--debug", "campaign", "list")


@pytest.mark.parametrize("as_of", ["yesterday", "2026-03-02T09:00:00", "0001-01-01T00:00:00+14:00"])
def test_an_instant_without_an_offset_is_refused(aicmo: Aicmo, document: Path, as_of: str) -> None:
    refused = aicmo("run", "spring", "--as-of", as_of)
    assert (refused.code, "--as-of" in refused.errors) == (2, True)


def test_a_rehearsal_tells_what_would_go_wrong_and_changes_nothing(
    aicmo: Aicmo, document: Path, home: Path
) -> None:
    passed = aicmo("campaign", "check", document, "--rehearse")
    assert passed.output == (
        f"{document}: rehearsed over 3 leads, 0 faults\n{document}: in order\n"
    )
    broken = YAML().load(document)
    broken["sequences"]["everyone"]["steps"][0]["body"] = "{{ title }}, see [this](http:///x)"
    write(document.parent, broken)
    refused = aicmo("campaign", "check", document, "--rehearse")
    assert refused.code == 1
    assert "everyone.intro: " in refused.output
    assert "title" in refused.output
    assert "(3 leads)" in refused.output
    assert "may not start" in refused.errors
    assert aicmo("campaign", "list").output.startswith("there are no campaigns")
    assert not list((home / "outbox").glob("*.eml"))
