"""Calls of unknown outcome: released where the balance proves that they cost nothing, else held.

Numbers are those of providers.md, section 6.
"""

from datetime import UTC, datetime

import pytest

from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.providers.clock import VirtualClock
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.providers.wire import Fault
from aicmo_dagster_tests.stages.harvesting.harvests import (
    BOTH,
    Harvest,
    addresses,
    call_states,
    campaign,
    search,
)

MATCH, SUBMIT = "bulk_match", "/enrich/all"
MINUTE, HOUR = 60.0, 3600.0
APOLLO = BOTH | {"waterfall": ["apollo"]}


def lose(providers: StandIn, path: str, *, after_charge: bool) -> None:
    """The second call is lost, before or after it was charged for."""
    lost = {"drop_after_charge": True} if after_charge else {"reset": True}
    providers.faults.set(Fault(path, method="POST", nth=(2,), **lost))


def paid_twice(providers: StandIn, name: str = "apollo") -> set[str]:
    """But for whom the market knows under two ids, which nobody can tell."""
    return providers.ledger.paid_twice(name) - {providers.people[7].id}


def test_20_a_call_that_was_not_charged_is_made_again_by_a_later_harvest(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, clock: VirtualClock
) -> None:
    campaign(harvest_workspace, enrich=APOLLO)
    lose(providers, MATCH, after_charge=False)
    report = run()
    assert report.figures["apollo: outcome unknown"] == 10
    before = sum(1 for email in addresses(harvest_workspace).values() if email)
    clock.sleep(HOUR)
    report = run()
    assert report.figures["apollo: calls in doubt that cost nothing"] == 1
    assert "unknown" not in call_states(harvest_workspace)
    assert sum(1 for email in addresses(harvest_workspace).values() if email) > before
    assert not paid_twice(providers)
    assert report.figures["apollo_credits"] == providers.ledger.spent("apollo")


def test_20_a_call_that_was_charged_is_never_made_again(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, clock: VirtualClock
) -> None:
    campaign(harvest_workspace, enrich=APOLLO)
    lose(providers, MATCH, after_charge=True)
    run()
    for _ in "abc":
        clock.sleep(HOUR)
        report = run()
    assert call_states(harvest_workspace).count("unknown") == 1
    assert any("1 calls about 10 leads" in note for note in report.notes)
    assert not paid_twice(providers)


def test_20_of_two_calls_in_doubt_neither_is_made_again_if_one_may_have_been_charged(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, clock: VirtualClock
) -> None:
    campaign(harvest_workspace, enrich=APOLLO)
    providers.faults.set(
        Fault(MATCH, nth=(2,), drop_after_charge=True), Fault(MATCH, nth=(3,), reset=True)
    )
    run()
    clock.sleep(HOUR)
    run()
    assert call_states(harvest_workspace).count("unknown") == 2
    assert not paid_twice(providers)


def test_20_a_balance_that_may_be_late_proves_nothing(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, clock: VirtualClock
) -> None:
    campaign(harvest_workspace, enrich=APOLLO)
    lose(providers, MATCH, after_charge=False)
    run()
    clock.sleep(5 * MINUTE)
    run()
    assert call_states(harvest_workspace).count("unknown") == 1


@pytest.mark.parametrize("others", [3, -10])
def test_20_a_balance_that_others_moved_proves_nothing(
    harvest_workspace: Workspace,
    providers: StandIn,
    run: Harvest,
    clock: VirtualClock,
    others: float,
) -> None:
    """Somebody else spent credits of the account, or bought some."""
    campaign(harvest_workspace, enrich=APOLLO)
    lose(providers, MATCH, after_charge=False)
    run()
    providers.apollo.accounts.take("k-ok", others)
    clock.sleep(HOUR)
    run()
    assert call_states(harvest_workspace).count("unknown") == 1


def test_20_a_key_that_may_not_see_the_balance_harvests_all_the_same(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, clock: VirtualClock
) -> None:
    providers.faults.set(Fault("usage_stats", status=403, body={"error_code": "API_INACCESSIBLE"}))
    campaign(harvest_workspace)
    report = run()
    assert report.figures["apollo: verified"] > 0
    assert not report.notes


@pytest.mark.parametrize("after_charge", [False, True])
def test_20_a_batch_whose_submission_was_lost_is_judged_by_the_balance_too(
    harvest_workspace: Workspace,
    providers: StandIn,
    run: Harvest,
    clock: VirtualClock,
    after_charge: bool,
) -> None:
    campaign(harvest_workspace)
    lost = {"drop_after_charge": True} if after_charge else {"reset": True}
    providers.faults.set(Fault(SUBMIT, method="POST", nth=(1,), **lost))
    report = run()
    assert report.figures["dropcontact: outcome unknown"] > 0
    clock.sleep(HOUR)
    run()
    assert call_states(harvest_workspace).count("unknown") == int(after_charge)
    assert not paid_twice(providers, "dropcontact")
    assert len([e for e in providers.ledger.entries if e.charged and e.path == SUBMIT]) == 1


def test_20_what_is_in_doubt_counts_at_its_ceiling(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    campaign(harvest_workspace, sources=[search(50)], enrich=APOLLO | {"max_credits": 30})
    lose(providers, MATCH, after_charge=True)
    report = run()
    assert report.figures["apollo_credits"] == 30
    assert providers.ledger.spent() <= 30


def test_after_its_freshness_nobody_is_held_back_by_a_call_in_doubt(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, clock: VirtualClock
) -> None:
    """An answer would be asked for again by then, too."""
    campaign(harvest_workspace, enrich=APOLLO | {"fresh_days": 30})
    lose(providers, MATCH, after_charge=True)
    run(at=datetime.fromtimestamp(clock.now(), UTC))
    clock.sleep(31 * 24 * HOUR)
    report = run(at=datetime.fromtimestamp(clock.now(), UTC))
    assert "apollo: asked already, no answer yet" not in report.figures
