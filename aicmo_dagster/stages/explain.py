"""Everything that was decided about one lead, oldest first. Not here: how it is shown."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.domain.scoring.scorecard import FEATURES
from aicmo_dagster.stages.activity import activities
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.decisions import history
from aicmo_dagster.store.leads import find_lead, read_leads, read_score
from aicmo_dagster.store.ledger import sends_of_lead
from aicmo_dagster.store.overrides import overrides_of_lead


@dataclass(frozen=True)
class Entry:
    """One thing that happened to the lead, or was decided about it."""

    at: datetime
    stage: str
    outcome: str
    reason: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Score:
    """The score as it stands, and what makes it up: (points, feature, description), most first."""

    score: float
    scale: str
    model: str
    contributions: tuple[tuple[float, str, str], ...]


@dataclass(frozen=True)
class Account:
    """The whole story of one lead in one campaign: its score now, and its history."""

    campaign: str
    lead_id: str
    score: Score | None
    entries: list[Entry]

    def as_document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        entries = [{**vars(entry), "at": entry.at.isoformat()} for entry in self.entries]
        return {**asdict(self), "entries": entries}


def explain_lead(workspace: Workspace, key: str, named: str) -> Account:
    """The account of the lead that `named` (an id or an address) is."""
    workspace.campaign(key)
    with workspace.database.read() as connection:
        lead_id = find_lead(connection, key, named)
        entries = [
            *_harvested(connection, key, lead_id),
            *_decided(connection, key, lead_id),
            *_overridden(connection, key, lead_id),
            *_sent(connection, key, lead_id),
            *_done(connection, key, lead_id),
        ]
        score = _score(connection, key, lead_id)
    return Account(key, lead_id, score, sorted(entries, key=lambda entry: entry.at))


def _harvested(connection: sa.Connection, key: str, lead_id: str) -> list[Entry]:
    lead = read_leads(connection, key, [lead_id])[lead_id]
    reason = f"from {lead['source']}; last seen {lead['last_seen_at']:%Y-%m-%d %H:%M} UTC"
    return [Entry(lead["first_seen_at"], "raw_leads", "harvested", reason)]


def _score(connection: sa.Connection, key: str, lead_id: str) -> Score | None:
    row = read_score(connection, key, lead_id)
    if row is None:
        return None
    points = json.loads(row["contributions"])
    described = {feature.name: feature.description for feature in FEATURES}
    contributions = tuple(
        (points[name], name, described.get(name, ""))
        for name in sorted(points, key=points.get, reverse=True)
    )
    return Score(row["score"], row["scale"], row["model"], contributions)


def _decided(connection: sa.Connection, key: str, lead_id: str) -> list[Entry]:
    return [
        Entry(
            decision.decided_at,
            decision.stage,
            decision.outcome,
            decision.reason,
            (f"by {decision.decided_by}, campaign version {decision.campaign_version}",),
        )
        for decision in history(connection, key, lead_id)
    ]


def _overridden(connection: sa.Connection, key: str, lead_id: str) -> list[Entry]:
    return [
        Entry(
            row["decided_at"],
            "overrides",
            row["action"],
            row["reason"],
            (f"by {row['decided_by']}",),
        )
        for row in overrides_of_lead(connection, key, lead_id)
    ]


def _sent(connection: sa.Connection, key: str, lead_id: str) -> list[Entry]:
    """Each send at the instant it was sent, else at the one it is due."""
    return [
        Entry(
            row["sent_at"] or row["due_at"],
            "nurture_sends",
            row["state"],
            f"step '{row['step']}' of '{row['sequence']}'"
            + (f", variant '{row['variant']}'" if row["variant"] else "")
            + (f": {row['reason']}" if row["reason"] else ""),
        )
        for row in sends_of_lead(connection, key, lead_id)
    ]


def _done(connection: sa.Connection, key: str, lead_id: str) -> list[Entry]:
    """What the lead did, and what came of it at sales."""
    return [
        Entry(each.at, each.stage, each.outcome, each.reason)
        for each in activities(connection, key, lead_id)
    ]
