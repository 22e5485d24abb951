"""From opens, clicks and replies to a handoff that sales has received."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from aicmo_dagster.domain.tokens import address_key
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.engaging.graduate import graduate
from aicmo_dagster.stages.engaging.hand_over import deliver_handoffs
from aicmo_dagster.stages.engaging.judge import judge_engagement
from aicmo_dagster.stages.engaging.record import unsubscribe
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.decisions import history
from aicmo_dagster.store.events import add_event, add_events, events_of_lead
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.handoffs import acknowledge, claim_due, list_handoffs, resend
from aicmo_dagster.store.ledger import sends_of_lead
from aicmo_dagster.store.suppressions import suppress
from aicmo_dagster.store.verdicts import read_verdicts
from aicmo_dagster_tests.handoff.receiver import Receiver
from aicmo_dagster_tests.samples import NOON, SECRET, campaign_document
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
STEPS = [
    {"id": "intro", "subject": "Hello", "body": "Good day."},
    {"id": "nudge", "wait": {"days": 2}, "body": "Did you see it?"},
    {"id": "last", "wait": {"days": 2}, "body": "Good bye."},
]


SETTINGS = {"allow_private_urls": True}


def prepare(workspace: Workspace, request: pytest.FixtureRequest) -> None:
    start(workspace, request.getfixturevalue("one_receiver").url)


@pytest.fixture
def workspace(prepared_workspace: Workspace) -> Workspace:
    """Started as usual."""
    return prepared_workspace


@pytest.fixture
def empty(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    """To be started in another way."""
    opened = open_test_workspace(tmp_path, database_url, **SETTINGS)
    yield opened
    opened.database.close()


def start(workspace: Workspace, url: str, **rule: Any) -> None:
    """Three leads got the first message of `spring`; two of them are colleagues."""
    nurturing = campaign_document()["nurture"]
    handing = {"to": "webhook", "url": url} | rule
    path = apply(
        workspace,
        "spring",
        3,
        sequences={"everyone": {"steps": STEPS}},
        nurture=nurturing | {"graduate": handing},
    )
    text = path.read_text(encoding="utf-8").replace("lead2@company2", "lead2@company1")
    path.write_text(text, encoding="utf-8")
    for stage in (harvest, score_leads, qualify_leads, route_leads):
        stage(workspace, "spring", NOON)
    nurture(workspace, "spring", lambda: NOON)


def lead(workspace: Workspace, number: int = 1) -> str:
    with workspace.database.read() as connection:
        leads = read_frame(connection, "raw_leads", "spring", ["lead_id", "email"])
    return str(leads.loc[leads["email"].str.startswith(f"lead{number}@"), "lead_id"].iloc[0])


def click(workspace: Workspace, step: str, at: datetime, number: int = 1, link: str = "a") -> None:
    event = {
        "campaign": "spring",
        "lead_id": lead(workspace, number),
        "kind": "click",
        "step": step,
        "happened_at": at,
        "key": f"{number}/{step}/{at.isoformat()}/{link}",
        "detail": "{}",
        "link": link,
        "method": "GET",
        "agent": BROWSER,
        "client": "198.51.100.7",
    }
    with workspace.database.write() as connection:
        add_events(connection, [event])


def reply(workspace: Workspace, number: int = 1, **detail: Any) -> None:
    told = {"matched_by": "reference", "text": "Call me"} | detail
    with workspace.database.write() as connection:
        add_event(
            connection,
            "spring",
            lead(workspace, number),
            "reply",
            f"reply/{number}/{len(told)}",
            NOON + HOUR,
            detail=told,
        )


def evaluate(workspace: Workspace, at: datetime) -> Report:
    judge_engagement(workspace, "spring", at)
    return graduate(workspace, "spring", at)


def deliver(workspace: Workspace) -> Report:
    return deliver_handoffs(workspace, lambda: datetime.now(UTC))


def handed(workspace: Workspace) -> list[dict[str, Any]]:
    with workspace.database.read() as connection:
        return list_handoffs(connection, "spring")


def states(workspace: Workspace, number: int = 1) -> list[str]:
    with workspace.database.read() as connection:
        sends = sends_of_lead(connection, "spring", lead(workspace, number))
    return [each["state"] for each in sends]


def test_a_scanner_graduates_nobody_and_a_person_s_two_clicks_do(
    workspace: Workspace, receiver: Receiver
) -> None:
    for position, link in enumerate("abcd"):
        at = NOON + timedelta(seconds=43, milliseconds=position * 100)
        click(workspace, "intro", at, link=link)
    nurture(workspace, "spring", lambda: NOON + 2 * DAY)
    for position, link in enumerate("abcd"):
        at = NOON + 2 * DAY + timedelta(seconds=43, milliseconds=position * 100)
        click(workspace, "nudge", at, link=link)
    assert evaluate(workspace, NOON + 2 * DAY + HOUR).figures["newly_handed_over"] == 0

    click(workspace, "intro", NOON + 2 * DAY + 2 * HOUR)
    assert evaluate(workspace, NOON + 2 * DAY + 3 * HOUR).figures["newly_handed_over"] == 0
    click(workspace, "nudge", NOON + 2 * DAY + 4 * HOUR)
    soon = NOON + 2 * DAY + 4 * HOUR + timedelta(minutes=4)
    assert evaluate(workspace, soon).figures["newly_handed_over"] == 0
    assert evaluate(workspace, soon + timedelta(minutes=2)).figures["newly_handed_over"] == 1

    deliver(workspace)
    ((_, headers, body),) = receiver.got
    document = Verifier(workspace.settings.webhook_secret()).verify(body, headers)
    told = document["data"]
    assert told["lead"]["email"] == "lead1@company1.example"
    assert told["reason"] == "clicked in 2 steps"
    assert [each["step"] for each in told["received"]] == ["intro", "nudge"]
    evidence = [each["step"] for each in told["did"] if each["evidence"]]
    assert evidence == ["intro", "nudge"]
    assert len(told["did"]) == 2
    assert told["score"]["model"]


def test_who_graduates_leaves_its_sequence(workspace: Workspace, receiver: Receiver) -> None:
    nurture(workspace, "spring", lambda: NOON + DAY)
    reply(workspace)
    evaluate(workspace, NOON + DAY)

    assert states(workspace) == ["accepted", "cancelled"]
    nurture(workspace, "spring", lambda: NOON + 5 * DAY)
    assert states(workspace) == ["accepted", "cancelled"]
    assert states(workspace, 3) == ["accepted", "accepted", "planned"]
    with workspace.database.read() as connection:
        told = history(connection, "spring", lead(workspace))[-1]
    assert (told.stage, told.outcome, told.reason) == ("sales_handoffs", "handed over", "replied")


@pytest.mark.parametrize("pausing", [True, False])
def test_colleagues_pause_if_the_campaign_says_so(
    empty: Workspace, receiver: Receiver, pausing: bool
) -> None:
    start(empty, receiver.url, pause_colleagues=pausing)
    reply(empty)
    report = evaluate(empty, NOON + DAY)
    nurture(empty, "spring", lambda: NOON + 3 * DAY)

    assert report.figures["colleagues_paused"] == int(pausing)
    nudged = ["accepted", "accepted", "planned"]
    assert states(empty, 2) == (["accepted", "planned"] if pausing else nudged)
    assert states(empty, 3)[:2] == ["accepted", "accepted"]


def test_graduating_again_hands_nobody_over_twice(workspace: Workspace, receiver: Receiver) -> None:
    reply(workspace)
    for hours in (1, 2, 3):
        evaluate(workspace, NOON + DAY + hours * HOUR)
        deliver(workspace)

    assert len(receiver.got) == 1
    assert len(handed(workspace)) == 1


def test_a_verdict_that_changes_takes_nothing_back(
    workspace: Workspace, receiver: Receiver
) -> None:
    click(workspace, "intro", NOON + HOUR)
    click(workspace, "nudge", NOON + 2 * HOUR)
    evaluate(workspace, NOON + 3 * HOUR)
    click(workspace, "intro", NOON + HOUR + timedelta(seconds=1), link="b")
    evaluate(workspace, NOON + 4 * HOUR)

    with workspace.database.read() as connection:
        verdicts = read_verdicts(connection, "spring")
    assert sorted(verdicts["verdict"]) == ["human", "machine", "machine"]
    assert len(handed(workspace)) == 1


@pytest.mark.parametrize(
    "detail", [{"matched_by": "address"}, {"asks_to_stop": True}], ids=["forgeable", "objection"]
)
def test_a_reply_that_may_be_forged_or_objects_graduates_nobody(
    workspace: Workspace, receiver: Receiver, detail: dict[str, Any]
) -> None:
    reply(workspace, **detail)

    assert evaluate(workspace, NOON + DAY).rows_in == 0


def test_who_objects_or_is_suppressed_is_not_handed_over(
    workspace: Workspace, receiver: Receiver
) -> None:
    for number in (1, 2):
        reply(workspace, number)
    with workspace.database.write() as connection:
        unsubscribe(
            connection, SECRET, "spring", lead(workspace, 1), scope="campaign", now=NOON + HOUR
        )
        key = address_key(SECRET, "lead2@company1.example")
        suppress(connection, "address", key, "by hand", "ida", NOON)

    report = evaluate(workspace, NOON + DAY)

    assert report.reasons == {"it objects or bounced": 1, "suppressed": 1}
    assert handed(workspace) == []


def test_a_failed_handoff_is_tried_again_and_dead_at_last(
    workspace: Workspace, receiver: Receiver
) -> None:
    reply(workspace)
    evaluate(workspace, NOON + DAY)
    receiver.answers = [(500, {}, {}) for _ in range(10)]
    now = datetime.now(UTC)
    for hours in range(0, 160, 4):
        deliver_handoffs(workspace, lambda at=now + hours * HOUR: at)
    now += 160 * HOUR

    assert len(receiver.got) == 10
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1
    (dead,) = handed(workspace)
    assert (dead["state"], dead["error"], dead["attempts"]) == ("dead", "HTTP 500", 10)

    with workspace.database.write() as connection:
        resend(connection, "spring", lead(workspace), now)
    deliver_handoffs(workspace, lambda: now)
    assert handed(workspace)[0]["state"] == "delivered"
    assert receiver.got[-1][1]["webhook-id"] == receiver.got[0][1]["webhook-id"]


def test_a_handoff_whose_worker_died_is_delivered_again_after_its_lease(
    workspace: Workspace, receiver: Receiver
) -> None:
    reply(workspace)
    evaluate(workspace, NOON + DAY)
    with workspace.database.write() as connection:
        assert len(claim_due(connection, NOON + DAY, 10)) == 1

    deliver_handoffs(workspace, lambda: NOON + DAY + timedelta(minutes=9))
    assert receiver.got == []
    deliver_handoffs(workspace, lambda: NOON + DAY + timedelta(minutes=11))
    assert len(receiver.got) == 1


def test_what_is_not_set_up_is_told_and_tried_again(empty: Workspace) -> None:
    start(empty, "", to="hubspot")
    reply(empty)
    evaluate(empty, NOON + DAY)
    report = deliver(empty)

    assert report.figures == {"due_later": 1}
    assert "AICMO_HUBSPOT_API_KEY" in next(iter(report.reasons))


def test_a_csv_file_takes_handoffs_too(empty: Workspace) -> None:
    start(empty, "", to="csv")
    reply(empty)
    evaluate(empty, NOON + DAY)
    deliver(empty)

    path = empty.settings.home / "handoffs" / "spring.csv"
    assert "lead1@company1.example" in path.read_text(encoding="utf-8")


def test_an_acknowledgement_is_kept_as_first_given(
    workspace: Workspace, receiver: Receiver
) -> None:
    reply(workspace)
    evaluate(workspace, NOON + DAY)
    with workspace.database.write() as connection:
        assert acknowledge(connection, "spring", lead(workspace), "ida", NOON + DAY)
        assert not acknowledge(connection, "spring", lead(workspace), "kai", NOON + 2 * DAY)
        with pytest.raises(AicmoError, match="no such lead"):
            acknowledge(connection, "spring", lead(workspace, 2), "ida", NOON)

    (found,) = handed(workspace)
    assert (found["acknowledged_by"], found["acknowledged_at"]) == ("ida", NOON + DAY)


def test_clients_are_cut_to_their_network_and_verdicts_can_be_found_again(
    workspace: Workspace, receiver: Receiver
) -> None:
    for position in range(3):
        click(workspace, "intro", NOON + HOUR + position * timedelta(seconds=5), link="a")
    with workspace.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE events SET client = '198.51.100.' || CAST(id AS TEXT) WHERE kind = 'click'"
        )
    judge_engagement(workspace, "spring", NOON + 3 * HOUR)
    with workspace.database.read() as connection:
        first = read_verdicts(connection, "spring")
        clients = [each["client"] for each in events_of_lead(connection, "spring", lead(workspace))]
    report = judge_engagement(workspace, "spring", NOON + 4 * HOUR, everyone=True)
    with workspace.database.read() as connection:
        again = read_verdicts(connection, "spring")

    assert set(first["rule"]) == {"burst of clients"}
    assert clients == [None] * 3
    assert report.figures["judged_now"] == 3
    assert list(first["rule"]) == list(again["rule"])


def test_only_what_is_new_or_pending_is_judged_again(
    workspace: Workspace, receiver: Receiver
) -> None:
    click(workspace, "intro", NOON + HOUR, 1)
    click(workspace, "intro", NOON + HOUR, 3)
    now = NOON + HOUR + timedelta(minutes=1)
    assert judge_engagement(workspace, "spring", now).figures["judged_now"] == 2
    assert judge_engagement(workspace, "spring", NOON + 2 * HOUR).figures["judged_now"] == 2
    assert judge_engagement(workspace, "spring", NOON + 2 * HOUR).figures["judged_now"] == 0
    click(workspace, "intro", NOON + 2 * HOUR, 3)
    assert judge_engagement(workspace, "spring", NOON + 3 * HOUR).figures["judged_now"] == 2


def test_the_document_is_plain_json(workspace: Workspace, receiver: Receiver) -> None:
    reply(workspace)
    evaluate(workspace, NOON + DAY)
    deliver(workspace)

    document = json.loads(receiver.got[0][2])
    assert document["type"] == "lead.graduated"
    assert {"lead", "score", "received", "did", "reason"} <= set(document["data"])
    assert document["data"]["did"][0]["text"] == "Call me"
