"""What is wrong with campaigns is found while it is wrong, and told to whoever runs them."""

import email
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from aicmo_dagster.domain.incidents import RUN_FAILED, Fault
from aicmo_dagster.errors import BadInput
from aicmo_dagster.stages.operating.alerts import is_anything_to_tell, tell_incidents
from aicmo_dagster.stages.operating.attempts import note_lost_run
from aicmo_dagster.stages.operating.clock import look
from aicmo_dagster.stages.operating.incidents import update_incidents
from aicmo_dagster.stages.operating.status import status
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.breakers import note_attempts, provider_scope, step_scope
from aicmo_dagster.store.campaigns import archive_campaign
from aicmo_dagster.store.results import record_failure, record_success
from aicmo_dagster_tests.handoff.receiver import Receiver, receiving
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply

HOUR = timedelta(hours=1)
FROM_ONE = {"harvest": "0 13-23 * * *"}
STAGES = ("raw_leads", "scored_leads", "qualified_leads", "routed_leads")


def done(workspace: Workspace, stage: str, at: datetime, **figures: float) -> None:
    times = {"run_id": "r0", "started_at": at, "finished_at": at}
    rows = {"rows_in": 1, "rows_out": 1, "figures": figures}
    with workspace.database.write() as connection:
        record_success(connection, "spring", stage, **times, **rows)


def failed(workspace: Workspace, at: datetime, run_id: str = "r1") -> None:
    times = {"run_id": run_id, "started_at": at, "finished_at": at}
    with workspace.database.write() as connection:
        record_failure(connection, "spring", "raw_leads", failure="no file", **times)


def updated(
    workspace: Workspace, at: datetime, unfinished: str = ""
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    changes = update_incidents(workspace, set(unfinished.split()), [], at)
    opened, closed = ([(f.kind, f.campaign) for f in faults] for faults in changes)
    return opened, closed


def test_a_failure_is_an_incident_once_its_run_has_ended_and_until_it_goes_well(
    workspace: Workspace,
) -> None:
    apply(workspace, "spring", 1, schedule=FROM_ONE)
    failed(workspace, NOON + HOUR)

    assert updated(workspace, NOON + HOUR, unfinished="r1") == ([], []), "it is tried again"
    assert updated(workspace, NOON + 2 * HOUR) == ([("run_failed", "spring")], [])
    failed(workspace, NOON + 2 * HOUR, "r2")
    assert updated(workspace, NOON + 3 * HOUR) == ([], []), "the same, and late for that reason"
    assert status(workspace, "spring", NOON).incidents[0].reason == "no file"
    for stage in STAGES:
        done(workspace, stage, NOON + 3 * HOUR)

    assert updated(workspace, NOON + 3 * HOUR) == ([], [("run_failed", "spring")])


def test_a_campaign_that_is_archived_has_no_incidents(workspace: Workspace) -> None:
    apply(workspace, "spring", 1, schedule=FROM_ONE)
    failed(workspace, NOON + HOUR)
    updated(workspace, NOON + HOUR)
    with workspace.database.write() as connection:
        archive_campaign(connection, "spring", NOON + HOUR)

    assert updated(workspace, NOON + 5 * HOUR) == ([], [("run_failed", "spring")])


def test_what_is_late_is_one_incident_a_campaign(workspace: Workspace) -> None:
    apply(workspace, "spring", 1, schedule={**FROM_ONE, "train": "0 13-23 * * *"})

    assert updated(workspace, NOON + HOUR) == ([], []), "a run may take a while"
    assert updated(workspace, NOON + 1.5 * HOUR) == ([("late", "spring")], [])
    done(workspace, "raw_leads", NOON + 1.5 * HOUR)
    assert updated(workspace, NOON + 1.6 * HOUR) == ([], []), "others are late still"


def test_who_is_at_work_is_not_late_for_as_long_as_a_run_may_take(workspace: Workspace) -> None:
    apply(workspace, "spring", 1, schedule={"harvest": "0 13 * * *"})
    assert look(workspace, {}, {}, NOON + HOUR).requests

    assert updated(workspace, NOON + 2.9 * HOUR) == ([], [])
    assert updated(workspace, NOON + 3 * HOUR) == ([("late", "spring")], [])


def test_nothing_is_late_for_a_tick_on_a_day_on_which_nothing_starts(workspace: Workspace) -> None:
    apply(workspace, "spring", 1, schedule={**FROM_ONE, "blackout": ["2026-03-04"]})

    assert updated(workspace, NOON + 3 * HOUR) == ([], [])


def test_sending_that_stopped_is_an_incident_until_a_mail_is_taken(workspace: Workspace) -> None:
    scopes = (provider_scope("company.example"), step_scope("spring", 1, "everyone", "intro"))
    known: dict[str, Any] = {}
    with workspace.database.write() as connection:
        refused = [(scope, True) for scope in scopes for _ in range(5)]
        note_attempts(connection, "ida@acme.example", known, refused, NOON)

    opened, _ = updated(workspace, NOON)
    assert sorted(opened) == [("sending_stopped", ""), ("sending_stopped", "spring")]
    assert updated(workspace, NOON + 2 * HOUR) == ([], []), "nobody has tried since its pause"
    with workspace.database.write() as connection:
        note_attempts(connection, "ida@acme.example", known, [(scopes[0], False)], NOON)
    assert updated(workspace, NOON + 2 * HOUR) == ([], [("sending_stopped", "")])


def test_spent_credits_and_drift_are_what_the_latest_success_counted(workspace: Workspace) -> None:
    apply(workspace, "spring", 1)
    done(workspace, "raw_leads", NOON, **{"not_tried: no_credits": 7})
    done(workspace, "score_model", NOON, drifted=2)

    opened, _ = updated(workspace, NOON)
    assert sorted(opened) == [("budget_spent", "spring"), ("drift", "spring")]
    done(workspace, "raw_leads", NOON + HOUR)
    done(workspace, "score_model", NOON + HOUR, drifted=0)
    assert len(updated(workspace, NOON + HOUR)[1]) == 2


def test_a_lost_run_is_the_failure_of_the_stage_it_was_at(embedded: Workspace) -> None:
    apply(embedded, "spring", 1)
    done(embedded, "raw_leads", NOON)

    note_lost_run(embedded, "spring", STAGES, "r0", NOON + HOUR)
    note_lost_run(embedded, "spring", STAGES, "r0", NOON + 2 * HOUR)

    parts = {part.stage: part.state for part in status(embedded, "spring", NOON).stages}
    state = parts["scored_leads"]
    assert state is not None
    assert (state.failure, state.failed_at) == ("run r0 ended before it was done", NOON + HOUR)
    assert parts["qualified_leads"] is None


@contextmanager
def alerted(workspace: Workspace, prefix: str = "") -> Iterator[tuple[Workspace, Receiver]]:
    """The workspace, telling a receiver of one open incident."""
    with receiving() as receiver:
        url = f"{prefix}{receiver.url}/hook"
        settings = replace(workspace.settings, alert_url=url, allow_private_urls=True)
        told = replace(workspace, settings=settings)
        fault = Fault(RUN_FAILED, "spring", "raw_leads", "no file <b>", "r1")
        update_incidents(told, set(), [fault], NOON)
        yield told, receiver


def test_a_webhook_is_told_signed_with_campaign_reason_and_link_and_of_the_end(
    embedded: Workspace,
) -> None:
    with alerted(embedded) as (workspace, receiver):
        assert is_anything_to_tell(workspace, NOON)
        receiver.answers = [(500, {}, None)]
        tell_incidents(workspace, lambda: NOON)
        assert not is_anything_to_tell(workspace, NOON)
        now = datetime.now(NOON.tzinfo)  # a signature is not taken when it is old
        tell_incidents(workspace, lambda: now)
        update_incidents(workspace, set(), [], now)
        tell_incidents(workspace, lambda: now)

    secret = workspace.settings.webhook_secret()
    (_, failed_headers, _), *arrived = receiver.got
    opened, closed = (Webhook(secret).verify(body, headers) for _, headers, body in arrived)
    assert (opened["type"], closed["type"]) == ("incident.opened", "incident.closed")
    assert opened["data"]["campaign"] == "spring"
    assert opened["data"]["reason"] == "no file <b>"
    assert opened["data"]["link"] == "http://127.0.0.1:3000/runs/r1"
    assert failed_headers["webhook-id"] == arrived[0][1]["webhook-id"]


def test_a_slack_compatible_hook_is_told_in_its_form(embedded: Workspace) -> None:
    with alerted(embedded, "slack+") as (workspace, receiver):
        report = tell_incidents(workspace, lambda: NOON)

    assert report.rows_out == 1
    ((_, _, body),) = receiver.got
    assert json.loads(body)["text"].splitlines()[:2] == [
        "spring: a run failed",
        "raw_leads: no file &lt;b&gt;",
    ]


def test_private_addresses_are_refused_unless_allowed(embedded: Workspace) -> None:
    with alerted(embedded) as (workspace, receiver):
        settings = replace(workspace.settings, allow_private_urls=False)

        report = tell_incidents(replace(workspace, settings=settings), lambda: NOON)

    assert report.reasons == {"the URL leads to a private address": 1}
    assert receiver.got == []


def test_mail_is_told_through_the_outbox_where_there_is_no_server(embedded: Workspace) -> None:
    settings = replace(embedded.settings, alert_url="mailto:ops@acme.example")
    workspace = replace(embedded, settings=settings)
    update_incidents(workspace, set(), [Fault(RUN_FAILED, "", "inbound_job", "it failed")], NOON)

    tell_incidents(workspace, lambda: NOON)

    (path,) = settings.outbox.glob("*.eml")
    message = email.message_from_bytes(path.read_bytes())
    assert message["Subject"] == "AICMO: all campaigns: a run failed"
    assert message["To"] == "ops@acme.example"
    assert message["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("url", ["ftp://a.example", "mailto:nobody", "https://", "slack+x"])
def test_an_alert_url_that_cannot_be_read_is_refused_unquoted(
    embedded: Workspace, url: str
) -> None:
    workspace = replace(embedded, settings=replace(embedded.settings, alert_url=url))

    with pytest.raises(BadInput, match="AICMO_ALERT_URL: found something else; expected https"):
        tell_incidents(workspace, lambda: NOON)


def test_without_an_alert_url_nobody_is_told(embedded: Workspace) -> None:
    update_incidents(embedded, set(), [Fault(RUN_FAILED, "", "inbound_job", "it failed")], NOON)

    assert not is_anything_to_tell(embedded, NOON)
