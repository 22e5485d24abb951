"""Qualification and routing over the database: what sticks, what comes back, who may be where."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.nurture.engagement import HUMAN, MACHINE
from aicmo_dagster.stages.deciding.qualify import judge, leads_with_scores, qualify_leads
from aicmo_dagster.stages.deciding.rehearse import rehearse_qualification, rehearse_routing
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.leads.explain import explain_lead
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.decisions import history
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.leads import find_lead
from aicmo_dagster.store.overrides import add_override, withdraw
from aicmo_dagster.store.tables import engagement, events, handoffs, metadata
from aicmo_dagster_tests.samples import NOON, campaign
from aicmo_dagster_tests.workspaces import apply

DAY = timedelta(days=1)
TWO_STEPS = {
    "everyone": {
        "steps": [
            {"id": "intro", "subject": "Hello", "body": "Good day."},
            {"id": "nudge", "wait": {"days": 2}, "body": "Did you see it?"},
        ]
    }
}
LATER = {"steps": [{"id": "intro", "subject": "Hello again", "body": "Good day."}]}


def rule(field: str, op: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"rules": [{"name": "the rule", "field": field, "op": op, "value": value, **more}]}


def routing(*routes: dict[str, Any], **overlap: Any) -> dict[str, Any]:
    return {"sequences": list(routes or [{"sequence": "everyone"}]), "overlap": overlap}


def decide(workspace: Workspace, key: str = "spring", now: datetime = NOON) -> None:
    for stage in (harvest, score_leads, qualify_leads, route_leads):
        stage(workspace, key, now)


def send(workspace: Workspace, key: str = "spring", now: datetime = NOON) -> None:
    nurture(workspace, key, lambda: now)


def lead(workspace: Workspace, number: int, key: str = "spring") -> str:
    with workspace.database.read() as connection:
        return find_lead(connection, key, f"lead{number}@company{number}.example")


def override(workspace: Workspace, number: int, action: str, until: datetime | None = None) -> None:
    lead_id = lead(workspace, number)
    with workspace.database.write() as connection:
        add_override(connection, "spring", lead_id, action, "asked", "Ida", NOON, until)


def happened(
    workspace: Workspace, number: int, kind: str, at: datetime, key: str = "spring"
) -> None:
    row = {"campaign": key, "lead_id": lead(workspace, number, key), "happened_at": at}
    with workspace.database.write() as connection:
        values = {**row, "kind": kind, "key": f"{kind} {number}", "detail": "{}"}
        connection.execute(events.insert().values(**values))


def judged(workspace: Workspace, verdict: str) -> None:
    """The one event was a person's, or a machine's."""
    told = {name: events.c[name] for name in ("campaign", "lead_id", "kind", "happened_at")}
    fixed = {"verdict": verdict, "rule": "burst", "rules_version": 1}
    columns = {"event_id": events.c.id, **told}
    with workspace.database.write() as connection:
        (row,) = connection.execute(sa.select(*columns.values())).all()
        values = dict(zip(columns, row, strict=True))
        connection.execute(engagement.insert().values(**values, **fixed))


def latest(workspace: Workspace, stage: str, key: str = "spring") -> dict[int, tuple[str, str]]:
    """Lead number to (outcome, reason) of its latest decision of a stage."""
    with workspace.database.read() as connection:
        raw = read_frame(connection, "raw_leads", key, ["lead_id", "email"])
        told = {}
        for lead_id, email in zip(raw["lead_id"], raw["email"], strict=True):
            number = int(email.partition("@")[0].removeprefix("lead"))
            of_stage = [d for d in history(connection, key, lead_id) if d.stage == stage]
            if of_stage:
                told[number] = (of_stage[-1].outcome, of_stage[-1].reason)
    return told


def sequences(workspace: Workspace, key: str = "spring") -> dict[int, str]:
    """Lead number to its sequence."""
    with workspace.database.read() as connection:
        raw = read_frame(connection, "raw_leads", key, ["lead_id", "email"])
        routed = read_frame(connection, "routed_leads", key, ["lead_id", "sequence"])
    both = routed.merge(raw, on="lead_id")
    numbers = both["email"].str.extract(r"lead(?P<number>\d+)@")["number"].astype(int)
    return dict(sorted(zip(numbers, both["sequence"], strict=True)))


def test_a_lead_rejected_for_a_fact_comes_back_when_the_fact_changes(workspace: Workspace) -> None:
    path = apply(workspace, "spring", 2, qualification=rule("company", "!=", "Company 2"))
    decide(workspace)
    assert latest(workspace, "qualified_leads")[2][0] == "not_qualified"
    path.write_text(path.read_text().replace("Company 2", "Company Two"))
    decide(workspace)
    assert latest(workspace, "qualified_leads")[2] == ("qualified", "every rule holds")
    assert set(sequences(workspace)) == {1, 2}


@pytest.mark.parametrize("kind", ["unsubscribe", "complaint", "bounce"])
def test_whoever_opted_out_or_bounced_never_qualifies_again(
    workspace: Workspace, kind: str
) -> None:
    apply(workspace, "spring", 2)
    decide(workspace)
    happened(workspace, 1, kind, NOON)
    override(workspace, 1, "qualify")
    decide(workspace, now=NOON + 400 * DAY)
    outcome, reason = latest(workspace, "qualified_leads")[1]
    assert outcome == "not_qualified"
    assert reason.endswith("on 2026-03-04, so it never qualifies again")
    assert latest(workspace, "qualified_leads")[2][0] == "qualified"


def test_whoever_was_handed_to_sales_never_qualifies_again(workspace: Workspace) -> None:
    apply(workspace, "spring", 1)
    decide(workspace)
    row = {"campaign": "spring", "lead_id": lead(workspace, 1), "destination": "csv"}
    with workspace.database.write() as connection:
        insert = handoffs.insert().values(**row, state="done", reason="", created_at=NOON)
        connection.execute(insert)
    decide(workspace)
    assert latest(workspace, "qualified_leads")[1][1].startswith("handed to sales on 2026-03-04")


def test_engagement_is_a_fact_like_any_other(workspace: Workspace) -> None:
    apply(workspace, "spring", 2)
    decide(workspace)
    send(workspace)
    happened(workspace, 1, "click", NOON)
    judged(workspace, HUMAN)
    qualification = {
        "rules": [
            {"field": "clicks", "op": ">=", "value": 1},
            {"field": "sends", "op": "==", "value": 1},
            {"field": "replies", "op": "==", "value": 0},
        ]
    }
    apply(workspace, "spring", 2, qualification=qualification)
    decide(workspace)
    told = latest(workspace, "qualified_leads")
    assert told[1] == ("qualified", "every rule holds")
    assert "clicks is 0; required: clicks is at least 1" in told[2][1]


def test_what_a_machine_clicked_is_no_fact_of_the_lead(workspace: Workspace) -> None:
    apply(workspace, "spring", 1)
    decide(workspace)
    happened(workspace, 1, "click", NOON)
    judged(workspace, MACHINE)
    apply(workspace, "spring", 1, qualification=rule("clicks", ">=", 1))
    decide(workspace)
    assert "clicks is 0" in latest(workspace, "qualified_leads")[1][1]


def test_an_override_ends_when_it_says_and_when_it_is_withdrawn(workspace: Workspace) -> None:
    apply(workspace, "spring", 2, qualification=rule("company", "==", "Nobody"))
    decide(workspace)
    override(workspace, 1, "qualify", NOON + DAY)
    override(workspace, 2, "qualify")
    decide(workspace, now=NOON + DAY / 2)
    assert set(sequences(workspace)) == {1, 2}
    outcome, reason = latest(workspace, "qualified_leads")[1]
    assert outcome == "qualified"
    assert reason.startswith("override to qualify by Ida on 2026-03-04, until 2026-03-05 12:00 UTC")
    assert "without it: rule 'the rule' failed" in reason
    decide(workspace, now=NOON + DAY)
    told = latest(workspace, "qualified_leads")
    assert (told[1][0], told[2][0]) == ("not_qualified", "qualified")
    lead_id = lead(workspace, 2)
    with workspace.database.write() as connection:
        withdraw(connection, "spring", lead_id, "verdict", NOON + 2 * DAY)
    decide(workspace, now=NOON + 2 * DAY)
    assert latest(workspace, "qualified_leads")[2][0] == "not_qualified"


def test_an_override_moves_a_lead_until_its_first_message_is_out(workspace: Workspace) -> None:
    both = {"everyone": LATER, "others": LATER}
    routes = routing({"sequence": "everyone"}, {"sequence": "others", "capacity": 1})
    apply(workspace, "spring", 4, routing=routes, sequences=both)
    decide(workspace)
    held = sequences(workspace)
    mover, *_ = [number for number, name in held.items() if name == "everyone"]
    (other,) = [number for number, name in held.items() if name == "others"]
    override(workspace, mover, "route:others")
    decide(workspace)
    assert sequences(workspace) == held
    assert latest(workspace, "routed_leads")[mover][1].endswith("it waits: 'others' is full")
    override(workspace, other, "route:everyone")
    decide(workspace)
    decide(workspace)
    assert sequences(workspace)[mover] == "others"
    send(workspace)
    override(workspace, other, "route:others")
    decide(workspace)
    assert sequences(workspace)[other] == "everyone"
    assert len(list(workspace.settings.outbox.glob("*.eml"))) == 4


def test_a_moved_lead_gets_the_mail_of_its_new_sequence_alone(workspace: Workspace) -> None:
    """A message is planned already, at an hour when none may go out."""
    night = campaign().nurture.model_dump(mode="json") | {"window": {"hours": "00:00-01:00"}}
    both = {"everyone": LATER, "others": TWO_STEPS["everyone"]}
    routes = routing({"sequence": "everyone"}, {"sequence": "others"})
    apply(workspace, "spring", 1, routing=routes, sequences=both, nurture=night)
    decide(workspace)
    send(workspace)
    override(workspace, 1, "route:others")
    decide(workspace)
    send(workspace, now=NOON.replace(hour=0) + DAY)
    with workspace.database.read() as connection:
        sent = read_frame(connection, "nurture_sends", "spring", ["sequence", "step", "state"])
    assert sent.to_dict("split")["data"][0] == ["others", "intro", "accepted"]
    assert "everyone" not in set(sent["sequence"])


def test_a_pause_holds_the_mail_until_it_is_over(workspace: Workspace) -> None:
    apply(workspace, "spring", 2)
    decide(workspace)
    override(workspace, 1, "pause", NOON + DAY)
    override(workspace, 2, "pause")
    send(workspace, now=NOON + DAY / 2)
    assert list(workspace.settings.outbox.glob("*.eml")) == []
    send(workspace, now=NOON + DAY)
    assert len(list(workspace.settings.outbox.glob("*.eml"))) == 1
    override(workspace, 2, "resume")
    send(workspace, now=NOON + DAY)
    assert len(list(workspace.settings.outbox.glob("*.eml"))) == 2


def test_room_that_ended_sequences_make_is_used_in_the_next_run(workspace: Workspace) -> None:
    limited = routing({"sequence": "everyone", "capacity": 2})
    apply(workspace, "spring", 5, routing=limited, sequences=TWO_STEPS)
    decide(workspace)
    first = set(sequences(workspace))
    send(workspace)
    decide(workspace)
    assert set(sequences(workspace)) == first  # the second step is still to come
    send(workspace, now=NOON + 2 * DAY)
    decide(workspace, now=NOON + 2 * DAY)
    assert len(sequences(workspace)) == 4
    assert first < set(sequences(workspace))


def test_a_person_is_left_to_the_campaign_that_has_it_and_tried_again_after(
    workspace: Workspace,
) -> None:
    for key, leads in (("spring", 2), ("autumn", 3)):
        apply(workspace, key, leads, routing=routing(cooldown_days=7))
        decide(workspace, key)
    assert set(sequences(workspace, "autumn")) == {3}
    told = latest(workspace, "routed_leads", "autumn")[1][1]
    assert told == "active in campaign 'spring'; tried again when that ends"
    send(workspace)
    decide(workspace, "autumn", NOON + DAY)
    told = latest(workspace, "routed_leads", "autumn")[1][1]
    assert told == "in cool-down until 2026-03-11"
    decide(workspace, "autumn", NOON + 8 * DAY)
    assert set(sequences(workspace, "autumn")) == {1, 2, 3}


def test_campaigns_that_allow_it_share_a_person(workspace: Workspace) -> None:
    for key in ("spring", "autumn"):
        apply(workspace, key, 2, routing=routing(active_elsewhere="allow"))
        decide(workspace, key)
    assert len(sequences(workspace)) == len(sequences(workspace, "autumn")) == 2


def colleagues(workspace: Workspace, key: str, *numbers: int, **overlap: Any) -> None:
    """A campaign for these people of one company."""
    path = apply(workspace, key, 0, routing=routing(**overlap))
    rows = [f"lead{n}@company{n}.example,Ann,Acme,acme.example" for n in numbers]
    path.write_text("\n".join(["Email,First,Account,Site", *rows]) + "\n")
    columns = {"email": "Email", "first_name": "First", "company": "Account", "domain": "Site"}
    sources = [{"type": "csv", "path": "leads.csv", "columns": columns}]
    apply(workspace, key, None, sources=sources, routing=routing(**overlap))


def test_a_company_is_not_contacted_by_more_than_it_may_over_all_campaigns(
    workspace: Workspace,
) -> None:
    colleagues(workspace, "spring", 1, 2, per_company=2, cooldown_days=7)
    colleagues(workspace, "autumn", 3, 4, per_company=3, cooldown_days=7)
    decide(workspace)
    decide(workspace, "autumn")
    assert (len(sequences(workspace)), len(sequences(workspace, "autumn"))) == (2, 1)
    send(workspace)
    decide(workspace, "autumn", NOON + DAY)
    assert len(sequences(workspace, "autumn")) == 1  # ended, and in cool-down
    decide(workspace, "autumn", NOON + 8 * DAY)
    assert len(sequences(workspace, "autumn")) == 2


def test_colleagues_of_someone_who_replied_are_left_alone_for_a_while(
    workspace: Workspace,
) -> None:
    colleagues(workspace, "spring", 1)
    colleagues(workspace, "autumn", 2, colleague_replied_days=10)
    decide(workspace)
    happened(workspace, 1, "reply", NOON)
    decide(workspace, "autumn", NOON + DAY)
    told = latest(workspace, "routed_leads", "autumn")[2][1]
    assert told == "somebody of the company replied; it is left alone until 2026-03-14"
    decide(workspace, "autumn", NOON + 10 * DAY)
    assert set(sequences(workspace, "autumn")) == {2}


TREE = {
    "if": {"field": "company", "op": "contains", "value": "3"},
    "then": "reject",
    "else": {"if": {"field": "score", "op": ">=", "value": 0}, "then": "qualify", "else": "reject"},
}


def test_every_decision_can_be_made_again_from_what_is_stored(workspace: Workspace) -> None:
    each = rule("company", "!=", "Company 2") | {"tree": TREE}
    apply(workspace, "spring", 6, qualification=each)
    decide(workspace)
    override(workspace, 5, "reject")
    happened(workspace, 6, "bounce", NOON)
    decide(workspace, now=NOON + DAY)
    version = workspace.campaign("spring").version
    with workspace.database.read() as connection:
        leads = leads_with_scores(connection, "spring")
        again = judge(connection, leads, workspace.campaign("spring", version).campaign, NOON + DAY)
        stored = {
            lead_id: history(connection, "spring", lead_id)[-1] for lead_id in leads["lead_id"]
        }
        for row in again.decisions.to_dict("records"):
            told = [d for d in history(connection, "spring", row["lead_id"]) if "qual" in d.stage]
            assert (told[-1].outcome, told[-1].reason) == (row["outcome"], row["reason"])
            assert told[-1].decided_by == row["decided_by"]
            assert told[-1].inputs["rules_passed"] == row["rules_passed"]
    assert {d.decided_by for d in stored.values()} >= {"rules", "tree", "override", "stop"}


def test_an_account_names_rules_values_and_versions(workspace: Workspace) -> None:
    apply(workspace, "spring", 3, qualification=rule("company", "!=", "Company 2") | {"tree": TREE})
    decide(workspace)
    details = {}
    for number in (1, 2):
        account = explain_lead(workspace, "spring", f"lead{number}@company{number}.example", NOON)
        (judged,) = [e for e in account.entries if e.stage == "qualified_leads"]
        details[number] = judged.details
        json.dumps(account.as_document())
    passed, held, by = details[1]
    assert passed == "rules passed: 'the rule'"
    assert held.startswith("the lead now: company is Company 1; score is ")
    assert by.startswith("by tree, campaign version 1, model scorecard")
    assert details[2][0].startswith("the lead now: company is Company 2; score is ")


def document(workspace: Workspace, **changes: Any) -> Campaign:
    stored = workspace.campaign("spring").campaign.model_dump(mode="json", by_alias=True)
    return Campaign.model_validate_json(json.dumps(stored | changes))


def everything(workspace: Workspace) -> dict[str, list[tuple[Any, ...]]]:
    with workspace.database.read() as connection:
        return {
            table.name: sorted(map(str, connection.execute(table.select())))
            for table in metadata.sorted_tables
        }


def test_a_rehearsal_tells_what_a_run_then_does_and_writes_nothing(workspace: Workspace) -> None:
    apply(workspace, "spring", 6)
    decide(workspace)
    changed = rule("company", "in", ["Company 1", "Company 2"])
    before = everything(workspace)
    rehearsed = rehearse_qualification(
        workspace, "spring", document(workspace, qualification=changed), NOON
    )
    assert everything(workspace) == before
    assert (rehearsed.before, rehearsed.after) == (6, 2)
    assert set(rehearsed.changes["change"]) == {"leaves"}
    apply(workspace, "spring", 6, qualification=changed)
    qualify_leads(workspace, "spring", NOON)
    with workspace.database.read() as connection:
        kept = read_frame(connection, "qualified_leads", "spring", ["lead_id"])["lead_id"]
    assert len(kept) == 2
    assert not set(kept) & set(rehearsed.changes["lead_id"])


def test_a_rehearsal_of_routing_tells_who_would_go_elsewhere(workspace: Workspace) -> None:
    both = {"everyone": LATER, "others": LATER}
    routes = [{"sequence": "everyone"}, {"sequence": "others", "capacity": 2}]
    apply(workspace, "spring", 6, routing=routing(*routes), sequences=both)
    for stage in (harvest, score_leads, qualify_leads):
        stage(workspace, "spring", NOON)
    before = everything(workspace)
    entering = rehearse_routing(workspace, "spring", None, NOON, afresh=False)
    smaller = document(workspace, routing=routing(routes[0] | {"capacity": 1}, routes[1]))
    changed = rehearse_routing(workspace, "spring", smaller, NOON, afresh=False)
    assert everything(workspace) == before
    assert len(entering.changes) == 6
    assert entering.distribution["leads"].tolist() == [4, 2]
    assert changed.distribution["leads"].tolist() == [1, 2]
    assert changed.waiting == {"every sequence it may go to is full": 3}
    route_leads(workspace, "spring", NOON)
    told = dict(zip(entering.changes["lead_id"], entering.changes["after"], strict=True))
    with workspace.database.read() as connection:
        routed = read_frame(connection, "routed_leads", "spring")
    assert dict(zip(routed["lead_id"], routed["sequence"], strict=True)) == told
    settled = rehearse_routing(workspace, "spring", smaller, NOON, afresh=False)
    assert settled.changes.empty  # whoever is in a sequence stays there
    afresh = rehearse_routing(workspace, "spring", smaller, NOON, afresh=True)
    assert afresh.distribution["leads"].tolist() == [1, 2]


def test_routing_again_changes_no_row(workspace: Workspace) -> None:
    apply(workspace, "spring", 6, routing=routing({"sequence": "everyone", "capacity": 4}))
    decide(workspace)
    before = everything(workspace)
    for _ in range(2):
        qualify_leads(workspace, "spring", NOON + DAY)
        route_leads(workspace, "spring", NOON + DAY)
    assert everything(workspace) == before
