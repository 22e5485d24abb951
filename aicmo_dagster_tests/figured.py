"""A small campaign whose figures can be counted by hand. Not here: databases for it."""

from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.events import add_events, events_of_kind
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.handoffs import add_handoff
from aicmo_dagster.store.results import record_failure, record_success
from aicmo_dagster.store.tables import (
    breakers,
    engagement,
    handoffs,
    nurture_sends,
    provider_calls,
    rejects,
    sender_turns,
)
from aicmo_dagster_tests.samples import NOON, campaign, lead_id, raw_leads, routed_leads

DAY = timedelta(days=1)
SENDER = "ida@acme.example"


def figured_campaign(connection: sa.Connection, key: str, now: datetime = NOON) -> None:
    """The campaign `key` of ten leads, as of `now`: see each part for what it adds."""
    document = {"scoring": {"threshold": 60}}
    apply_campaign(connection, campaign(key, **document), {}, Path(), now)
    arrived = [now - DAY] * 4 + [now] * 6
    replace_frame(connection, "raw_leads", key, raw_leads(10, first_seen_at=arrived))
    _add(connection, rejects, key, source="csv-1", file="a", row=1, reason="r", content="{}")
    ids = [lead_id(number) for number in range(1, 11)]
    scores = [0.0, 12.5, 59.9, 60.0, 61.0, 64.9, 65.0, 90.0, 99.0, 100.0]
    scored = {"scale": "points", "model": "scorecard", "contributions": "{}"}
    both = {"lead_id": ids, "score": scores}
    replace_frame(connection, "scored_leads", key, typed("scored_leads", both | scored))
    best = {"lead_id": ids[3:], "score": scores[3:], "decided_by": "rules", "reason": "all hold"}
    replace_frame(connection, "qualified_leads", key, typed("qualified_leads", best))
    # Lead 3 qualifies no more and stays in its sequence; leads 8 to 10 are in none yet.
    routed = routed_leads(
        5, lead_id=ids[2:7], sequence=["everyone"] * 3 + ["late"] * 2, routed_at=now
    )
    replace_frame(connection, "routed_leads", key, routed)
    _mail(connection, key, now)
    _respond(connection, key, now)
    _run(connection, key, now)


def _mail(connection: sa.Connection, key: str, now: datetime) -> None:
    """Of eight messages six are sent, to five leads; one of these comes back."""
    _add(connection, sender_turns, key, sender=SENDER, asked_at=now)
    for number, step, state, sent_at in (
        (3, "intro", "accepted", now - DAY),
        (4, "intro", "accepted", now - DAY),
        (5, "intro", "accepted", now),
        (6, "intro", "accepted", now),
        (7, "intro", "accepted", now),
        (3, "nudge", "accepted", now),
        (4, "nudge", "rejected", None),
        (5, "nudge", "unknown", None),
        (6, "nudge", "planned", None),
    ):
        _add(
            connection,
            nurture_sends,
            key,
            lead_id=lead_id(number),
            sequence="everyone",
            step=step,
            campaign_version=1,
            message_id=f"<{key}.{number}.{step}@acme.example>",
            recipient_domain="acme.example",
            state=state,
            due_at=now - DAY,
            deadline_at=now,
            sent_at=sent_at,
            claimed_at=None if state == "planned" else sent_at or now,
            sender=SENDER,
        )


def _respond(connection: sa.Connection, key: str, now: datetime) -> None:
    """A person opens twice and clicks; scanners do more; one replies twice, one goes."""
    happened = [
        (3, "open", "intro", now, "human"),
        (3, "open", "intro", now + DAY, "human"),
        (4, "open", "intro", now, "proxy"),
        (5, "click", "intro", now, "machine"),
        (5, "click", "intro", now, "machine"),
        (3, "click", "intro", now, "human"),
        (6, "click", "intro", now, "pending"),
        (4, "bounce", "intro", now, None),
        (3, "reply", None, now, None),
        (3, "reply", None, now + DAY, None),
        (6, "unsubscribe", None, now, None),
        (7, "complaint", None, now, None),
    ]
    rows = [
        {
            **{"campaign": key, "lead_id": lead_id(number), "kind": kind, "step": step},
            **{"happened_at": at, "key": f"{key}:{place}", "detail": "{}"},
        }
        for place, (number, kind, step, at, _) in enumerate(happened)
    ]
    add_events(connection, rows)
    kept = events_of_kind(connection, key, {kind for _, kind, _, _, _ in happened})
    for event, (number, kind, step, at, verdict) in zip(kept["id"], happened, strict=True):
        if verdict:
            told = {"verdict": verdict, "rule": "none", "rules_version": 1}
            of = {"lead_id": lead_id(number), "kind": kind, "step": step, "happened_at": at}
            _add(connection, engagement, key, event_id=event, **of, **told)
    for number in (3, 5):
        add_handoff(connection, key, lead_id(number), "webhook", f"{key}{number}", "r", {}, now)
    dead = (handoffs.c.campaign == key) & (handoffs.c.lead_id == lead_id(5))
    connection.execute(sa.update(handoffs).where(dead).values(state="dead"))


def _run(connection: sa.Connection, key: str, now: datetime) -> None:
    """Harvesting took 10 and 20 seconds, nurturing failed, and 12.5 credits were spent."""
    for run, seconds in (("a", 10), ("b", 20)):
        record_success(
            connection,
            key,
            "raw_leads",
            run_id=run,
            started_at=now,
            finished_at=now + timedelta(seconds=seconds),
            rows_in=11,
            rows_out=10,
            figures={},
        )
    _fail(connection, key, "nurture_sends", now)
    record_success(
        connection,
        key,
        "score_model",
        run_id="c",
        started_at=now,
        finished_at=now + timedelta(seconds=5),
        rows_in=10,
        rows_out=0,
        figures={"drifted": 2},
    )
    for number, (state, credits) in enumerate(
        (("done", 2.5), ("unknown", None), ("refused", None))
    ):
        _add(
            connection,
            provider_calls,
            key,
            provider="apollo",
            operation="enrich",
            key=f"{key}{number}",
            state=state,
            credits=credits,
            credits_at_most=10.0,
            started_at=now,
            detail="",
        )
    of = {"sender": f"{key}@acme.example"}
    _add(connection, sender_turns, key, asked_at=now, **of)
    opened = {"scope": "provider gmail", "failures": 5, "open_until": now + DAY}
    connection.execute(breakers.insert().values(**of, **opened))


def _fail(connection: sa.Connection, key: str, stage: str, at: datetime) -> None:
    record_failure(
        connection, key, stage, run_id="b", started_at=at, finished_at=at, failure="no server"
    )


def _add(connection: sa.Connection, table: sa.Table, of: str, **values: object) -> None:
    connection.execute(table.insert().values({"campaign": of, **values}))
