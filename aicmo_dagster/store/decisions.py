"""Decisions about leads: appended when they change, never altered, so that each can be explained.

Not here: deciding (`domain`), or what people decide against the rules (`overrides`).
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.store.database import staged
from aicmo_dagster.store.tables import decisions

_VERDICT = ("outcome", "reason", "decided_by")
_COLUMNS = decisions.c


@dataclass(frozen=True)
class Decision:
    """What a stage decided about a lead, and on what grounds."""

    stage: str
    outcome: str
    reason: str
    decided_by: str
    decided_at: datetime
    campaign_version: int
    inputs: dict[str, Any]


def record_decisions(
    connection: sa.Connection,
    campaign: str,
    stage: str,
    frame: pd.DataFrame,
    *,
    now: datetime,
    campaign_version: int,
    inputs: dict[str, Any] | None = None,
) -> int:
    """Decisions that differ from the latest on their lead and stage are appended; tells how many.

    `frame` has one row a lead: ``lead_id``, ``outcome``, ``reason``, ``decided_by``. `inputs` says
    what else all were decided by, such as the model's version; where the leads differ in that, the
    frame has a column ``inputs`` of JSON instead.
    """
    constants = {
        "campaign": campaign,
        "stage": stage,
        "decided_at": now,
        "campaign_version": campaign_version,
    }
    columns = frame[["lead_id", *_VERDICT]].assign(
        inputs=frame["inputs"] if inputs is None else json.dumps(inputs, sort_keys=True)
    )
    with staged(connection, decisions, columns, **constants) as incoming:
        names = [column.name for column in incoming.columns]
        changed = _changed(incoming, campaign, stage)
        return connection.execute(decisions.insert().from_select(names, changed)).rowcount


def history(connection: sa.Connection, campaign: str, lead_id: str) -> list[Decision]:
    """Everything decided about the lead, oldest first."""
    names = ("stage", *_VERDICT, "decided_at", "campaign_version", "inputs")
    statement = (
        sa.select(*(_COLUMNS[name] for name in names))
        .where(_COLUMNS.campaign == campaign, _COLUMNS.lead_id == lead_id)
        .order_by(_COLUMNS.id)
    )
    return [
        Decision(**{**row, "inputs": json.loads(row["inputs"])})
        for row in connection.execute(statement).mappings()
    ]


def _changed(incoming: sa.Table, campaign: str, stage: str) -> sa.Select:
    """The incoming rows that do not say what the latest decision on their lead says.

    By way of each lead's latest number: SQLite would go through all decisions for every lead if it
    were asked for those whose number is among the latest.
    """
    newest = (
        sa.select(_COLUMNS.lead_id, sa.func.max(_COLUMNS.id).label("id"))
        .where(_COLUMNS.campaign == campaign, _COLUMNS.stage == stage)
        .group_by(_COLUMNS.lead_id)
        .subquery("newest")
    )
    known = incoming.outerjoin(newest, incoming.c.lead_id == newest.c.lead_id).outerjoin(
        decisions, _COLUMNS.id == newest.c.id
    )
    differs = [_COLUMNS[name] != incoming.c[name] for name in _VERDICT]
    return sa.select(incoming).select_from(known).where(sa.or_(_COLUMNS.id.is_(None), *differs))
