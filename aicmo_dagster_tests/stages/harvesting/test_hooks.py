"""Dropcontact's webhook: it may tell that a batch is ready, and nothing else is believed of it.

Numbers are those of providers.md, section 6.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.harvesting.hooks import hear_dropcontact
from aicmo_dagster.stages.harvesting.providers import Time
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.providers.wire import Fault
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.harvesting.harvests import (
    Harvest,
    addresses,
    call_states,
    calls,
    campaign,
    leads,
    open_harvest_workspace,
)


@pytest.fixture
def workspace(harvest_workspace: Workspace, providers: StandIn, run: Harvest) -> Workspace:
    """A campaign with a batch at Dropcontact that was not ready in time."""
    providers.dropcontact.modes.ready_after = None
    campaign(harvest_workspace)
    run()
    assert "pending" in call_states(harvest_workspace)
    providers.dropcontact.modes.ready_after = 1
    return harvest_workspace


def request_id(workspace: Workspace) -> str:
    return next(given for given, state in calls(workspace, "request_id", "state") if given)


def event(request_id: Any, rows: Any = ()) -> list[dict[str, Any]]:
    data = {"request_id": request_id, "data": list(rows)}
    return [{"id": "evt_1", "event_type": "enrich_api_result", "data": data}]


def test_32_a_batch_told_of_is_done_and_the_next_harvest_has_its_answers(
    workspace: Workspace, providers: StandIn, run: Harvest, time: Time
) -> None:
    before = addresses(workspace)
    assert hear_dropcontact(workspace, event(request_id(workspace)), time) == 1
    assert "pending" not in call_states(workspace)
    polls = len(providers.ledger.calls("/enrich/all/"))
    run()
    after = addresses(workspace)
    assert sum(1 for lead in after if after[lead] and not before[lead]) > 0
    assert len(providers.ledger.calls("/enrich/all/")) == polls
    assert not providers.ledger.paid_twice("dropcontact")


def test_32_what_it_brings_is_what_polling_would_have_brought(
    workspace: Workspace,
    providers: StandIn,
    run: Harvest,
    time: Time,
    tmp_path: Path,
    new_sqlite: Callable[[], str],
) -> None:
    hear_dropcontact(workspace, event(request_id(workspace)), time)
    run()
    (tmp_path / "polls").mkdir()
    polls = open_harvest_workspace(tmp_path / "polls", new_sqlite(), providers.url)
    campaign(polls)
    harvest(polls, "spring", NOON, time)
    pd.testing.assert_frame_equal(leads(workspace), leads(polls))
    polls.database.close()


def test_32_twice_and_after_a_poll_it_changes_nothing(
    workspace: Workspace, providers: StandIn, run: Harvest, time: Time
) -> None:
    told = event(request_id(workspace))
    assert [hear_dropcontact(workspace, told, time) for _ in "ab"] == [1, 0]
    done = calls(workspace, "state", "credits", "finished_at", "detail")
    run()
    assert hear_dropcontact(workspace, told, time) == 0
    assert calls(workspace, "state", "credits", "finished_at", "detail") == done


FORGED = {"custom_fields": {"lead_key": "x"}, "email": [{"email": "e@evil.example"}]}


FORGERIES = [
    event("qzwk99999", [FORGED]),
    event("../../account/credits"),
    event(None),
    event({"a": 1}),
    [],
    {},
    None,
    "qzwk00000",
    [1, "x", None, {"data": None}, {"data": [1]}],
    {"request_id": "qzwk00000"},
]


def test_32_what_is_forged_or_not_known_changes_nothing_and_nobody_is_asked(
    workspace: Workspace, providers: StandIn, time: Time
) -> None:
    before, asked = calls(workspace, "state", "detail"), len(providers.requests)
    for payload in FORGERIES:
        assert hear_dropcontact(workspace, payload, time) == 0, payload
        assert calls(workspace, "state", "detail") == before, payload
        assert len(providers.requests) == asked, payload


def test_32_rows_that_come_with_a_true_id_are_not_believed(
    workspace: Workspace, providers: StandIn, run: Harvest, time: Time
) -> None:
    hear_dropcontact(workspace, event(request_id(workspace), [FORGED]), time)
    run()
    assert "e@evil.example" not in addresses(workspace).values()


def test_a_batch_that_is_not_ready_after_all_stays_pending(
    workspace: Workspace, providers: StandIn, time: Time
) -> None:
    providers.dropcontact.modes.ready_after = None
    assert hear_dropcontact(workspace, event(request_id(workspace)), time) == 0
    assert "pending" in call_states(workspace)


def test_where_dropcontact_cannot_be_asked_the_batch_stays_pending(
    workspace: Workspace, providers: StandIn, time: Time
) -> None:
    providers.faults.set(Fault("/enrich/all/", status=503))
    with pytest.raises(AicmoError):
        hear_dropcontact(workspace, event(request_id(workspace)), time)
    assert "pending" in call_states(workspace)


def test_a_number_for_an_id_and_an_event_without_a_list_are_heard(
    harvest_workspace: Workspace, providers: StandIn, run: Harvest, time: Time
) -> None:
    """30: as JSON it may be a negative number of 64 bits."""
    providers.dropcontact.modes.numeric_ids = True
    providers.dropcontact.modes.ready_after = None
    campaign(harvest_workspace)
    run()
    providers.dropcontact.modes.ready_after = 1
    told = event(int(request_id(harvest_workspace)))[0]
    assert hear_dropcontact(harvest_workspace, told, time) == 1
