"""What a lead did and what came of it, in words: events with their verdicts, and the handoff.

Not here: what was decided about it (`leads.explain`, which puts both together).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.store.escalations import escalations_of
from aicmo_dagster.store.events import events_of_lead
from aicmo_dagster.store.handoffs import handoff_of_lead
from aicmo_dagster.store.verdicts import verdicts_of_lead

_TOLD = ("scope", "matched_by", "failure", "status", "feedback", "returns_on", "asks_to_stop")
"""What of an event's detail is told; the words of a reply are not."""


@dataclass(frozen=True)
class Activity:
    """One thing that the lead did, or that was done with it at sales."""

    at: datetime
    stage: str
    outcome: str
    reason: str


def activities(connection: sa.Connection, campaign: str, lead_id: str) -> list[Activity]:
    """Everything the lead did that we know of, and its handoff; oldest first."""
    verdicts = verdicts_of_lead(connection, campaign, lead_id)
    found = []
    for row in events_of_lead(connection, campaign, lead_id):
        told = [f"step '{row['step']}'"] if row["step"] else []
        told += [f"{name} {value}" for name in _TOLD if (value := row["detail"].get(name))]
        if row["id"] in verdicts:
            verdict, rule = verdicts[row["id"]]
            told.append(f"judged {verdict} ({rule})")
        found.append(Activity(row["happened_at"], "events", row["kind"], ", ".join(told)))
    return sorted([*found, *_handed_over(connection, campaign, lead_id)], key=lambda each: each.at)


def _level_of(escalation: dict[str, Any]) -> str:
    return f"level {escalation['level']}, by {escalation['channel']}"


def _handed_over(connection: sa.Connection, campaign: str, lead_id: str) -> list[Activity]:
    row = handoff_of_lead(connection, campaign, lead_id)
    if row is None:
        return []
    where = f"to {row['destination']}"
    state = f"{where}: {row['state']}" + (f", {row['error']}" if row["error"] else "")
    told = [Activity(row["created_at"], "handoffs", "handed over", f"{row['reason']}, {state}")]
    if row["delivered_at"]:
        told.append(Activity(row["delivered_at"], "handoffs", "delivered", where))
    if row["acknowledged_at"]:
        by = f"by {row['acknowledged_by']}"
        told.append(Activity(row["acknowledged_at"], "handoffs", "taken up", by))
    told += [
        Activity(each["finished_at"], "escalations", each["state"], _level_of(each))
        for each in escalations_of(connection, campaign, lead_id)
        if each["finished_at"]
    ]
    return told
