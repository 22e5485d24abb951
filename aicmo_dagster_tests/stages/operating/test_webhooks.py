"""Events to whoever subscribed: told once, signed, tried again, given up, sent again."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from aicmo_dagster.domain.tokens import subscription_secret
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.engaging.graduate import graduate
from aicmo_dagster.stages.engaging.record import unsubscribe
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.leads.erase import erase
from aicmo_dagster.stages.operating.announcements import EndedRun, announce_runs, wants_runs
from aicmo_dagster.stages.operating.webhooks import KEPT, deliver_webhooks
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import webhooks
from aicmo_dagster.store.events import add_event
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.results import record_failure
from aicmo_dagster.store.webhooks import ACTIVE, EVENTS, Event, Occurrence, Webhook, announce
from aicmo_dagster_tests.handoff.receiver import Receiver
from aicmo_dagster_tests.samples import NOON, SECRET, campaign_document
from aicmo_dagster_tests.workspaces import apply, open_test_workspace


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    opened = open_test_workspace(tmp_path, database_url, allow_private_urls=True)
    yield opened
    opened.database.close()


def subscribe(workspace: Workspace, url: str, name: str = "wh_1", **changes: Any) -> None:
    told: dict[str, Any] = {"events": EVENTS, "campaigns": None, "state": ACTIVE, "reason": ""}
    told |= {"created_by": "test", "created_at": NOON, "updated_at": NOON}
    with workspace.database.write() as connection:
        webhooks.add_webhook(connection, Webhook(id=name, url=url, **(told | changes)))


def tell(workspace: Workspace, name: str = "r1", event: Event = "run.finished") -> int:
    with workspace.database.write() as connection:
        return announce(connection, event, [Occurrence(name, {"run_id": name}, ("spring",))], NOON)


def deliver(workspace: Workspace, now: datetime = NOON) -> dict[str, int]:
    return deliver_webhooks(workspace, lambda: now)


def deliveries(workspace: Workspace, name: str = "wh_1") -> list[dict[str, Any]]:
    with workspace.database.read() as connection:
        return webhooks.list_deliveries(connection, name, None, "", 100)


def bodies(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body) for _, _, body in receiver.got]


def test_an_event_arrives_signed_with_the_subscriptions_own_secret(
    workspace: Workspace, receiver: Receiver
) -> None:
    subscribe(workspace, f"{receiver.url}/a")
    now = datetime.now(NOON.tzinfo)
    assert tell(workspace) == 1
    assert deliver(workspace, now) == {"delivered": 1}
    ((path, headers, body),) = receiver.got
    assert path == "/a"
    Verifier(subscription_secret(SECRET, "wh_1")).verify(body, headers)
    assert subscription_secret(SECRET, "wh_1") != subscription_secret(SECRET, "wh_2")
    assert json.loads(body) == {
        "type": "run.finished",
        "timestamp": NOON.isoformat(),
        "data": {"run_id": "r1"},
    }


def test_the_same_occurrence_is_told_once(workspace: Workspace, receiver: Receiver) -> None:
    subscribe(workspace, receiver.url)
    assert [tell(workspace), tell(workspace)] == [1, 0]
    deliver(workspace)
    assert tell(workspace) == 0
    assert deliver(workspace) == {}
    assert len(receiver.got) == 1


def test_only_those_are_told_who_asked_for_the_event_and_the_campaign(
    workspace: Workspace, receiver: Receiver
) -> None:
    subscribe(workspace, receiver.url, "wh_1", events=("run.failed",))
    subscribe(workspace, receiver.url, "wh_2", campaigns=("autumn",))
    subscribe(workspace, receiver.url, "wh_3", campaigns=("autumn", "spring"))
    subscribe(workspace, receiver.url, "wh_4", state="disabled")
    assert tell(workspace) == 1
    assert len(deliveries(workspace, "wh_3")) == 1


def test_a_failure_is_tried_again_for_days_under_the_same_id_and_then_is_dead(
    workspace: Workspace, receiver: Receiver
) -> None:
    subscribe(workspace, receiver.url)
    tell(workspace)
    receiver.answers[:] = [(500, {}, {})] * 10
    now = NOON
    for _ in range(9):
        assert deliver(workspace, now) == {"due_later": 1}
        (row,) = deliveries(workspace)
        assert row["next_attempt_at"] > now
        assert deliver(workspace, now) == {}
        now = row["next_attempt_at"]
    assert now - NOON > timedelta(days=3)
    assert deliver(workspace, now) == {"dead": 1}
    (row,) = deliveries(workspace)
    assert (row["state"], row["error"], row["attempts"]) == ("dead", "HTTP 500", 10)
    assert deliver(workspace, now + timedelta(days=9)) == {}

    with workspace.database.write() as connection:
        assert webhooks.resend(connection, "wh_1", row["key"], now)
        assert not webhooks.resend(connection, "wh_2", row["key"], now)
    assert deliver(workspace, now) == {"delivered": 1}
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1


def test_a_receiver_that_fails_has_its_other_events_wait_and_nobody_elses(
    workspace: Workspace, receiver: Receiver
) -> None:
    subscribe(workspace, receiver.url, "wh_1", events=("run.finished",))
    subscribe(workspace, receiver.url, "wh_2", events=("run.failed",))
    for number in range(30):
        tell(workspace, f"r{number}")
    tell(workspace, "r99", "run.failed")
    receiver.answers[:] = [(503, {"Retry-After": "600"}, {})]
    states = deliver(workspace)
    assert states["due_later"] >= 1
    assert states["delivered"] == 1
    assert len(receiver.got) == 2
    waiting = deliveries(workspace, "wh_1")
    assert sum(row["attempts"] for row in waiting) == 1


def test_a_receiver_that_is_gone_or_private_is_asked_no_more(
    workspace: Workspace, receiver: Receiver, tmp_path: Path
) -> None:
    subscribe(workspace, receiver.url)
    tell(workspace, "r1")
    receiver.answers[:] = [(410, {}, {})]
    assert deliver(workspace) == {"dead": 1}
    with workspace.database.read() as connection:
        found = webhooks.find_webhook(connection, "wh_1")
    assert found
    assert (found.state, found.reason) == ("disabled", "HTTP 410: the receiver wants no more")
    assert tell(workspace, "r2") == 0


def test_what_has_arrived_is_forgotten_after_a_month(
    workspace: Workspace, receiver: Receiver
) -> None:
    subscribe(workspace, receiver.url)
    tell(workspace)
    deliver(workspace)
    deliver(workspace, NOON + KEPT)
    assert len(deliveries(workspace)) == 1
    deliver(workspace, NOON + KEPT + timedelta(seconds=1))
    assert deliveries(workspace) == []


def test_leads_that_qualify_are_told_once_while_they_stay(
    workspace: Workspace, receiver: Receiver
) -> None:
    subscribe(workspace, receiver.url, events=("lead.qualified",))
    apply(workspace, "spring", 2, scoring={"threshold": 0})
    harvest(workspace, "spring", NOON)
    score_leads(workspace, "spring", NOON)
    qualify_leads(workspace, "spring", NOON)
    qualify_leads(workspace, "spring", NOON + timedelta(hours=1))
    with workspace.database.read() as connection:
        ids = set(read_frame(connection, "qualified_leads", "spring")["lead_id"])
    assert len(ids) == 2
    assert deliver(workspace) == {"delivered": 2}
    assert {told["data"]["lead_id"] for told in bodies(receiver)} == ids
    assert not any(b"@" in body for _, _, body in receiver.got)


def test_a_handoff_and_an_objection_are_told_without_a_word_of_the_person(
    workspace: Workspace, receiver: Receiver
) -> None:
    nurture = campaign_document()["nurture"] | {"graduate": {"to": "csv"}}
    apply(workspace, "spring", 2, nurture=nurture)
    harvest(workspace, "spring", NOON)
    subscribe(workspace, receiver.url)
    with workspace.database.write() as connection:
        leads = read_frame(connection, "raw_leads", "spring").set_index("email")["lead_id"]
        first, second = leads["lead1@company1.example"], leads["lead2@company2.example"]
        detail = {"matched_by": "reference", "text": "a secret word"}
        add_event(connection, "spring", first, "reply", "r", NOON, detail=detail)
        for _ in range(2):
            unsubscribe(connection, SECRET, "spring", second, scope="everything", now=NOON)
    graduate(workspace, "spring", NOON)
    deliver(workspace)
    told = {each["type"]: each["data"] for each in bodies(receiver)}
    assert told == {
        "lead.handed_off": {"campaign": "spring", "lead_id": first, "to": "csv"},
        "lead.unsubscribed": {"campaign": "spring", "lead_id": second, "scope": "everything"},
    }
    erase(workspace, "lead2@company2.example", "test", NOON, who="cli:ida")
    assert second not in {row["lead_id"] for row in deliveries(workspace)}


def test_a_run_that_ended_is_told_with_its_campaigns_and_failed_stages(
    workspace: Workspace, receiver: Receiver
) -> None:
    assert not wants_runs(workspace)
    subscribe(workspace, receiver.url)
    assert wants_runs(workspace)
    with workspace.database.write() as connection:
        times: dict[str, Any] = {"started_at": NOON, "finished_at": NOON, "failure": "why"}
        record_failure(connection, "autumn", "nurture_sends", run_id="r2", **times)
    runs = [
        EndedRun("r1", "full_pipeline_job", "spring", "finished"),
        EndedRun("r2", "shared_nurture_job", None, "failed"),
        EndedRun("r3", "inbound_job", None, "finished"),
        EndedRun("r4", "nurture_job", "spring", "canceled"),
    ]
    assert announce_runs(workspace, runs, NOON) == 3
    assert announce_runs(workspace, runs, NOON) == 0
    deliver(workspace)
    told = {each["data"]["run_id"]: (each["type"], each["data"]) for each in bodies(receiver)}
    assert told["r1"][0] == "run.finished"
    assert told["r2"] == (
        "run.failed",
        {
            "run_id": "r2",
            "job": "shared_nurture_job",
            "state": "failed",
            "campaigns": ["autumn"],
            "failed_stages": ["nurture_sends"],
        },
    )
    assert told["r4"][1]["state"] == "canceled"
