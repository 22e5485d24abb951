"""Caps with memory: shared by workers, campaigns and restarts."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.nurture import caps
from aicmo_dagster.domain.nurture.ramp import Record
from aicmo_dagster.store import pacing
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.tables import events, nurture_sends
from aicmo_dagster_tests.samples import NOON, campaign, lead_id
from aicmo_dagster_tests.store.test_ledger import OTHER, WORKER, Ledger, limited

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SENDER = "ida@acme.example"


@pytest.fixture
def make(database: Database) -> Callable[..., Ledger]:
    def make(leads: int, key: str = "spring", columns: Any = None, **limits: Any) -> Ledger:
        document = campaign(key, nurture=limited(**limits))
        return Ledger(database, document, leads, **(columns or {}))

    return make


def report(database: Database, kind: str, *numbers: int, at: Any = NOON) -> None:
    rows = [
        {
            "campaign": "spring",
            "lead_id": lead_id(number),
            "kind": kind,
            "happened_at": at,
            "key": f"{kind}{number}",
            "detail": "{}",
        }
        for number in numbers
    ]
    with database.write() as connection:
        connection.execute(sa.insert(events), rows)


def test_the_hourly_cap_counts_every_campaign_of_the_sender(make: Callable[..., Ledger]) -> None:
    first, second = make(3, per_sender_per_hour=4), make(3, "autumn", per_sender_per_hour=4)
    assert len(first.claim().sends) == 3
    assert len(second.claim(OTHER).sends) == 1
    assert second.claim(OTHER).passed_over == {caps.SENDER_HOUR: 2}
    assert len(second.claim(OTHER, now=NOON + HOUR).sends) == 2


def test_a_campaign_s_own_cap_leaves_the_sender_s_others_alone(
    make: Callable[..., Ledger],
) -> None:
    first, second = make(3, per_campaign_per_day=2), make(3, "autumn")
    assert len(first.claim().sends) == 2
    assert first.claim().passed_over == {caps.CAMPAIGN: 1}
    assert len(second.claim().sends) == 3
    assert len(first.claim(now=NOON + DAY).sends) == 1


def test_a_mail_sent_long_after_its_claim_counts_from_when_it_was_sent(
    make: Callable[..., Ledger],
) -> None:
    sends = make(2, per_sender_per_day=1)
    sends.send(sends.claim().sends[0], now=NOON + HOUR / 2)
    assert sends.claim(now=NOON + DAY).sends == []
    assert len(sends.claim(now=NOON + DAY + HOUR / 2).sends) == 1


def test_a_provider_s_cap_holds_over_its_domains(
    make: Callable[..., Ledger], database: Database
) -> None:
    addresses = ["a@one.example", "b@two.example", "c@three.example"]
    sends = make(3, columns={"email": addresses}, per_provider_per_hour=1)
    with database.write() as connection:
        hosted = [("one.example", "google"), ("two.example", "google")]
        pacing.know_providers(connection, hosted, NOON)
    claimed = sends.claim()
    assert [send.lead_id for send in claimed.sends] == [lead_id(1), lead_id(3)]
    assert claimed.passed_over == {caps.PROVIDER: 1}
    assert sends.claim(now=NOON + HOUR / 2).sends == []
    assert len(sends.claim(now=NOON + HOUR).sends) == 1


def test_only_domains_that_are_not_known_are_asked_about(
    make: Callable[..., Ledger], database: Database
) -> None:
    make(3)
    with database.write() as connection:
        pacing.know_providers(connection, [("company1.example", "google")], NOON)
        asked = pacing.domains_to_ask_about(connection, "spring", NOON, 10)
        later = pacing.domains_to_ask_about(connection, "spring", NOON + pacing.KNOWN_FOR, 10)
    assert sorted(asked) == ["company2.example", "company3.example"]
    assert len(later) == 3


def test_follow_ups_go_before_first_messages(
    make: Callable[..., Ledger], database: Database
) -> None:
    sends = make(4)
    first = sa.update(nurture_sends).where(nurture_sends.c.lead_id < lead_id(3))
    with database.write() as connection:
        connection.execute(first.values(priority=1, due_at=NOON - DAY))
    assert [send.lead_id for send in sends.claim(limit=3).sends] == [
        lead_id(3),
        lead_id(4),
        lead_id(1),
    ]


def test_campaigns_of_one_sender_take_turns(make: Callable[..., Ledger]) -> None:
    first, second = make(30, per_sender_per_day=10), make(30, "autumn", per_sender_per_day=10)
    assert len(first.claim().sends) == 10  # nobody else had asked
    assert second.claim(OTHER).sends == []
    tomorrow = NOON + DAY + HOUR
    assert len(first.claim(now=tomorrow).sends) == 5
    assert first.claim(now=tomorrow).passed_over == {caps.OTHERS: 15}
    assert len(second.claim(OTHER, now=tomorrow).sends) == 5


def test_a_campaign_that_asks_no_more_leaves_its_share(make: Callable[..., Ledger]) -> None:
    first, second = make(30, per_sender_per_day=10), make(30, "autumn", per_sender_per_day=10)
    second.claim(OTHER, now=NOON - 3 * DAY)
    assert len(first.claim().sends) == 10


def test_a_ramp_rises_after_a_day_with_mail_and_survives_restarts(
    make: Callable[..., Ledger], database: Database
) -> None:
    ramp = {"start": 2, "step": 3}
    sends = make(30, ramp=ramp)
    for send in sends.claim().sends:
        sends.send(send)
    assert sends.claim().sends == []
    assert len(sends.claim(now=NOON + DAY + HOUR).sends) == 5
    with database.read() as connection:
        pace = pacing.pace_of(connection, SENDER)
    assert pace is not None
    assert (pace.level, pace.health) == (1, "good")


def test_a_ramp_goes_back_on_bounces(make: Callable[..., Ledger], database: Database) -> None:
    sends = make(40, ramp={"start": 10, "step": 5})
    for send in sends.claim().sends:
        sends.send(send)
    for send in sends.claim(now=NOON + DAY).sends:
        sends.send(send, now=NOON + DAY)
    report(database, "bounce", 1, 2, 3, at=NOON + DAY)
    assert sends.claim(now=NOON + DAY + 2 * HOUR).sends == []
    with database.read() as connection:
        pace = pacing.pace_of(connection, SENDER)
        record = pacing.record_of(connection, SENDER, NOON)
    assert record == Record(25, 3, 0)
    assert pace is not None
    assert (pace.level, pace.health) == (0, "back")


def test_complaints_halt_a_sender_until_they_are_a_week_old(
    make: Callable[..., Ledger], database: Database
) -> None:
    sends = make(60)
    for send in sends.claim(limit=50).sends:
        sends.send(send)
    report(database, "complaint", 1, 2)
    assert sends.claim(now=NOON + 2 * HOUR).passed_over == {caps.HALTED: 10}
    assert len(sends.claim(now=NOON + 8 * DAY).sends) == 10


def test_what_the_server_refused_counts_as_a_bounce(make: Callable[..., Ledger]) -> None:
    sends = make(3)
    first, *others = sends.claim().sends
    sends.send(first, "rejected")
    for send in others:
        sends.send(send)
    with sends.database.read() as connection:
        assert pacing.record_of(connection, SENDER, NOON) == Record(3, 1, 0)
        assert pacing.record_of(connection, "else@acme.example", NOON) == Record(0)


def test_two_workers_share_one_allowance(make: Callable[..., Ledger]) -> None:
    sends = make(30, per_sender_per_day=8)
    claimed = [sends.claim(worker, limit=3).sends for worker in (WORKER, OTHER) * 3]
    assert sum(map(len, claimed)) == 8
