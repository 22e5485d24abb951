"""Frames and a campaign to store. Not here: databases to store them in (`conftest`)."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign, read_campaign
from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.tables import lead_aliases, nurture_sends

NOW = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
TEXT = pd.ArrowDtype(pa.string())
INSTANT = pd.ArrowDtype(pa.timestamp("us", tz="UTC"))


def lead(number: int) -> str:
    """The id of a lead."""
    return f"{number:020x}"


def scored(scores: Sequence[float], *, first: int = 0) -> pd.DataFrame:
    """Valid scored leads with these scores."""
    return typed(
        "scored_leads",
        {
            "lead_id": [lead(number) for number in range(first, first + len(scores))],
            "score": list(scores),
            "scale": "points",
            "model": "scorecard",
            "contributions": "{}",
        },
    )


def raw(count: int, **columns: object) -> pd.DataFrame:
    """Valid raw leads, with these columns instead of the usual ones."""
    given: dict[str, Any] = {
        "lead_id": [lead(number) for number in range(count)],
        "source": "csv-1",
        "sources": "csv-1",
        "origins": "{}",
        "custom": "{}",
        "first_seen_at": pd.Timestamp(NOW),
        "last_seen_at": pd.Timestamp(NOW),
    }
    return typed("raw_leads", {**given, **columns})


def texts(**columns: Sequence[object]) -> pd.DataFrame:
    """A frame of text."""
    return pd.DataFrame(columns).astype(TEXT)


def aliases(*names: str, of: str = "x") -> pd.DataFrame:
    """Rows of `lead_aliases` but for their campaign."""
    return texts(alias=list(names), lead_id=[of] * len(names))


def stored(database: Database, table: sa.Table = lead_aliases) -> list[tuple[object, ...]]:
    """All that is in `table`, in the order of its key."""
    with database.read() as connection:
        statement = sa.select(table).order_by(*table.primary_key)
        return [tuple(row) for row in connection.execute(statement)]


def sends(
    database: Database, campaign: str, *, number: int = 0, step: str, state: str, **values: Any
) -> None:
    """A send of lead `number` in the ledger."""
    row = {
        "lead_id": lead(number),
        "sequence": "everyone",
        "campaign_version": 1,
        "message_id": f"<{campaign}.{number}.{step}@acme.example>",
        "recipient_domain": "acme.example",
        "due_at": NOW,
        "deadline_at": NOW,
        "sender": "ida@acme.example",
        "attempts": 0,
    }
    with database.write() as connection:
        connection.execute(
            nurture_sends.insert().values(
                **(row | values), campaign=campaign, step=step, state=state
            )
        )


def campaign(key: str = "nordic", **parts: object) -> Campaign:
    """A valid campaign with a rule, a tree and most sections, some of them replaced."""
    document = json.loads(_DOCUMENT)
    return read_campaign({**document, "campaign": key, **parts}, "a test")


_DOCUMENT = """{
  "campaign": "nordic", "name": "Nordic, høst", "owner": "growth@acme.example",
  "goals": {"replies": 40},
  "schedule": {"harvest": "0 6 * * 1-5", "timezone": "Europe/Oslo"},
  "sources": [
    {"type": "csv", "path": "leads/*.csv", "columns": {"email": "Work Email"}},
    {"type": "apollo", "search": {"person_titles": ["head of sales"]}, "max_leads": 10}
  ],
  "scoring": {"threshold": 60, "budget": {"annual_revenue": [5000000, null]}},
  "qualification": {
    "rules": [{"name": "size", "field": "employees", "op": "between", "value": [11, 1000]}],
    "tree": {
      "if": {"field": "seniority", "op": "in", "value": ["owner"]},
      "then": "qualify",
      "else": {
        "if": {"field": "score", "op": ">=", "value": 75}, "then": "qualify", "else": "reject"
      }
    }
  },
  "routing": {"sequences": [
    {"sequence": "all", "when": {"field": "country", "op": "in", "value": ["NO"]}}
  ]},
  "sequences": {"all": {"steps": [{"id": "intro", "subject": "Hi", "body": "Hello"}]}},
  "nurture": {"sender": {
    "name": "Ida", "address": "ida@acme.example", "postal_address": "Kai 7, 5003 Bergen"
  }}
}"""
