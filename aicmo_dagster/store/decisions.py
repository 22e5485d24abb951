"""Decisions about leads: appended when they change, never altered, so that each can be explained.

Not here: deciding (`domain`), or what people decide against the rules (`overrides`).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow
import sqlalchemy as sa

from aicmo_dagster.store.loading import FEW, bulk_insert, staged
from aicmo_dagster.store.tables import decisions

_VERDICT = ("outcome", "reason", "decided_by")
_GIVEN = ["lead_id", *_VERDICT, "inputs"]
_COLUMNS = decisions.c
_TEXT = pd.ArrowDtype(pyarrow.string())


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
    shared = {} if inputs is None else {"inputs": json.dumps(inputs, sort_keys=True)}
    with recording(
        *(connection, campaign, stage),
        now=now,
        campaign_version=campaign_version,
        few=len(frame) < FEW,
    ) as record:
        record.add(frame.assign(**shared))
    return record.appended


class Recording:
    """Decisions of one stage, frame by frame, put into `into`; at the end, how many differ."""

    def __init__(
        self, connection: sa.Connection, into: sa.Table, constants: dict[str, Any]
    ) -> None:
        self._connection, self._into, self._constants = connection, into, constants
        self.appended = 0

    def add(self, frame: pd.DataFrame) -> None:
        """The decisions of `frame`, whose leads are in no other, with ``inputs`` (JSON)."""
        bulk_insert(self._connection, self._into, frame[_GIVEN], **self._constants)
        self.appended += len(frame)


@contextmanager
def recording(
    connection: sa.Connection,
    campaign: str,
    stage: str,
    *,
    now: datetime,
    campaign_version: int,
    few: bool = False,
) -> Iterator[Recording]:
    """What `record_decisions` does, for several frames.

    Whether they are the first of the stage is asked unless they are `few`: it takes a look at all
    of the campaign's decisions.
    """
    constants = {
        "campaign": campaign,
        "stage": stage,
        "decided_at": now,
        "campaign_version": campaign_version,
    }
    first = sa.select(_COLUMNS.id).where(_COLUMNS.campaign == campaign, _COLUMNS.stage == stage)
    # There is nothing to differ from then, and these are the most.
    if not few and connection.scalar(first.limit(1)) is None:
        yield Recording(connection, decisions, constants)
        return
    nothing = pd.DataFrame({name: pd.Series([], dtype=_TEXT) for name in _GIVEN})
    with staged(connection, decisions, nothing, **constants) as incoming:
        record = Recording(connection, incoming, constants)
        yield record
        connection.exec_driver_sql(f'ANALYZE "{incoming.name}"')  # of what is there by now
        names = [column.name for column in incoming.columns]
        changed = _changed(incoming, campaign, stage, few=few)
        statement = decisions.insert().from_select(names, changed)
        record.appended = connection.execute(statement).rowcount


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


def _changed(incoming: sa.Table, campaign: str, stage: str, *, few: bool) -> sa.Select:
    """The incoming rows that do not say what the latest decision on their lead says.

    By way of each lead's latest number: SQLite would go through all decisions for every lead if it
    were asked for those whose number is among the latest.
    """
    newest = (
        sa.select(_COLUMNS.lead_id, sa.func.max(_COLUMNS.id).label("id"))
        .where(_COLUMNS.campaign == campaign, _COLUMNS.stage == stage)
        .group_by(_COLUMNS.lead_id)
    )
    if few:  # then it is quicker to look each of them up than to go through all decisions
        newest = newest.where(_COLUMNS.lead_id.in_(sa.select(incoming.c.lead_id)))
    latest = newest.subquery("newest")
    known = incoming.outerjoin(latest, incoming.c.lead_id == latest.c.lead_id).outerjoin(
        decisions, _COLUMNS.id == latest.c.id
    )
    differs = [_COLUMNS[name] != incoming.c[name] for name in _VERDICT]
    return sa.select(incoming).select_from(known).where(sa.or_(_COLUMNS.id.is_(None), *differs))
