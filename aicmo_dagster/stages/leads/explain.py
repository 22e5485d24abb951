"""Everything that was decided about one lead, oldest first. Not here: how it is shown."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.domain.provenance import SEPARATOR
from aicmo_dagster.domain.scoring.dimensions import Dimension
from aicmo_dagster.domain.scoring.explanation import Explanation, explain_score
from aicmo_dagster.domain.scoring.model_documents import from_document
from aicmo_dagster.domain.scoring.model_frames import model_columns
from aicmo_dagster.domain.scoring.scorecard import VERSION, looked_at
from aicmo_dagster.domain.sections.scoring import Scoring
from aicmo_dagster.stages.deciding.grounds import grounds
from aicmo_dagster.stages.engaging.activity import activities
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.decisions import history
from aicmo_dagster.store.leads import find_lead, read_lead_rows, read_leads, read_score
from aicmo_dagster.store.ledger import sends_of_lead
from aicmo_dagster.store.models import find_model
from aicmo_dagster.store.overrides import overrides_of_lead
from aicmo_dagster.store.provider_answers import answers_of_lead


@dataclass(frozen=True)
class Entry:
    """One thing that happened to the lead, or was decided about it."""

    at: datetime
    stage: str
    outcome: str
    reason: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Account:
    """The whole story of one lead in one campaign: its score now, and its history."""

    campaign: str
    lead_id: str
    score: Explanation | None
    entries: list[Entry]

    def as_document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        entries = [{**vars(entry), "at": entry.at.isoformat()} for entry in self.entries]
        return {**asdict(self), "entries": entries}


def explain_lead(workspace: Workspace, key: str, named: str, now: datetime) -> Account:
    """The account of the lead that `named` (an id or an address) is.

    Its score is the stored one; the values told with the reasons are those of `now`.
    """
    scoring = workspace.campaign(key).campaign.scoring
    with workspace.database.read() as connection:
        lead_id = find_lead(connection, key, named)
        entries = [
            *_harvested(connection, key, lead_id),
            *_answered(connection, key, lead_id),
            *_decided(connection, key, lead_id),
            *_overridden(connection, key, lead_id),
            *_sent(connection, key, lead_id),
            *_done(connection, key, lead_id),
        ]
        score = _score(connection, key, lead_id, scoring, now)
    return Account(key, lead_id, score, sorted(entries, key=lambda entry: entry.at))


def _harvested(connection: sa.Connection, key: str, lead_id: str) -> list[Entry]:
    lead = read_leads(connection, key, [lead_id])[lead_id]
    reason = f"from {lead['source']}; last seen {lead['last_seen_at']:%Y-%m-%d %H:%M} UTC"
    details = _provenance(lead["source"], lead["sources"], json.loads(lead["origins"]))
    return [Entry(lead["first_seen_at"], "raw_leads", "harvested", reason, details)]


def _provenance(source: str, sources: str, origins: dict[str, str]) -> tuple[str, ...]:
    """What is from another source than the lead's own, a line for each, and who else knew it."""
    fields: dict[str, list[str]] = {}
    for name, origin in origins.items():
        fields.setdefault(origin, []).append(name)
    lines = [f"from {origin}: {', '.join(names)}" for origin, names in sorted(fields.items())]
    silent = sorted({*sources.split(SEPARATOR)} - {source, *fields})
    return (*lines, *(f"also held by {name}, of which no field is" for name in silent))


def _answered(connection: sa.Connection, key: str, lead_id: str) -> list[Entry]:
    """What each provider said of the lead's address, and when; not the address."""
    return [
        Entry(
            answer.answered_at,
            "provider_answers",
            answer.status,
            f"{answer.provider}: an address that may be written to"
            if answer.usable
            else f"{answer.provider}: no address that may be written to",
            (
                f"told of: {', '.join(sorted(answer.answer)) or 'nothing'}",
                "answered before, so free of charge"
                if answer.cached
                else f"{answer.credits:g} credits",
            ),
        )
        for answer in answers_of_lead(connection, key, lead_id)
    ]


def _score(
    connection: sa.Connection, key: str, lead_id: str, scoring: Scoring, now: datetime
) -> Explanation | None:
    row = read_score(connection, key, lead_id)
    if row is None:
        return None
    lead = read_lead_rows(connection, key, [lead_id])
    dimensions: Mapping[str, Dimension]
    if row["model"] == VERSION:
        dimensions, columns = looked_at(lead, scoring, now)
    else:
        model = from_document(find_model(connection, key, row["model"]).document)
        dimensions = {dimension.name: dimension for dimension in model.dimensions}
        columns = model_columns(model, lead, scoring, now)
    values = {str(name): column.iloc[0] for name, column in columns.items()}
    return explain_score(row, json.loads(row["contributions"]), dimensions, values)


def _decided(connection: sa.Connection, key: str, lead_id: str) -> list[Entry]:
    decisions = history(connection, key, lead_id)
    told = grounds(connection, key, lead_id, decisions)
    return [
        Entry(each.decided_at, each.stage, each.outcome, each.reason, details)
        for each, details in zip(decisions, told, strict=True)
    ]


def _overridden(connection: sa.Connection, key: str, lead_id: str) -> list[Entry]:
    return [
        Entry(
            row["decided_at"],
            "overrides",
            row["action"],
            row["reason"],
            (f"by {row['decided_by']}{_end(row)}",),
        )
        for row in overrides_of_lead(connection, key, lead_id)
    ]


def _end(override: dict[str, Any]) -> str:
    """When an override ends or ended, if it does."""
    if override["withdrawn_at"] is not None:
        return f", withdrawn {override['withdrawn_at']:%Y-%m-%d %H:%M} UTC"
    if override["expires_at"] is not None:
        return f", until {override['expires_at']:%Y-%m-%d %H:%M} UTC"
    return ""


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
