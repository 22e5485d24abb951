"""A database of many campaigns with leads, mail and events, put there in bulk. Not here: asking."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.settings import Settings
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.loading import bulk_insert
from aicmo_dagster.store.results import record_success
from aicmo_dagster.store.tables import FRAME_TABLES, engagement, events, nurture_sends, sender_turns
from aicmo_dagster.store.tokens import create_token
from aicmo_dagster_tests.samples import NOON, SECRET, campaign, lead_id, raw_leads, routed_leads

TEXT = pd.ArrowDtype(pa.string())


UNLIMITED = "100000000/minute"
"""A rate of requests that nobody reaches."""


def served_database(scratch: Path, campaigns: int, leads: int) -> tuple[Settings, str]:
    """Settings with a database of `leads` in the campaigns c0, c1 and so on; a viewer's token."""
    url = f"sqlite:///{scratch / 'aicmo.db'}"
    database = open_database(url)
    fill(database, [f"c{number}" for number in range(campaigns)], leads)
    with database.write() as connection:
        _, token = create_token(connection, "viewer", None, "bench", datetime.now(UTC))
    database.close()
    secret = SECRET.decode()
    return Settings(scratch, url, scratch, configured_secret_key=secret, api_rate=UNLIMITED), token


def fill(database: Database, keys: list[str], leads: int) -> None:
    """The campaigns `keys` share the `leads`, who are all mailed; one in ten opens and clicks."""
    numbers = np.arange(leads)
    owner = pd.Series([keys[number % len(keys)] for number in numbers], dtype=TEXT)
    ids = [lead_id(number + 1) for number in numbers]
    at = pd.Series(pd.Timestamp(NOON) - pd.to_timedelta(numbers % 30, unit="D"))
    scores = (numbers * 37 % 100).astype(float)
    with database.write() as connection:
        for key in keys:
            apply_campaign(connection, campaign(key), {}, Path(), NOON)
        _runs(connection, keys)
        scored = {"lead_id": ids, "score": scores, "scale": "points", "model": "scorecard"}
        judged = {"lead_id": ids, "score": scores, "decided_by": "rules", "reason": "all hold"}
        for stage, frame in (
            ("raw_leads", raw_leads(leads, first_seen_at=at)),
            ("scored_leads", typed("scored_leads", scored | {"contributions": "{}"})),
            ("qualified_leads", typed("qualified_leads", judged)),
            ("routed_leads", routed_leads(leads, routed_at=at)),
        ):
            bulk_insert(connection, FRAME_TABLES[stage], frame.assign(campaign=owner))
        _mail(connection, owner, ids, at)
        _events(connection, owner[::10], ids[::10], at[::10])


def _runs(connection: sa.Connection, keys: list[str]) -> None:
    for key in keys:
        turn = {"sender": "ida@acme.example", "campaign": key, "asked_at": NOON}
        connection.execute(sender_turns.insert().values(**turn))
        for stage in FRAME_TABLES:
            record_success(
                connection,
                key,
                stage,
                run_id="a",
                started_at=NOON,
                finished_at=NOON + timedelta(seconds=2),
                rows_in=1,
                rows_out=1,
                figures={},
            )


def _mail(connection: sa.Connection, owner: pd.Series, ids: list[str], at: pd.Series) -> None:
    given = {"lead_id": ids, "sequence": "everyone", "step": "intro", "campaign_version": 1}
    message = [f"<{name}@acme.example>" for name in ids]
    states = {"state": "accepted", "due_at": at, "sent_at": at}
    named = {"message_id": message, "recipient_domain": "company.example"}
    frame = typed("nurture_sends", given | named | states).assign(campaign=owner)
    told = {"sender": "ida@acme.example", "attempts": 1, "priority": 0}
    frame = frame.assign(deadline_at=at, claimed_at=at)
    bulk_insert(connection, nurture_sends, frame, **told)


def _events(connection: sa.Connection, owner: pd.Series, ids: list[str], at: pd.Series) -> None:
    start = 0
    for kind in ("open", "click", "reply"):
        columns = {"campaign": owner.to_numpy(), "lead_id": ids, "step": "intro", "kind": kind}
        frame = pd.DataFrame(columns).astype(TEXT)
        frame = frame.assign(happened_at=at.to_numpy(), id=range(start, start + len(ids)))
        frame["happened_at"] = pd.to_datetime(frame["happened_at"], utc=True)
        start += len(ids)
        key = pd.Series([f"{kind}{name}" for name in ids], dtype=TEXT)
        bulk_insert(connection, events, frame.assign(key=key), detail="{}")
        if kind != "reply":
            judged = {"verdict": "human", "rule": "none applies", "rules_version": 1}
            bulk_insert(connection, engagement, frame.rename(columns={"id": "event_id"}), **judged)
