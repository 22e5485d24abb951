"""The figures of a campaign, or of several together, read in one snapshot of the database.

Not here: what they are (`domain.figures`), or counting them (`store.figures`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.domain.counts import Known, figures
from aicmo_dagster.domain.figures import Figures, VariantFigure
from aicmo_dagster.domain.nurture.ramp import Record
from aicmo_dagster.stages.nurturing.experiments import stored_rows
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import count_campaigns, document_text
from aicmo_dagster.store.figures import Scope, read_counts
from aicmo_dagster.store.troubles import read_troubles, records_of, senders_of

WINDOW_DAYS = 30
"""How many days back figures are told by day unless said otherwise."""

Document = dict[str, Any]


Records = Callable[[Sequence[str], datetime], Mapping[str, Record]]
"""Senders to their last days, from what has kept them for a while; called without a connection."""


def campaign_figures(
    workspace: Workspace,
    key: str,
    now: datetime,
    records: Records | None = None,
    days: int = WINDOW_DAYS,
) -> Figures:
    """The figures of the campaign `key` at `now`, the last `days` of them by day.

    Raises:
        AicmoError: If there is no such campaign.
    """
    return _figures(workspace, {key}, now, records, days, key)


def overall_figures(
    workspace: Workspace,
    scope: Scope,
    now: datetime,
    records: Records | None = None,
    days: int = WINDOW_DAYS,
) -> Figures:
    """The figures of the campaigns of `scope` together; of all of them if there is none."""
    return _figures(workspace, scope, now, records, days, None)


def _figures(
    workspace: Workspace,
    scope: Scope,
    now: datetime,
    records: Records | None,
    days: int,
    key: str | None,
) -> Figures:
    first = now - timedelta(days=days - 1)
    begin = first.replace(hour=0, minute=0, second=0, microsecond=0)
    with workspace.database.read() as connection:
        known = _known(connection, scope, now, begin, key)
        senders = senders_of(connection, scope)
        told = records_of(connection, senders, now) if records is None else {}
        counts = read_counts(connection, scope, begin)
    # Not before: whoever holds a connection while waiting for another waits for all who do so.
    return figures(counts, replace(known, senders=records(senders, now) if records else told))


def _known(
    connection: sa.Connection, scope: Scope, now: datetime, begin: datetime, key: str | None
) -> Known:
    """What there is beside the counts, but for the senders."""
    # As text: what is needed of it is little, and to check it again is dear.
    document = json.loads(document_text(connection, key)) if key else None
    return Known(
        campaigns=1 if document else count_campaigns(connection, scope),
        first_day=begin.date(),
        last_day=now.date(),
        threshold=document["scoring"]["threshold"] if document else None,
        capacities=_capacities(document) if document else {},
        senders={},
        experiments=_variants(connection, key) if key else [],
        troubles=[asdict(each) for each in read_troubles(connection, scope, now)],
    )


def _capacities(document: Document) -> dict[str, int | None]:
    return {route["sequence"]: route["capacity"] for route in document["routing"]["sequences"]}


def _variants(connection: sa.Connection, key: str) -> list[dict[str, Any]]:
    names = list(VariantFigure.model_fields)
    return [{name: row.get(name) for name in names} for row in stored_rows(connection, key)]
