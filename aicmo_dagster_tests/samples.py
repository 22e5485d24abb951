"""Small campaigns and leads for tests. Not here: databases (`conftest`)."""

from datetime import UTC, datetime
from typing import Any

import pandas as pd

from aicmo_dagster.domain.campaigns import Campaign, read_campaign
from aicmo_dagster.domain.schemas import typed

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
"""A Wednesday."""

SECRET = b"a key for tests"


def campaign_document(key: str = "spring", **changes: Any) -> dict[str, Any]:
    """A document that is in order: one sequence, open round the clock, no limits."""
    document = {
        "campaign": key,
        "name": "Spring",
        "owner": "owner@acme.example",
        "sources": [{"type": "csv", "path": "leads.csv", "columns": {"email": "Email"}}],
        "routing": {"sequences": [{"sequence": "everyone"}]},
        "sequences": {
            "everyone": {"steps": [{"id": "intro", "subject": "Hello", "body": "Good day."}]}
        },
        "nurture": {
            "sender": {
                "name": "Ida Berg",
                "address": "ida@acme.example",
                "postal_address": "Kai 7, 5003 Bergen",
            },
            "window": {
                "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
                "hours": "00:00-24:00",
            },
        },
    }
    return document | changes


def campaign(key: str = "spring", **changes: Any) -> Campaign:
    """`campaign_document` as a campaign."""
    return read_campaign(campaign_document(key, **changes), "test")


def lead_id(number: int) -> str:
    """A lead id that sorts by `number`."""
    return f"{number:020x}"


def raw_leads(count: int, **columns: Any) -> pd.DataFrame:
    """`count` raw leads at addresses of their own; `columns` say more of them."""
    numbers = range(1, count + 1)
    given = {
        "lead_id": [lead_id(number) for number in numbers],
        "email": [f"lead{number}@company{number}.example" for number in numbers],
        "domain": [f"company{number}.example" for number in numbers],
        "source": "csv-1",
        "sources": "csv-1",
        "origins": "{}",
        "custom": "{}",
        "first_seen_at": pd.Timestamp(NOON),
        "last_seen_at": pd.Timestamp(NOON),
    }
    frame = pd.DataFrame(given | columns)
    return typed("raw_leads", {name: frame[name] for name in frame})


def routed_leads(count: int, **columns: Any) -> pd.DataFrame:
    """`count` leads in the sequence `everyone`."""
    given = {
        "lead_id": [lead_id(number) for number in range(1, count + 1)],
        "sequence": "everyone",
        "campaign_version": 1,
        "seed": 0,
        "position": range(1, count + 1),
        "score": 50.0,
        "reason": "its turn",
        "routed_at": pd.Timestamp(NOON),
    }
    frame = pd.DataFrame(given | columns)
    return typed("routed_leads", {name: frame[name] for name in frame})


def leads_csv(count: int, start: int = 1) -> str:
    """A CSV with `count` leads at addresses of their own."""
    rows = (f"lead{n}@company{n}.example,Ann{n},Company {n}" for n in range(start, start + count))
    return "\n".join(["Email,First,Account", *rows]) + "\n"
