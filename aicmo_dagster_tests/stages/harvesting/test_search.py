"""A people search over real HTTP; numbers are those of providers.md, section 6."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.providers.clock import VirtualClock
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.providers.wire import Fault
from aicmo_dagster_tests.stages.harvesting.harvests import (
    Harvest,
    addresses,
    campaign,
    leads,
    search,
)

PATH = "api_search"
HOURS = 3600.0
many = pytest.mark.parametrize("providers", [{"people": 450}], indirect=True)
few_a_day = pytest.mark.parametrize(
    "providers", [{"people": 450, "limits": {"minute": 100, "hour": 3, "day": 1000}}], indirect=True
)


@pytest.fixture
def found(harvest_workspace: Workspace) -> Callable[[], set[str]]:
    return lambda: set(addresses(harvest_workspace))


def searching(workspace: Workspace, max_leads: int = 10_000, **more: Any) -> None:
    campaign(workspace, sources=[search(max_leads)], enrich=None, **more)


def pages(providers: StandIn) -> list[int]:
    """The pages that were shown, in order of their numbers."""
    asked = [request.values["page"] for request in providers.requests if PATH in request.path]
    shown = [entry.status == 200 for entry in providers.ledger.calls(PATH)]
    return sorted(page for page, is_shown in zip(asked, shown, strict=True) if is_shown)


def everyone(providers: StandIn) -> set[str]:
    return {person.id for person in providers.people}


@many
def test_every_page_is_asked_for_once(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, found: Callable[[], set[str]]
) -> None:
    searching(harvest_workspace)
    run()
    assert found() == everyone(providers)
    assert pages(providers) == [1, 2, 3, 4, 5]


@many
def test_no_more_pages_are_asked_for_than_the_campaign_wants_leads(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    searching(harvest_workspace, 150)
    assert run().rows_out == 150
    assert pages(providers) == [1, 2]


@many
@pytest.mark.parametrize("total", ["top", "pagination", "none"])
def test_the_end_is_found_wherever_the_total_stands(
    harvest_workspace: Workspace,
    providers: StandIn,
    run: Harvest,
    found: Callable[[], set[str]],
    total: str,
) -> None:
    """Without a total, an empty page is the end."""
    providers.apollo.modes.search_total = total
    searching(harvest_workspace)
    run()
    assert found() == everyone(providers)
    assert len(pages(providers)) == (6 if total == "none" else 5)


@many
def test_4_pages_that_drift_give_each_person_once_and_the_harvest_says_so(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, found: Callable[[], set[str]]
) -> None:
    providers.apollo.modes.search_drift = 7
    searching(harvest_workspace)
    report = run()
    assert report.rows_out == report.rows_in == len(found()) == 450
    assert "apollo-1: 7 people were shown on two pages, and count once" in report.notes[0]


@many
def test_4_a_search_in_which_nothing_is_left_ends(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    """Its total promises more than its pages hold."""
    empty = {"total_entries": 100_000, "people": []}
    providers.faults.set(Fault(PATH, nth=tuple(range(3, 99)), status=200, body=empty))
    searching(harvest_workspace)
    report = run()
    assert report.rows_out == 200
    assert len(providers.ledger.calls(PATH)) < 10
    assert any("split its filters" in note for note in report.notes)


@many
def test_5_past_the_cap_the_harvest_goes_on_with_what_it_has_and_advises_to_split(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    body = {"error": "Page * per page number is over threshold."}
    providers.faults.set(Fault(PATH, nth=(4, 5, 6), status=422, body=body))
    searching(harvest_workspace)
    report = run()
    # The last page, which is half as long, is one of those that are refused, or not.
    assert 250 <= report.rows_out < 450
    assert any("split its filters" in note for note in report.notes)


@many
def test_9_a_search_that_is_interrupted_goes_on_with_the_pages_that_are_lacking(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, found: Callable[[], set[str]]
) -> None:
    providers.faults.set(Fault(PATH, nth=(3,), status=400, body={"error": "not now"}))
    searching(harvest_workspace)
    report = run()
    assert any("only: " in note and "not now" in note for note in report.notes)
    run()
    assert found() == everyone(providers)
    assert pages(providers) == [1, 2, 3, 4, 5]


@many
def test_a_search_that_came_to_its_end_begins_anew(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    searching(harvest_workspace)
    run()
    run()
    assert pages(providers) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


@many
def test_an_interrupted_search_is_not_gone_on_with_for_ever(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, clock: VirtualClock
) -> None:
    providers.faults.set(Fault(PATH, nth=(3,), status=400, body={"error": "not now"}))
    searching(harvest_workspace)
    run()
    before = len(pages(providers))
    clock.sleep(49 * HOURS)
    run()
    assert len(pages(providers)) == before + 5


@many
def test_other_filters_are_another_search(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    providers.faults.set(Fault(PATH, nth=(3,), status=400, body={"error": "not now"}))
    searching(harvest_workspace)
    run()
    before = len(pages(providers))
    filters = {"search": {"person_locations": ["Sweden"]}}
    campaign(harvest_workspace, sources=[search(10_000) | filters], enrich=None)
    run()
    assert len(pages(providers)) == before + 5


@few_a_day
def test_8_an_hour_that_is_used_up_parks_the_search_and_a_later_harvest_goes_on(
    harvest_workspace: Workspace,
    providers: StandIn,
    run: Harvest,
    clock: VirtualClock,
    found: Callable[[], set[str]],
) -> None:
    """No request was refused for it: the limit is heeded, not run into."""
    searching(harvest_workspace)
    report = run()
    assert report.rows_out == 300
    assert any("up to page 3 so far" in note and "until" in note for note in report.notes)
    clock.sleep(1.1 * HOURS)
    run()
    assert found() == everyone(providers)
    assert pages(providers) == [1, 2, 3, 4, 5]
    assert {entry.status for entry in providers.ledger.entries} == {200}


@few_a_day
def test_a_harvest_that_is_parked_before_its_first_page_keeps_the_leads(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    """As after a search that used up the hour."""
    searching(harvest_workspace, 300)
    run()
    report = run()
    assert report.rows_out == 300
    assert any("until" in note for note in report.notes)


@many
def test_7_a_limit_of_a_minute_is_waited_for_and_loses_no_page(
    harvest_workspace: Workspace,
    providers: StandIn,
    run: Harvest,
    clock: VirtualClock,
    found: Callable[[], set[str]],
) -> None:
    body = {"message": "200 times per minute"}
    headers = {"retry-after": "20"}
    providers.faults.set(Fault(PATH, nth=(2, 3), status=429, headers=headers, body=body))
    searching(harvest_workspace)
    run()
    assert found() == everyone(providers)
    assert sum(clock.slept) >= 20


@many
def test_pages_make_the_same_leads_in_whatever_order_they_come(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    providers.apollo.modes.search_drift = 7
    searching(harvest_workspace, 400)
    run()
    in_order = leads(harvest_workspace)
    providers.faults.set(Fault(PATH, nth=(2, 3), delay=0.1))
    campaign(harvest_workspace, "autumn", sources=[search(400)], enrich=None)
    run("autumn")
    columns = ["external_id", "first_name", "title", "company"]
    pd.testing.assert_frame_equal(
        in_order[columns].sort_values("external_id", ignore_index=True),
        leads(harvest_workspace, "autumn")[columns].sort_values("external_id", ignore_index=True),
    )


@many
def test_a_search_that_cannot_begin_fails_and_says_why(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest
) -> None:
    providers.faults.set(Fault(PATH, status=401, body="Invalid API key."))
    searching(harvest_workspace)
    with pytest.raises(AicmoError, match="AICMO_APOLLO_API_KEY"):
        run()
