"""What sending promises, over random campaigns, histories and clocks, on a real ledger.

Planning and claiming run for days of a virtual clock while leads click, reply and are suppressed.
Each mail is judged by itself afterwards, from what is known of the lead.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.sections.nurture import WEEKDAYS
from aicmo_dagster.domain.tokens import address_key
from aicmo_dagster.stages.nurturing.planning import plan_due
from aicmo_dagster.store import claiming, outcomes
from aicmo_dagster.store.campaigns import apply_campaign, load_campaign
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.suppressions import suppress
from aicmo_dagster.store.tables import events
from aicmo_dagster_tests.samples import (
    NOON,
    SECRET,
    campaign,
    campaign_document,
    lead_id,
    raw_leads,
    routed_leads,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZONES = ["Europe/Oslo", "America/Havana", "Australia/Lord_Howe", "Asia/Kolkata"]
LEADS = 8


@dataclass(frozen=True)
class Mail:
    """One mail that went out."""

    lead: str
    step: str
    at: datetime
    domain: str


@dataclass
class World:
    """A campaign that runs on a virtual clock, and what happened in it."""

    database: Database
    document: Campaign
    mails: list[Mail] = field(default_factory=list)
    replied: dict[str, datetime] = field(default_factory=dict)
    suppressed: dict[str, datetime] = field(default_factory=dict)

    def prepare(self, zones: list[str]) -> None:
        raw = raw_leads(LEADS, timezone=zones, email=[address(n) for n in range(1, LEADS + 1)])
        with self.database.write() as connection:
            apply_campaign(connection, self.document, {}, Path("/"), NOON)
            replace_frame(connection, "raw_leads", "spring", raw)
            replace_frame(connection, "routed_leads", "spring", routed_leads(LEADS))

    def tick(self, now: datetime, fate: itertools.cycle) -> None:
        """One pass; each claimed mail is accepted, put off, or its claim given back."""
        with self.database.write() as connection:
            plan_due(connection, load_campaign(connection, "spring"), SECRET, now)
            claimed = claiming.claim(
                connection, self.document, worker="w", secret_key=SECRET, now=now, limit=5
            )
        for send in claimed.sends:
            state = next(fate)
            if state == "released":
                continue
            with self.database.write() as connection:
                told: Any = {"worker": "w", "now": now}
                outcomes.begin_attempts(
                    connection, "spring", [send], transport="t", dated=now, **told
                )
                said = [outcomes.Outcome(send, state, "said")]
                outcomes.record_outcomes(connection, "spring", said, **told)
            if state == "accepted":
                domain = send.email.rpartition("@")[2]
                self.mails.append(Mail(send.lead_id, send.step, now, domain))
        with self.database.write() as connection:
            outcomes.release(connection, "spring", worker="w")

    def happen(self, kind: str, number: int, now: datetime, count: int) -> None:
        lead = lead_id(number)
        with self.database.write() as connection:
            if kind == "suppression":
                key = address_key(SECRET, address(number))
                suppress(connection, "address", key, "asked", "me", now)
                self.suppressed.setdefault(lead, now)
                return
            row = {"lead_id": lead, "kind": kind, "happened_at": now, "key": f"{count}"}
            connection.execute(sa.insert(events).values(campaign="spring", detail="{}", **row))
        if kind == "reply":
            self.replied.setdefault(lead, now)


def address(number: int) -> str:
    """Four leads at each of two domains."""
    return f"lead{number}@company{number % 2}.example"


CAMPAIGNS = st.fixed_dictionaries(
    {
        "days": st.sets(st.sampled_from(WEEKDAYS), min_size=2),
        "opens": st.integers(0, 20),
        "length": st.integers(2, 24),
        "jitter_minutes": st.integers(0, 300),
        "per_day": st.integers(1, 6),
        "per_domain": st.integers(1, 3),
        "wait": st.integers(0, 4),
        "if_clicked": st.none() | st.integers(0, 4),
    }
)
MOMENTS = st.lists(
    st.tuples(
        st.integers(1, 30),
        st.none()
        | st.tuples(
            st.sampled_from(["click", "open", "reply", "suppression"]), st.integers(1, LEADS)
        ),
    ),
    min_size=5,
    max_size=25,
)
FATES = st.lists(
    st.sampled_from(["accepted", "accepted", "deferred", "released", "planned"]), min_size=1
)


def document(drawn: dict[str, Any]) -> Campaign:
    wait = {"days": drawn["wait"]}
    if drawn["if_clicked"] is not None:
        wait["if_clicked"] = drawn["if_clicked"]
    steps = [
        {"id": "a", "subject": "Hello", "body": "Hi"},
        {"id": "b", "wait": wait, "body": "Again"},
        {"id": "c", "wait": {"hours": 20}, "body": "Farewell"},
    ]
    closes = min(drawn["opens"] + drawn["length"], 24)
    nurture = campaign_document()["nurture"] | {
        "window": {
            "days": sorted(drawn["days"]),
            "hours": f"{drawn['opens']:02}:00-{closes:02}:00",
            "jitter_minutes": drawn["jitter_minutes"],
        },
        "caps": {
            "per_sender_per_day": drawn["per_day"],
            "per_domain_per_hour": drawn["per_domain"],
        },
    }
    return campaign(sequences={"everyone": {"steps": steps}}, nurture=nurture)


@settings(derandomize=True, deadline=None, max_examples=10)
@given(CAMPAIGNS, st.lists(st.sampled_from(ZONES), min_size=LEADS, max_size=LEADS), MOMENTS, FATES)
def test_every_mail_keeps_every_promise(
    new_sqlite: Callable[[], str],
    drawn: dict[str, Any],
    zones: list[str],
    moments: list[tuple[int, Any]],
    fates: list[str],
) -> None:
    database = open_database(new_sqlite())
    world = World(database, document(drawn))
    try:
        world.prepare(zones)
        now, fate = datetime(2026, 3, 26, 3, 17, tzinfo=NOON.tzinfo), itertools.cycle(fates)
        for count, (hours, happening) in enumerate(moments):
            now += hours * HOUR
            world.tick(now, fate)
            if happening:
                world.happen(*happening, now=now, count=count)
    finally:
        database.close()
    judge(world, drawn, dict(zip(map(lead_id, range(1, LEADS + 1)), zones, strict=True)))


def judge(world: World, drawn: dict[str, Any], zones: dict[str, str]) -> None:
    """Nothing twice, out of its window, too early, above a cap, or to who wants none."""
    sent = {(mail.lead, mail.step): mail.at for mail in world.mails}
    assert len(sent) == len(world.mails)
    shortest = min(drawn["wait"], *(n for n in [drawn["if_clicked"]] if n is not None), 99)
    for (lead, step), at in sent.items():
        zone = ZoneInfo(zones[lead])
        local = at.astimezone(zone)
        assert WEEKDAYS[local.weekday()] in drawn["days"]
        assert drawn["opens"] <= local.hour < drawn["opens"] + drawn["length"]
        assert at <= world.replied.get(lead, at)
        assert at <= world.suppressed.get(lead, at)
        if step == "b":
            before = sent[lead, "a"].astimezone(zone)
            assert (local.date() - before.date()).days >= shortest
        if step == "c":
            assert at - sent[lead, "b"] >= 20 * HOUR
    for mail in world.mails:
        day = [m for m in world.mails if mail.at - DAY < m.at <= mail.at]
        hour = [m for m in day if mail.at - HOUR < m.at and m.domain == mail.domain]
        assert len(day) <= drawn["per_day"]
        assert len(hour) <= drawn["per_domain"]
