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


def _latest_ids(campaign: str, stage: str) -> sa.Select[tuple[int]]:
    return (
        sa.select(sa.func.max(_COLUMNS.id))
        .where(_COLUMNS.campaign == campaign, _COLUMNS.stage == stage)
        .group_by(_COLUMNS.lead_id)
    )


def _changed(incoming: sa.Table, campaign: str, stage: str) -> sa.Select:
    """The incoming rows that do not say what the latest decision on their lead says."""
    latest = (
        sa.select(*(_COLUMNS[name] for name in ("lead_id", *_VERDICT)))
        .where(_COLUMNS.id.in_(_latest_ids(campaign, stage)))
        .subquery("latest")
    )
    known = incoming.outerjoin(latest, incoming.c.lead_id == latest.c.lead_id)
    differs = [latest.c[name] != incoming.c[name] for name in _VERDICT]
    return (
        sa.select(incoming).select_from(known).where(sa.or_(latest.c.lead_id.is_(None), *differs))
    )
