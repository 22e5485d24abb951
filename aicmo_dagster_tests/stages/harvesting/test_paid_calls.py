"""Paid calls, several in flight: within the budget, whatever order they end in.

Numbers are those of providers.md, section 6.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.sections.sources import Enrich
from aicmo_dagster.errors import Transient
from aicmo_dagster.sources.passages import Passage
from aicmo_dagster.sources.people import Asked
from aicmo_dagster.stages.harvesting.enrich import Enrichment
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.harvesting.paid_calls import PaidCalls
from aicmo_dagster.stages.harvesting.payer import Payer
from aicmo_dagster.stages.harvesting.providers import Time, open_providers
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.tables import rate_windows
from aicmo_dagster_tests.providers.clock import VirtualClock
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.providers.wire import Fault
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.harvesting.harvests import (
    AT_ONCE,
    BOTH,
    Harvest,
    addresses,
    call_states,
    calls,
    campaign,
    leads,
    open_harvest_workspace,
    search,
)
from aicmo_dagster_tests.workspaces import apply

MATCH = "bulk_match"
FULL = Path("/dev/full")
LIMITS = {"minute": 1000, "hour": 2000, "day": 3000}
many = pytest.mark.parametrize("providers", [{"people": 300}], indirect=True)


def many_leads(workspace: Workspace, key: str = "spring", **enrich: object) -> None:
    campaign(workspace, key, sources=[search(300)], enrich=BOTH | {"max_credits": 1000} | enrich)


@many
def test_several_calls_are_in_flight_and_no_more_than_configured(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    providers.delay = 0.05
    many_leads(harvest_workspace)
    run()
    assert 1 < providers.most_at_once <= 4


@many
def test_no_more_than_twice_as_many_as_may_be_in_flight_have_ever_left_without_an_outcome(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    """So a kill, whenever it comes, leaves no more of them in doubt; the others are told apart."""
    begun, left = [], []

    def witness(moment: str) -> None:
        if moment == "arrived":
            noted = noted_as_left(harvest_workspace)
            states = dict(calls(harvest_workspace, "id", "state"))
            open_calls = {call for call, state in states.items() if state == "begun"}
            begun.append(len(open_calls))
            left.append(len(open_calls & noted))

    providers.witness = witness
    many_leads(harvest_workspace, waterfall=["apollo"])
    run()
    assert 1 < max(left) <= 8
    assert max(left) < max(begun) <= 12
    assert not list(harvest_workspace.settings.departures.iterdir())


def noted_as_left(workspace: Workspace) -> set[int]:
    lines = [
        line.split()
        for path in workspace.settings.departures.glob("*")
        for line in path.read_text(encoding="utf-8").splitlines()[1:]
    ]
    return {int(call) for word, call in lines if word == "left"}


@pytest.mark.skipif(not FULL.exists(), reason="there is no full disk here")
def test_nothing_leaves_nor_waits_once_the_disk_takes_no_more_notes(
    harvest_workspace: Workspace, time: Time
) -> None:
    people = {str(number): Asked(key=str(number)) for number in range(30)}
    sent = []

    def request(asked: list[Asked], passage: Passage) -> None:
        if sent:
            with FULL.open("wb") as full:
                os.dup2(full.fileno(), payer.departures._file)
        passage.leave()
        sent.append(asked)
        passage.land(setback=False)

    with open_providers(harvest_workspace, time) as providers:
        payer = Payer(providers, "spring", Enrich(waterfall=["apollo"], max_credits=30), NOON)
        match = (payer, "apollo", "match", "apollo/match")
        calls = PaidCalls(*match, request, lambda connection, landed: [])
        with pytest.raises(Transient, match="No space left"):
            calls.ask(people, 1)
    assert len(sent) == 1


@many
@pytest.mark.parametrize("most", [1, 13, 57, 250])
def test_the_budget_is_kept_to_the_credit_and_spent_to_the_last(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, most: int
) -> None:
    many_leads(harvest_workspace, max_credits=most, waterfall=["apollo"])
    report = run()
    assert providers.ledger.spent() == most
    assert report.figures["apollo_credits"] == most
    assert report.figures["not_tried: no_credits"] > 0


@many
def test_the_order_in_which_calls_end_changes_nothing(
    harvest_workspace: Workspace,
    providers: StandIn,
    run: Harvest,
    time: Time,
    tmp_path: Path,
    new_sqlite: Callable[[], str],
) -> None:
    """Not even where the budget ends on the way."""
    (tmp_path / "other").mkdir()
    other = open_harvest_workspace(tmp_path / "other", new_sqlite(), providers.url)
    providers.faults.set(Fault(MATCH, nth=(2, 5, 9, 14), delay=0.2))
    for workspace in (harvest_workspace, other):
        many_leads(workspace, max_credits=155)
    reports = [run(), harvest(other, "spring", NOON, time)]
    assert reports[0].figures == reports[1].figures
    assert reports[0].figures["not_tried: no_credits"] > 0
    pd.testing.assert_frame_equal(leads(harvest_workspace), leads(other))
    other.database.close()


@many
def test_18_an_empty_account_stops_the_provider_and_keeps_what_was_answered(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    providers.apollo.accounts.left["k-ok"] = 42
    many_leads(harvest_workspace, waterfall=["apollo"])
    report = run()
    assert 0 < providers.ledger.spent("apollo") <= 42
    assert report.figures["not_tried: no_credits"] > 0
    assert any("credits are used up" in note for note in report.notes)
    assert sum(1 for email in addresses(harvest_workspace).values() if email) > 0


@many
def test_18_a_batch_that_is_refused_as_a_whole_is_split_to_the_balance(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    providers.dropcontact.accounts.left["k-ok"] = 20
    many_leads(harvest_workspace)
    report = run()
    charged = [entry.charged for entry in providers.ledger.entries if entry.charged]
    assert 20 in charged
    assert any("dropcontact" in note for note in report.notes)
    assert report.figures["not_tried: no_credits"] > 0


@pytest.mark.parametrize("providers", [{"people": 300, "limits": LIMITS}], indirect=True)
def test_9_a_limit_in_the_midst_is_waited_for_and_nobody_is_paid_for_twice(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, clock: VirtualClock
) -> None:
    headers = {"retry-after": "30"}
    body = {"message": "1000 times per minute"}
    providers.faults.set(Fault(MATCH, nth=(4, 5), status=429, headers=headers, body=body))
    many_leads(harvest_workspace, waterfall=["apollo"])
    run()
    assert sum(clock.slept) >= 30
    assert not providers.ledger.paid_twice("apollo") - {providers.people[7].id}
    assert len(providers.ledger.calls(MATCH)) == 32
    # Those that stood ready and were kept back count no more.
    with harvest_workspace.database.read() as connection:
        of_a_day = rate_windows.c.provider == "apollo/match", rate_windows.c.window == "day"
        taken = connection.scalar(sa.select(rate_windows.c.taken).where(*of_a_day))
    assert sum(count for _, count in json.loads(taken)) == 32


@many
def test_17_a_gateway_that_answers_a_paid_call_leaves_it_in_doubt_and_others_go_on(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    providers.faults.set(Fault(MATCH, nth=(3,), status=502, body_kind="html"))
    many_leads(harvest_workspace, waterfall=["apollo"])
    report = run()
    states = [state for (state,) in calls(harvest_workspace, "state")]
    assert states.count("unknown") == 1
    assert states.count("done") == 29
    assert any("1 calls about 10 leads" in note for note in report.notes)


@many
def test_20_a_provider_that_breaks_every_connection_is_not_asked_until_all_is_in_doubt(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    """What stands ready is kept back, and after a few in a row a later run asks the others."""
    providers.faults.set(Fault(MATCH, reset=True))
    many_leads(harvest_workspace, waterfall=["apollo"])
    report = run()
    assert 5 < call_states(harvest_workspace).count("unknown") <= 5 + AT_ONCE
    assert len([each for each in providers.requests if MATCH in each.path]) <= 5 + AT_ONCE
    assert any(note.startswith("apollo: ") for note in report.notes)
    providers.faults.set()
    run()
    assert call_states(harvest_workspace).count("done") >= 30 - 5 - AT_ONCE


@many
def test_21_an_error_in_collecting_leaves_the_batch_pending_and_paid_for_once(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    providers.faults.set(Fault("/enrich/all/", status=503))
    many_leads(harvest_workspace)
    report = run()
    assert any("dropcontact" in note for note in report.notes)
    assert call_states(harvest_workspace).count("pending") == 1
    providers.faults.set()
    run()
    assert call_states(harvest_workspace).count("pending") == 0
    assert not providers.ledger.paid_twice("dropcontact")


@many
def test_21_a_batch_that_failed_is_in_doubt_and_not_submitted_again(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    failed = {"error": True, "success": False, "reason": "it failed"}
    providers.faults.set(Fault("/enrich/all/", status=200, body=failed))
    many_leads(harvest_workspace)
    run()
    providers.faults.set()
    run()
    assert call_states(harvest_workspace).count("unknown") == 1
    assert not providers.ledger.paid_twice("dropcontact")


@many
def test_23_whoever_is_rejected_at_submission_is_known_at_once_and_not_asked_again(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    providers.dropcontact.modes.rejects = (1, 2)
    many_leads(harvest_workspace)
    report = run()
    assert report.figures["dropcontact: rejected"] == 2
    submitted = providers.ledger.spent("dropcontact")
    run()
    assert providers.ledger.spent("dropcontact") == submitted


@many
def test_24_whoever_a_batch_has_no_row_about_has_no_address_and_is_not_asked_again(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    providers.dropcontact.modes.miss = "drop"
    many_leads(harvest_workspace)
    report = run()
    assert report.figures["dropcontact: not_found"] > 0
    charged = len([e for e in providers.ledger.entries if e.charged])
    run()
    assert len([e for e in providers.ledger.entries if e.charged]) == charged


@many
def test_several_batches_are_submitted_before_the_first_is_waited_for(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    providers.dropcontact.modes.ready_after = 3
    names = {"first_name": "First", "last_name": "Last", "company": "Firm", "domain": "Site"}
    csv = {"type": "csv", "path": "leads.csv", "columns": names}
    only = BOTH | {"waterfall": ["dropcontact"]}
    path = apply(harvest_workspace, "spring", 0, sources=[csv], enrich=only)
    rows = [f"{p.first_name},{p.last_name},{p.company},{p.domain}" for p in providers.people]
    path.write_text("\n".join(["First,Last,Firm,Site", *rows]), encoding="utf-8")
    run()
    asked = [e.method for e in providers.ledger.entries if e.path.startswith("/enrich/all")]
    assert asked == ["POST"] * 2 + ["GET"] * 6


@many
def test_rows_for_intake_stand_in_one_order_whenever_they_came(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, time: Time
) -> None:
    """By provider in the order of the waterfall, and by lead."""
    campaign(harvest_workspace, sources=[search(300)], enrich=None)
    run()
    providers.faults.set(Fault(MATCH, nth=(2, 5, 9), delay=0.2))
    with open_providers(harvest_workspace, time) as clients:
        enrichment = Enrichment(clients, "spring", Enrich(**BOTH), NOON)  # type: ignore[arg-type]
        (rows,) = enrichment.run(1000)
    order = list(zip(rows["file"], rows["lead_id"], strict=True))
    assert order == sorted(order)
    assert {file for file, _ in order} == {"apollo", "dropcontact"}


@many
@pytest.mark.parametrize("other", ["spring", "autumn"])
def test_two_harvests_of_the_same_people_at_once_pay_for_nobody_twice(
    harvest_workspace: Workspace, providers: StandIn, time: Time, other: str
) -> None:
    """Of one campaign or of two, and also for whom the other paid after this one had begun."""
    for key in {"spring", other}:
        many_leads(harvest_workspace, key)
    providers.delay = 0.02
    wanted = (("spring", NOON), (other, NOON + timedelta(seconds=1)))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(harvest, harvest_workspace, *one, time) for one in wanted]
        assert all(run.result().rows_out == 300 for run in runs)
    assert not providers.ledger.paid_twice("apollo") - {providers.people[7].id}
    assert not providers.ledger.paid_twice("dropcontact")
