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
from aicmo_dagster.store import ledger
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.overrides import add_override
from aicmo_dagster.store.suppressions import suppress
from aicmo_dagster.store.tables import events, handoffs, nurture_sends
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

    def claim(self, worker: str = WORKER, now: Any = NOON, limit: int = 100) -> ledger.Claim:
        with self.database.write(durable=True) as connection:
            return ledger.claim(
                connection,
                self.campaign,
                worker=worker,
                secret_key=SECRET,
                now=now,
                limit=limit,
            )

    def write(self, operation: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with self.database.write() as connection:
            return operation(connection, self.key, *arguments, **named)

    def attempt(self, send: ledger.Send, worker: str = WORKER, now: Any = NOON) -> bool:
        begin = partial(self.write, ledger.begin_attempt, transport="outbox")
        return begin(send, worker=worker, now=now)

    def send(self, send: ledger.Send, state: str = "accepted", now: Any = NOON) -> None:
        assert self.attempt(send, WORKER, now)
        record = partial(self.write, ledger.record_outcome)
        record(send, worker=WORKER, state=state, reply="a reply", now=now)

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


@pytest.mark.parametrize(("kind", "reason"), ledger.STOPPING_EVENTS.items())
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
    alive = sends.write(ledger.recover, has_ended=lambda _: False, now=NOON)
    assert alive == {}
    ended = sends.write(ledger.recover, has_ended=lambda worker: worker == WORKER, now=NOON)
    assert ended == {"unknown": 1, "planned": 1}
    assert sends.states() == {"unknown": 1, "planned": 1}


def test_a_worker_nobody_can_ask_about_loses_its_claim_after_the_lease(
    make: Callable[..., Ledger],
) -> None:
    sends = make(1)
    send = sends.claim().sends[0]
    later = NOON + ledger.LEASE + timedelta(seconds=1)
    assert sends.write(ledger.recover, has_ended=lambda _: False, now=later) == {"planned": 1}
    assert not sends.attempt(send, WORKER, later)


@pytest.mark.parametrize(
    ("arrived", "state"), [(True, "accepted"), (False, "planned"), (None, "unknown")]
)
def test_an_unknown_send_is_settled_by_what_the_transport_knows(
    make: Callable[..., Ledger], arrived: bool | None, state: str
) -> None:
    sends = make(1)
    sends.send(sends.claim().sends[0], "unknown")
    sends.write(ledger.reconcile, lambda _: arrived, transport="outbox")
    assert sends.states() == {state: 1}
    assert (sends.row()["sent_at"] == NOON) is (arrived is True)


def test_a_released_claim_is_free_for_others(make: Callable[..., Ledger]) -> None:
    sends = make(2)
    sends.claim()
    assert sends.write(ledger.release, worker=WORKER) == 2
    assert len(sends.claim(OTHER).sends) == 2


def test_a_send_that_cannot_be_written_is_held_with_its_reason(make: Callable[..., Ledger]) -> None:
    sends = make(1)
    send = sends.claim().sends[0]
    sends.write(ledger.hold, send, worker=WORKER, reason="no first_name", now=NOON)
    assert (sends.row()["state"], sends.row()["reason"]) == ("deferred", "no first_name")
    assert sends.claim(now=NOON + 23 * HOUR).looked_at == 0
    assert len(sends.claim(now=NOON + 24 * HOUR).sends) == 1


def test_the_outcome_of_an_attempt_taken_for_lost_still_counts(make: Callable[..., Ledger]) -> None:
    sends = make(1)
    send = sends.claim().sends[0]
    sends.attempt(send, WORKER)
    sends.write(ledger.recover, has_ended=lambda _: True, now=NOON)
    sends.write(ledger.record_outcome, send, worker=WORKER, state="accepted", reply="250", now=NOON)
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
    sends.write(ledger.reconcile, lambda _: False, transport="smtp mail.example")
    assert sends.states() == {"unknown": 1}
