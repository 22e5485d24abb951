import sqlite3
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.domain.tokens import address_key, domain_key
from aicmo_dagster.errors import Transient
from aicmo_dagster.store import agenda, claiming, ledger, outcomes
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.overrides import add_override
from aicmo_dagster.store.suppressions import suppress
from aicmo_dagster.store.tables import events, handoffs, nurture_sends, overrides
from aicmo_dagster_tests.samples import NOON, SECRET, campaign, lead_id, raw_leads

WORKER = "here:1:1.00"
OTHER = "here:2:2.00"
HOUR = timedelta(hours=1)


class Ledger:
    """The ledger of one campaign with sends that are due at NOON."""

    def __init__(self, database: Database, document: Campaign, leads: int, **columns: Any) -> None:
        self.database, self.campaign, self.key = database, document, document.campaign
        raw = raw_leads(leads, **columns)
        frame = pd.DataFrame(
            {
                "lead_id": raw["lead_id"],
                "sequence": "everyone",
                "step": "intro",
                "campaign_version": 1,
                "message_id": [f"<{self.key}-{n}@acme.example>" for n in range(leads)],
                "recipient_domain": raw["email"].str.rpartition("@")[2],
                "state": "planned",
                "due_at": pd.Timestamp(NOON),
            }
        )
        self.frame = typed("nurture_sends", {name: frame[name] for name in frame})
        with database.write() as connection:
            apply_campaign(connection, document, {}, Path("/"), NOON)
            replace_frame(connection, "raw_leads", self.key, raw)
            self.planned = self.plan(connection)

    def plan(self, connection: sa.Connection) -> int:
        sender = self.campaign.nurture.sender.address
        return ledger.plan_sends(connection, self.key, self.frame, sender=sender)

    def claim(self, worker: str = WORKER, now: Any = NOON, limit: int = 100) -> claiming.Claim:
        with self.database.write(durable=True) as connection:
            return claiming.claim(
                connection,
                self.campaign,
                worker=worker,
                secret_key=SECRET,
                now=now,
                limit=limit,
                boot="1",
            )

    def write(self, operation: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with self.database.write() as connection:
            return operation(connection, self.key, *arguments, **named)

    def attempt(self, send: ledger.Send, worker: str = WORKER, now: Any = NOON) -> bool:
        begin = partial(self.write, outcomes.begin_attempts, transport="outbox", dated=now)
        return begin([send], worker=worker, now=now) == {send.message_id}

    def record(self, send: ledger.Send, state: str, now: Any = NOON, fault: Any = None) -> None:
        outcome = outcomes.Outcome(send, state, "a reply", fault)
        self.write(outcomes.record_outcomes, [outcome], worker=WORKER, now=now)

    def recover(self, has_ended: Callable[[str], bool], now: Any = NOON, boot: str = "1") -> Any:
        return self.write(outcomes.recover, has_ended=has_ended, boot=boot, now=now)

    def send(self, send: ledger.Send, state: str = "accepted", now: Any = NOON) -> None:
        assert self.attempt(send, WORKER, now)
        self.record(send, state, now)

    def states(self) -> dict[str, int]:
        with self.database.read() as connection:
            return ledger.state_counts(connection, self.key)

    def row(self, number: int = 1) -> dict[str, Any]:
        with self.database.read() as connection:
            return ledger.sends_of_lead(connection, self.key, lead_id(number))[0]


@pytest.fixture
def make(database: Database) -> Callable[..., Ledger]:
    def make(leads: int = 3, key: str = "spring", columns: Any = None, **changes: Any) -> Ledger:
        return Ledger(database, campaign(key, **changes), leads, **(columns or {}))

    return make


def limited(**caps: Any) -> dict[str, Any]:
    """A nurture section with caps."""
    document = campaign().model_dump(mode="json", by_alias=True, exclude_unset=True)
    return document["nurture"] | {"caps": caps}


def test_planning_twice_adds_nothing(make: Callable[..., Ledger]) -> None:
    sends = make()
    assert sends.planned == 3
    assert sends.write(lambda connection, _: sends.plan(connection)) == 0


def test_a_send_is_claimed_once(make: Callable[..., Ledger]) -> None:
    sends = make()
    assert len(sends.claim().sends) == 3
    assert sends.claim(OTHER).looked_at == 0


def test_a_limited_claim_leaves_the_rest_for_others(make: Callable[..., Ledger]) -> None:
    sends = make()
    first, second = sends.claim(limit=2).sends, sends.claim(OTHER, limit=2).sends
    assert [s.lead_id for s in first + second] == [lead_id(n) for n in (1, 2, 3)]


def test_nothing_is_claimed_before_it_is_due(make: Callable[..., Ledger]) -> None:
    assert make().claim(now=NOON - HOUR).looked_at == 0


def test_only_the_worker_that_claimed_a_send_may_attempt_it(make: Callable[..., Ledger]) -> None:
    sends = make()
    send = sends.claim().sends[0]
    assert not sends.attempt(send, OTHER)
    assert sends.attempt(send, WORKER)
    assert not sends.attempt(send, WORKER)


@pytest.mark.parametrize("objection", ["event", "suppression"])
def test_an_objection_after_the_claim_is_heeded_before_the_message_leaves(
    make: Callable[..., Ledger], objection: str
) -> None:
    sends = make(2)
    first, second = sends.claim().sends
    if objection == "event":
        row = {"kind": "unsubscribe", "happened_at": NOON, "key": "1", "detail": "{}"}
        told = row | {"campaign": sends.key, "lead_id": first.lead_id}
        sends.write(lambda connection, _: connection.execute(sa.insert(events).values(told)))
    else:
        hashed = address_key(SECRET, first.email)
        sends.write(lambda c, _: suppress(c, "address", hashed, "asked", "me", NOON))
    assert not sends.attempt(first)
    assert sends.attempt(second)
    sends.write(outcomes.release, worker=WORKER)
    assert not sends.claim().sends
    assert sends.row(1)["state"] == "cancelled"


def test_a_full_disk_may_pass_also_where_outcomes_are_written(
    new_sqlite: Callable[[], str],
) -> None:
    database = open_database(new_sqlite())
    sends = Ledger(database, campaign("spring"), 1)
    (send,) = sends.claim().sends
    assert sends.attempt(send)
    given = [outcomes.Outcome(send, "accepted", "a reply " * 100_000)]
    with database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # as many as there are
    with pytest.raises(Transient, match="the disk is full"):
        sends.write(outcomes.record_outcomes, given, worker=WORKER, now=NOON)
    database.close()


def test_waiting_too_long_may_pass_also_where_attempts_begin(
    new_postgresql: Callable[[], str],
) -> None:
    database = open_database(new_postgresql())
    sends = Ledger(database, campaign("spring"), 1)
    claimed = sends.claim().sends

    def attempt(connection: sa.Connection, key: str) -> None:
        connection.exec_driver_sql("SET LOCAL lock_timeout = 1")
        told = {"worker": WORKER, "transport": "outbox"}
        outcomes.begin_attempts(connection, key, claimed, **told, dated=NOON, now=NOON)

    with database.write() as other:
        ledger.advance(other, "spring", [{"at_lead": lead_id(1), "at_step": "intro"}])
        with pytest.raises(Transient):
            sends.write(attempt)
    database.close()


def test_an_accepted_send_is_final(make: Callable[..., Ledger]) -> None:
    sends = make(1)
    sends.send(sends.claim().sends[0])
    assert sends.row()["sent_at"] == NOON
    assert sends.claim(now=NOON + 100 * HOUR).looked_at == 0


def test_a_deferred_send_comes_back_later_each_time(make: Callable[..., Ledger]) -> None:
    sends = make(1)
    sends.send(sends.claim().sends[0], "deferred")
    first = sends.row()["due_at"]
    assert first == NOON + HOUR / 4
    sends.send(sends.claim(now=first).sends[0], "deferred", first)
    assert sends.row()["due_at"] == first + HOUR / 2


@pytest.mark.parametrize("state", ["rejected", "unknown"])
def test_rejected_and_unknown_sends_are_never_claimed_again(
    make: Callable[..., Ledger], state: str
) -> None:
    sends = make(1)
    sends.send(sends.claim().sends[0], state)
    assert sends.row()["reason"] == "a reply"
    assert sends.claim(now=NOON + 20 * HOUR).looked_at == 0


@pytest.mark.parametrize("kind", ["address", "domain"])
def test_a_suppressed_lead_is_cancelled_within_the_claim(
    make: Callable[..., Ledger], kind: str
) -> None:
    sends = make(2)
    keys = {
        "address": address_key(SECRET, "lead1@company1.example"),
        "domain": domain_key(SECRET, "company1.example"),
    }
    sends.write(lambda connection, _: suppress(connection, kind, keys[kind], "asked", "me", NOON))
    assert [send.lead_id for send in sends.claim().sends] == [lead_id(2)]
    assert (sends.row()["state"], sends.row()["reason"]) == ("cancelled", "suppressed")


@pytest.mark.parametrize(("kind", "reason"), claiming.STOPPING_EVENTS.items())
def test_a_lead_that_answered_is_not_written_to(
    make: Callable[..., Ledger], kind: str, reason: str
) -> None:
    sends = make(1)
    values = {"lead_id": lead_id(1), "kind": kind, "happened_at": NOON, "key": "1", "detail": "{}"}
    sends.write(lambda c, key: c.execute(sa.insert(events).values(campaign=key, **values)))
    assert sends.claim().sends == []
    assert sends.row()["reason"] == reason


def test_a_lead_handed_to_sales_is_not_written_to(make: Callable[..., Ledger]) -> None:
    sends = make(1)
    values = {"destination": "csv", "state": "new", "reason": "replied", "created_at": NOON}
    row = {"lead_id": lead_id(1), **values}
    sends.write(lambda c, key: c.execute(sa.insert(handoffs).values(campaign=key, **row)))
    assert sends.claim().passed_over == {"handed to sales": 1}


def test_any_number_of_leads_may_be_paused(new_sqlite: Callable[[], str]) -> None:
    """However few values this SQLite takes in a statement; others take 32,766."""
    database = open_database(new_sqlite())
    sends = Ledger(database, campaign("spring"), 101)
    row = {"campaign": "spring", "action": "pause", "reason": "a holiday", "decided_by": "me"}
    rows = [row | {"decided_at": NOON, "lead_id": lead_id(n)} for n in range(1, 101)]
    with database.write() as connection:
        connection.execute(sa.insert(overrides), rows)
        driver = connection.connection.driver_connection
        driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 100)
    assert [send.lead_id for send in sends.claim().sends] == [lead_id(101)]
    database.close()


def test_a_paused_lead_waits_and_a_rejected_one_is_cancelled(make: Callable[..., Ledger]) -> None:
    sends = make(3)
    sends.write(add_override, lead_id(1), "pause", "holiday", "me", NOON)
    sends.write(add_override, lead_id(2), "reject", "a rival", "me", NOON)
    assert [send.lead_id for send in sends.claim().sends] == [lead_id(3)]
    assert (sends.row(1)["state"], sends.row(2)["state"]) == ("planned", "cancelled")
    sends.write(add_override, lead_id(1), "resume", "back", "me", NOON)
    assert [send.lead_id for send in sends.claim().sends] == [lead_id(1)]


def test_a_closed_window_moves_the_send_to_its_opening(make: Callable[..., Ledger]) -> None:
    nurture = limited() | {"window": {"days": ["wed"], "hours": "13:00-14:00"}}
    sends = make(1, columns={"timezone": ["Asia/Kolkata"]}, nurture=nurture)
    assert sends.claim().passed_over == {"outside its window": 1}
    opening = NOON + timedelta(days=7) - 12 * HOUR + 7.5 * HOUR
    assert sends.row()["due_at"] == opening
    assert len(sends.claim(now=opening).sends) == 1


def test_a_send_past_its_deadline_is_dropped(make: Callable[..., Ledger]) -> None:
    sends = make(1)
    assert sends.claim(now=NOON + timedelta(days=31)).sends == []
    assert sends.row()["reason"] == "its deadline has passed"


def test_the_daily_cap_counts_every_campaign_of_the_sender(make: Callable[..., Ledger]) -> None:
    first = make(3, nurture=limited(per_sender_per_day=4))
    second = make(3, key="autumn", nurture=limited(per_sender_per_day=4))
    assert len(first.claim().sends) == 3
    claimed = second.claim()
    assert len(claimed.sends) == 1
    assert second.claim().passed_over == {"the sender's cap is reached": 2}
    assert len(second.claim(now=NOON + 25 * HOUR).sends) == 2


def test_the_domain_cap_moves_sends_by_an_hour(make: Callable[..., Ledger]) -> None:
    addresses = [f"lead{number}@same.example" for number in range(3)]
    sends = make(3, columns={"email": addresses}, nurture=limited(per_domain_per_hour=2))
    assert len(sends.claim().sends) == 2
    assert sends.row(3)["due_at"] == NOON + HOUR
    assert len(sends.claim(now=NOON + HOUR).sends) == 1


def test_the_ramp_grows_with_the_days_since_the_first_send(make: Callable[..., Ledger]) -> None:
    sends = make(9, nurture=limited(ramp={"start": 2, "step": 3}))
    claimed = sends.claim().sends
    assert len(claimed) == 2
    for send in claimed:
        sends.send(send)
    assert len(sends.claim(now=NOON + 25 * HOUR).sends) == 5


def test_claims_of_an_ended_worker_are_planned_again_and_attempts_become_unknown(
    make: Callable[..., Ledger],
) -> None:
    sends = make(2)
    first, _ = sends.claim().sends
    sends.attempt(first, WORKER)
    assert sends.recover(lambda _: False) == {}
    assert sends.recover(lambda worker: worker == WORKER) == {"unknown": 1, "planned": 1}
    assert sends.states() == {"unknown": 1, "planned": 1}


def test_a_worker_nobody_can_ask_about_loses_its_claim_after_the_lease(
    make: Callable[..., Ledger],
) -> None:
    sends = make(1)
    send = sends.claim().sends[0]
    later = NOON + outcomes.LEASE + timedelta(seconds=1)
    assert sends.recover(lambda _: False, later) == {"planned": 1}
    assert not sends.attempt(send, WORKER, later)


@pytest.mark.parametrize(
    ("arrived", "state"), [(True, "accepted"), (False, "planned"), (None, "unknown")]
)
def test_an_unknown_send_is_settled_by_what_the_transport_knows(
    make: Callable[..., Ledger], arrived: bool | None, state: str
) -> None:
    sends = make(1)
    sends.send(sends.claim().sends[0], "unknown")
    sends.write(outcomes.reconcile, lambda _: arrived, transport="outbox")
    assert sends.states() == {state: 1}
    assert (sends.row()["sent_at"] == NOON) is (arrived is True)


def test_a_released_claim_is_free_for_others(make: Callable[..., Ledger]) -> None:
    sends = make(2)
    sends.claim()
    assert sends.write(outcomes.release, worker=WORKER) == 2
    assert len(sends.claim(OTHER).sends) == 2


def test_a_send_that_cannot_be_written_is_held_with_its_reason(make: Callable[..., Ledger]) -> None:
    sends = make(1)
    send = sends.claim().sends[0]
    sends.write(outcomes.hold, [(send, "no first_name")], worker=WORKER, now=NOON)
    assert (sends.row()["state"], sends.row()["reason"]) == ("deferred", "no first_name")
    assert sends.claim(now=NOON + 23 * HOUR).looked_at == 0
    assert len(sends.claim(now=NOON + 24 * HOUR).sends) == 1


def test_the_outcome_of_an_attempt_taken_for_lost_still_counts(make: Callable[..., Ledger]) -> None:
    sends = make(1)
    send = sends.claim().sends[0]
    sends.attempt(send, WORKER)
    sends.recover(lambda _: True)
    sends.record(send, "accepted")
    assert sends.states() == {"accepted": 1}


def test_every_send_is_claimed_by_one_of_many_processes(make: Callable[..., Ledger]) -> None:
    sends = make(60)
    workers = [f"here:{number}:0.00" for number in range(4)]
    claimed: list[str] = []
    while any(batch := [sends.claim(worker, limit=7).sends for worker in workers]):
        claimed += [send.lead_id for part in batch for send in part]
    assert sorted(claimed) == [lead_id(number) for number in range(1, 61)]
    with sends.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(nurture_sends)) == 60


def test_only_the_transport_that_took_a_send_is_asked_about_it(
    make: Callable[..., Ledger],
) -> None:
    sends = make(1)
    sends.send(sends.claim().sends[0], "unknown")
    sends.write(outcomes.reconcile, lambda _: False, transport="smtp mail.example")
    assert sends.states() == {"unknown": 1}


def test_what_was_claimed_before_the_machine_went_down_is_in_doubt(
    make: Callable[..., Ledger],
) -> None:
    """On SQLite the marks of attempts may be lost with the power, unlike the claim's."""
    sends = make(2)
    sends.claim()
    lost = "unknown" if sends.database.engine.dialect.name == "sqlite" else "planned"
    assert sends.recover(lambda _: True, boot="2") == {lost: 2}


def test_a_refusal_before_the_message_left_needs_no_attempt(make: Callable[..., Ledger]) -> None:
    sends = make(1)
    sends.record(sends.claim().sends[0], "rejected", fault="address")
    row = sends.row()
    assert (row["state"], row["fault"], row["attempts"]) == ("rejected", "address", 1)


def test_a_repeat_keeps_the_date_of_the_first_attempt(make: Callable[..., Ledger]) -> None:
    sends = make(1)
    first = sends.claim().sends[0]
    assert first.dated_at is None
    sends.send(first, "deferred")
    again = sends.claim(now=NOON + HOUR).sends[0]
    assert again.dated_at == NOON
    sends.send(again, "deferred", NOON + HOUR)
    assert sends.row()["dated_at"] == NOON


def test_a_mailbox_that_takes_nothing_for_a_week_counts_as_dead(
    make: Callable[..., Ledger],
) -> None:
    sends = make(1)
    states = []
    for day in (0, 3, 6.9, 7):
        now = NOON + timedelta(days=day)
        send = sends.claim(now=now).sends[0]
        assert sends.attempt(send, now=now)
        sends.record(send, "deferred", now, "lead")
        states.append((sends.row()["state"], sends.row()["fault"]))
    assert states == [("deferred", "lead")] * 3 + [("rejected", "address")]


def test_an_event_that_only_the_message_can_have_caused_proves_that_it_arrived(
    make: Callable[..., Ledger],
) -> None:
    sends = make(2)
    for send in sends.claim().sends:
        sends.send(send, "unknown")
    values = {"lead_id": lead_id(1), "kind": "click", "step": "intro", "happened_at": NOON}
    row = values | {"key": "1", "detail": "{}"}
    sends.write(lambda c, key: c.execute(sa.insert(events).values(campaign=key, **row)))
    settled = sends.write(outcomes.reconcile, lambda _: None, transport="smtp mail.example")
    assert settled == {"accepted": 1, "unknown": 1}
    assert sends.row(1)["state"] == "accepted"


def test_what_is_refused_too_often_waits_until_it_may_be_tried_again(
    make: Callable[..., Ledger],
) -> None:
    sends = make(2)
    until = NOON + HOUR / 4
    with sends.database.write(durable=True) as connection:
        claimed = claiming.claim(
            connection,
            sends.campaign,
            worker=WORKER,
            secret_key=SECRET,
            now=NOON,
            limit=9,
            closed={"provider company1.example": until},
        )
    assert [send.lead_id for send in claimed.sends] == [lead_id(2)]
    assert claimed.passed_over == {"refused too often of late": 1}
    assert (sends.row(1)["state"], sends.row(1)["due_at"]) == ("planned", until)


def test_two_steps_of_one_batch_are_marked_each_for_itself(make: Callable[..., Ledger]) -> None:
    """A lead of one step must not be marked for the step of another."""
    sends = make(2)
    second = sends.frame.assign(step="nudge", message_id=["<a@x>", "<b@x>"])
    frame = typed("nurture_sends", {name: second[name] for name in second})
    sender = sends.campaign.nurture.sender.address
    sends.write(lambda c, key: ledger.plan_sends(c, key, frame, sender=sender))
    claimed = sends.claim().sends
    assert len(claimed) == 4
    chosen = [
        s for s in claimed if (s.lead_id, s.step) in {(lead_id(1), "intro"), (lead_id(2), "nudge")}
    ]
    begun = sends.write(
        outcomes.begin_attempts, chosen, worker=WORKER, transport="outbox", dated=NOON, now=NOON
    )
    assert begun == {send.message_id for send in chosen}
    assert sends.states() == {"attempting": 2, "claimed": 2}


@pytest.mark.parametrize("query", ["due", "open", "unfollowed"])
def test_a_tick_looks_at_what_is_due_and_not_at_what_is_enrolled(
    make: Callable[..., Ledger], query: str
) -> None:
    """SQLite takes a partial index only if it can see its condition in the statement."""
    sends = make(1)
    if sends.database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans by the figures of the day")
    seen: list[str] = []
    sa.event.listen(
        sends.database.engine, "before_cursor_execute", lambda *given: seen.append(given[2:4])
    )
    if query == "due":
        sends.claim()
    elif query == "open":
        sends.recover(lambda _: True)
    else:
        sends.write(agenda.follow, NOON)
    plans = []
    with sends.database.read() as connection:
        for statement, parameters in list(seen):
            if statement.startswith(("SELECT", "UPDATE")) and "nurture_sends" in statement:
                explained = connection.exec_driver_sql(
                    f"EXPLAIN QUERY PLAN {statement}", parameters
                )
                plans += [row.detail for row in explained]
    assert any(f"ix_nurture_sends_{query} " in plan for plan in plans), plans
