"""After erasure nothing names the person, wherever it is looked for."""

import json
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.links import click_token
from aicmo_dagster.domain.tokens import address_key
from aicmo_dagster.domain.tracking import Link
from aicmo_dagster.sources.people import Answered
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.engaging.graduate import graduate
from aicmo_dagster.stages.engaging.hand_over import deliver_handoffs
from aicmo_dagster.stages.engaging.judge import judge_engagement
from aicmo_dagster.stages.engaging.listen import handle
from aicmo_dagster.stages.engaging.record import replay, unsubscribe
from aicmo_dagster.stages.harvesting.answers import Outcome, keep_outcomes
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.leads.erase import erase
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import Database, take_turn
from aicmo_dagster.store.erasures import ERASING, erased
from aicmo_dagster.store.events import add_event
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.links import keep_links, newest_links
from aicmo_dagster.store.loading import bulk_insert
from aicmo_dagster.store.overrides import add_override
from aicmo_dagster.store.provider_answers import Answer, put_answers
from aicmo_dagster.store.provider_calls import begin_call
from aicmo_dagster.store.search_pages import FoundPage, put_page
from aicmo_dagster.store.spool import Record, Writer
from aicmo_dagster.store.suppressions import suppress, suppressed
from aicmo_dagster.store.tables import FRAME_TABLES, metadata, person_aliases
from aicmo_dagster_tests.mail.inbound.letters import letter
from aicmo_dagster_tests.samples import NOON, SECRET, campaign_document, raw_leads
from aicmo_dagster_tests.workspaces import apply

ADDRESS = "lead1@company1.example"
KEY = address_key(SECRET, ADDRESS)


def prepare(opened: Workspace, _: pytest.FixtureRequest) -> None:
    """Two leads in two campaigns; the first was written to, replied and was handed over."""
    handing = campaign_document()["nurture"] | {"graduate": {"to": "csv"}}
    for key in ("spring", "autumn"):
        overlap = {"active_elsewhere": "allow"}
        routing = campaign_document()["routing"] | {"overlap": overlap}
        path = apply(opened, key, 2, nurture=handing, routing=routing)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"not an address of {ADDRESS},x,y\n")
        for stage in (harvest, score_leads, qualify_leads, route_leads):
            stage(opened, key, NOON)
        nurture(opened, key, lambda: NOON)
    for number in (1, 2):
        with opened.database.write() as connection:
            detail = {"matched_by": "reference", "text": f"I am lead{number}"}
            lead_id = ids(opened)[number - 1]
            add_event(connection, "spring", lead_id, "reply", f"r{number}", NOON, detail=detail)
            add_override(
                connection, "autumn", ids(opened, "autumn")[number - 1], "pause", "x", "ida", NOON
            )
    spool(
        opened, {"lead_id": ids(opened)[0], "key": "c1"}, {"lead_id": ids(opened)[1], "key": "c2"}
    )
    replay(opened)
    judge_engagement(opened, "spring", NOON + timedelta(hours=2))
    graduate(opened, "spring", NOON + timedelta(hours=2))
    deliver_handoffs(opened, lambda: NOON + timedelta(hours=3))


@pytest.fixture
def workspace(prepared_workspace: Workspace) -> Workspace:
    return prepared_workspace


def ids(workspace: Workspace, key: str = "spring") -> list[str]:
    """The ids of both leads, in the order of their addresses."""
    with workspace.database.read() as connection:
        leads = read_frame(connection, "raw_leads", key, ["lead_id", "email"])
    return list(leads.sort_values("email")["lead_id"])


def spool(workspace: Workspace, *records: Record) -> None:
    usual = {"campaign": "spring", "kind": "click", "step": "intro", "link": "a", "method": "GET"}
    usual |= {"happened_at": NOON.isoformat(), "agent": "Mozilla/5.0 X", "client": "192.0.2.1"}
    writer = Writer(workspace.settings.spool)
    writer.append([usual | record for record in records])
    writer.close()


def rows(database: Database) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    with database.read() as connection:
        return {
            table.name: [repr(tuple(row)) for row in connection.execute(table.select())]
            for table in metadata.sorted_tables
        }


def test_the_person_is_in_no_table_file_or_spool_and_the_others_stay(workspace: Workspace) -> None:
    gone = [ids(workspace)[0], ids(workspace, "autumn")[0]]
    other = ids(workspace)[1]
    before = rows(workspace.database)
    spool(workspace, {"lead_id": gone[0], "key": "c3"}, {"lead_id": other, "key": "c4"})

    done = erase(workspace, f" {ADDRESS.upper()} ", "ida", NOON, who="cli:ida")

    after = rows(workspace.database)
    for name, texts in after.items():
        for text in texts:
            assert not any(word in text for word in (ADDRESS, "lead1", *gone)), name
    for name in ("raw_leads", "nurture_sends", "events", "handoffs", "engagement", "overrides"):
        assert any(gone[0] in text or gone[1] in text for text in before[name]), name
        assert done.removed[name] > 0
        assert any(other in text or "autumn" in text for text in after[name]), name
    files = [path for path in workspace.settings.home.rglob("*") if path.is_file()]
    kept = [path for path in files if path.name != "leads.csv" and "db" not in path.suffix]
    for path in kept:
        assert ADDRESS.encode() not in path.read_bytes(), path
        assert gone[0].encode() not in path.read_bytes(), path
    assert (done.campaigns, done.handed_to) == (2, ("csv",))
    assert done.removed["outbox"] == 2
    assert done.removed["handoff files"] == 1
    assert len(list(workspace.settings.outbox.glob("*.eml"))) == 2


def test_the_address_stays_suppressed_by_its_hash(workspace: Workspace) -> None:
    erase(workspace, ADDRESS, "ida", NOON, who="cli:ida")
    with workspace.database.read() as connection:
        assert suppressed(connection, [KEY]) == {KEY}
        assert erased(connection, [KEY, address_key(SECRET, "x@y.example")]) == {KEY}
    harvest(workspace, "spring", NOON)
    for stage in (score_leads, qualify_leads, route_leads):
        stage(workspace, "spring", NOON)
    nurture(workspace, "spring", lambda: NOON + timedelta(days=1))

    assert len(list(workspace.settings.outbox.glob("*.eml"))) == 2


def test_an_earlier_suppression_keeps_its_instant(workspace: Workspace) -> None:
    with workspace.database.write() as connection:
        suppress(connection, "address", KEY, "complained", "inbound mail", NOON)
    erase(workspace, ADDRESS, "ida", NOON + timedelta(days=1), who="cli:ida")
    with workspace.database.read() as connection:
        assert erased(connection, [KEY]) == {KEY}
    assert "2026-03-04" in json.dumps(rows(workspace.database)["suppressions"]) or any(
        "2026, 3, 4" in text for text in rows(workspace.database)["suppressions"]
    )


def test_erasing_again_or_a_stranger_finds_nothing(workspace: Workspace) -> None:
    erase(workspace, ADDRESS, "ida", NOON, who="cli:ida")

    assert erase(workspace, ADDRESS, "ida", NOON, who="cli:ida").removed == {}
    assert erase(workspace, "nobody@elsewhere.example", "ida", NOON, who="cli:ida").campaigns == 0


def test_what_an_erased_lead_did_meanwhile_does_not_bring_it_back(workspace: Workspace) -> None:
    lead_id = ids(workspace)[0]
    erase(workspace, ADDRESS, "ida", NOON, who="cli:ida")
    spool(workspace, {"lead_id": lead_id, "key": "late"})
    replay(workspace)

    assert not any(lead_id in text for text in rows(workspace.database)["events"])


def test_what_an_erased_lead_writes_or_objects_to_later_is_not_kept(workspace: Workspace) -> None:
    lead_id = ids(workspace)[0]
    erase(workspace, ADDRESS, "ida", NOON, who="cli:ida")
    token = click_token(SECRET, "spring", lead_id, "intro", "a")
    handle(workspace, letter(f"I am Ann1\n> https://a.example/t/c/{token}"), NOON, "box", "1")
    spool(workspace, {"lead_id": lead_id, "kind": "unsubscribe", "scope": "everything"})
    replay(workspace)
    with workspace.database.write() as connection:
        unsubscribe(connection, SECRET, "spring", lead_id, scope="campaign", now=NOON)

    everything = repr(rows(workspace.database))
    assert lead_id not in everything
    assert "I am Ann1" not in everything


def test_a_record_that_is_refused_takes_no_other_with_it(workspace: Workspace) -> None:
    lead_id = ids(workspace)[1]
    spool(
        workspace,
        {"lead_id": lead_id, "key": "odd", "kind": None},
        {"lead_id": lead_id, "key": "good"},
    )
    replay(workspace)

    assert any("'good'" in text for text in rows(workspace.database)["events"])
    assert [*workspace.settings.spool.glob("*.refused")]


def test_a_handed_over_row_vanishes_from_its_file_alone(workspace: Workspace) -> None:
    path = workspace.settings.home / "handoffs" / "spring.csv"
    before = path.read_text(encoding="utf-8").splitlines()
    erase(workspace, ADDRESS, "ida", NOON, who="cli:ida")
    after = path.read_text(encoding="utf-8").splitlines()

    assert [line for line in before if ADDRESS not in line] == after
    assert len(before) - len(after) == 1


def test_whom_a_source_still_names_is_not_stored_again(workspace: Workspace) -> None:
    erase(workspace, ADDRESS, "ida", NOON, who="cli:ida")

    report = harvest(workspace, "spring", NOON + timedelta(days=1))

    assert report.rows_out == 1
    with workspace.database.read() as connection:
        stored = read_frame(connection, "raw_leads", "spring", ["email"])
    assert list(stored["email"]) == ["lead2@company2.example"]


def test_what_providers_know_the_person_by_is_forgotten(workspace: Workspace) -> None:
    lead_id = ids(workspace)[0]
    answer = Answer("spring", lead_id, "apollo", "key-1", {}, "verified", True, 1.0, NOON)
    page = FoundPage(1, 1, [{"first_name": "Ann1"}], NOON)
    with workspace.database.write() as connection:
        put_answers(connection, [answer])
        put_page(connection, "spring", "search", page)
        for key in ("key-1", "key-2"):
            row = {"provider": "apollo", "alias": f"alias of {key}", "person_key": key}
            connection.execute(person_aliases.insert().values(row))

    done = erase(workspace, ADDRESS, "ida", NOON, who="cli:ida")

    assert (done.removed["person_aliases"], done.removed["search_pages"]) == (1, 1)
    assert "key-1" not in repr(rows(workspace.database))


def test_what_a_provider_answers_after_the_erasure_is_not_kept(workspace: Workspace) -> None:
    gone, other = ids(workspace)
    who = {"campaign": "spring", "provider": "apollo", "operation": "match", "key": "a call"}
    cost = {"credits_at_most": 2.0, "max_credits": 9.0}
    with workspace.database.write() as connection:
        call = begin_call(connection, **who, people=["p", "q"], worker="w", now=NOON, **cost)
    erase(workspace, ADDRESS, "ida", NOON, who="cli:ida")

    found = Answered({"email": "ann@private.example"}, "verified", usable=True)
    given = {"p": gone, "q": other}
    outcome = Outcome("spring", "apollo", given, {gone: found, other: found}, 2.0, NOON)
    with workspace.database.write() as connection:
        kept = keep_outcomes(connection, workspace, {call: outcome}, NOON)

    assert [answer.lead_id for answer in kept] == [other]
    assert gone not in repr(rows(workspace.database))
    assert len(rows(workspace.database)["provider_answers"]) == 1


def test_a_lead_that_has_moved_to_another_address_is_found_by_the_old_one(
    workspace: Workspace,
) -> None:
    lead_id = ids(workspace)[0]
    moved = sa.update(FRAME_TABLES["raw_leads"]).where(
        FRAME_TABLES["raw_leads"].c.lead_id == lead_id
    )
    with workspace.database.write() as connection:
        connection.execute(moved.values(email="new1@company1.example"))

    assert erase(workspace, ADDRESS, "ida", NOON, who="cli:ida").campaigns == 2
    assert lead_id not in repr(rows(workspace.database)["raw_leads"])


def test_mail_and_rejects_of_somebody_with_a_longer_address_stay(workspace: Workspace) -> None:
    shorter = ADDRESS.removeprefix("l")

    done = erase(workspace, shorter, "ida", NOON, who="cli:ida")

    assert done.removed == {}


def test_rejected_rows_of_the_person_do_not_come_back(workspace: Workspace) -> None:
    erase(workspace, ADDRESS, "ida", NOON, who="cli:ida")

    harvest(workspace, "spring", NOON + timedelta(days=1))

    after = rows(workspace.database)
    assert len(after["rejects"]) == 1
    for name in ("rejects", "raw_leads", "lead_aliases"):
        assert not any(ADDRESS in text for text in after[name])
    assert len([text for text in after["lead_aliases"] if "'spring'" in text]) == 1


OTHER_ADDRESS, PAGE = "ann@private.example", "https://www.linkedin.com/in/ann1"


def name_again(workspace: Workspace, key: str, *rows: str) -> list[str]:
    """The addresses of the campaign's leads after a harvest of these rows alone."""
    columns = {"email": "Email", "first_name": "First", "linkedin_url": "Page"}
    path = apply(
        workspace, key, 0, sources=[{"type": "csv", "path": "leads.csv", "columns": columns}]
    )
    path.write_text("\n".join(["Email,First,Page", *rows]) + "\n", encoding="utf-8")
    harvest(workspace, key, NOON + timedelta(days=1))
    with workspace.database.read() as connection:
        return sorted(read_frame(connection, "raw_leads", key, ["email"])["email"])


def test_the_person_is_erased_wherever_it_is_known_by_another_address(
    workspace: Workspace,
) -> None:
    name_again(workspace, "spring", f"{ADDRESS},Ann,{PAGE}")
    name_again(workspace, "winter", f"{OTHER_ADDRESS},Ann,{PAGE}")
    name_again(workspace, "summer", f"{OTHER_ADDRESS},Ann,", "else@company1.example,Eve,")

    assert erase(workspace, ADDRESS, "ida", NOON, who="cli:ida").campaigns == 4

    everything = repr(rows(workspace.database))
    assert not any(word in everything for word in (ADDRESS, OTHER_ADDRESS, "in/ann1"))
    assert "else@company1.example" in everything


def test_an_erased_person_does_not_come_back_under_a_second_address(workspace: Workspace) -> None:
    """Neither under one that mail once went to, nor by what else a source knows it by."""
    other = "lead2@company2.example"
    assert name_again(workspace, "spring", f"{ADDRESS},Ann,{PAGE}") == sorted([ADDRESS, other])
    moved = name_again(workspace, "spring", f"{OTHER_ADDRESS},Ann,{PAGE}")
    assert moved == sorted([OTHER_ADDRESS, other])

    erase(workspace, OTHER_ADDRESS, "ida", NOON, who="cli:ida")

    for key in ("spring", "winter"):
        kept = [other] if key == "spring" else []
        for address in (ADDRESS, OTHER_ADDRESS, "ann@third.example"):
            assert name_again(workspace, key, f"{address},Ann,{PAGE}") == kept
        for address in (ADDRESS, OTHER_ADDRESS):
            assert name_again(workspace, key, f"{address},Ann,") == kept
    everything = repr(rows(workspace.database))
    assert not any(word in everything for word in (OTHER_ADDRESS, "in/ann1", "third.example"))


def test_a_link_that_was_made_for_the_person_goes_and_the_others_stay(workspace: Workspace) -> None:
    ann, ben = ids(workspace)
    made = {
        "a": Link("https://acme.example/?to=lead1", ann),
        "b": Link("https://acme.example/?to=lead2", ben),
        "c": Link("https://acme.example"),
    }
    with workspace.database.write() as connection:
        keep_links(connection, "spring", made, NOON)

    erase(workspace, ADDRESS, "ida", NOON, who="cli:ida")

    with workspace.database.read() as connection:
        assert sorted(name for _, name in newest_links(connection, NOON, 10)) == ["b", "c"]


def test_who_erases_waits_for_harvests_that_have_looked_for_the_erased(
    workspace: Workspace,
) -> None:
    raw = FRAME_TABLES["raw_leads"]
    again = raw_leads(1, email=[ADDRESS], lead_id=["again"]).assign(campaign="spring")
    with ThreadPoolExecutor(1) as beside:
        with workspace.database.write() as connection:
            take_turn(connection, ERASING, shared=True)
            erasing = beside.submit(erase, workspace, ADDRESS, "ida", NOON, who="ida")
            assert not wait([erasing], timeout=0.5).done
            bulk_insert(connection, raw, again)
        assert erasing.result().campaigns == 2
    with workspace.database.read() as connection:
        assert not connection.scalars(sa.select(raw.c.lead_id).where(raw.c.email == ADDRESS)).all()


def test_a_harvest_writes_nothing_while_somebody_erases(workspace: Workspace) -> None:
    with ThreadPoolExecutor(1) as beside:
        with workspace.database.write() as connection:
            take_turn(connection, ERASING)
            harvesting = beside.submit(harvest, workspace, "spring", NOON)
            assert not wait([harvesting], timeout=0.5).done
        assert harvesting.result().rows_out == 2
