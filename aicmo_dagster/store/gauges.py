"""Figures of the whole installation, as monitoring asks for them every minute.

Each is one statement over an index or a small table. Not here: figures of one campaign over time.
"""

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.index_conditions import written_out
from aicmo_dagster.store.tables import (
    FRAME_TABLES,
    events,
    handoffs,
    nurture_sends,
    stage_results,
    stage_states,
    ticks,
    webhook_deliveries,
)

Counts = dict[tuple[str, str], int]
"""(campaign, stage, state or kind) to how many."""


def leads_by_stage(connection: sa.Connection) -> Counts:
    """(campaign, stage) to how many leads are in the stage's frame now."""
    return {
        (campaign, stage): count
        for stage, table in FRAME_TABLES.items()
        for campaign, count in _grouped(connection, table.c.campaign)
    }


def sends_by_state(connection: sa.Connection) -> Counts:
    """(campaign, state) to how many messages of the ledger are in it."""
    columns = nurture_sends.c
    return {(c, s): n for c, s, n in _grouped(connection, columns.campaign, columns.state)}


def events_by_kind(connection: sa.Connection) -> Counts:
    """(campaign, kind) to how many events there are, whoever made them."""
    columns = events.c
    return {(c, k): n for c, k, n in _grouped(connection, columns.campaign, columns.kind)}


def stage_durations(connection: sa.Connection) -> dict[tuple[str, str], tuple[float, datetime]]:
    """(campaign, stage) to how many seconds it took when it was last done, and when that was."""
    states, results = stage_states.c, stage_results.c
    query = sa.select(states.campaign, states.stage, results.started_at, results.finished_at).join(
        stage_results,
        (results.campaign == states.campaign)
        & (results.stage == states.stage)
        & (results.finished_at == states.succeeded_at),
    )
    return {
        (row.campaign, row.stage): (
            (row.finished_at - row.started_at).total_seconds(),
            row.finished_at,
        )
        for row in connection.execute(query)
    }


def queue_depths(connection: sa.Connection, now: datetime) -> dict[str, int]:
    """Queue to how much of it is due and waits: sends, handoffs, webhooks, ticks."""
    sends, due = nurture_sends.c, sa.func.count()
    waits = written_out(sends.state, ("planned", "deferred"))
    queries = {
        "sends": sa.select(due).where(waits, sends.due_at <= now),
        "handoffs": _due(handoffs, now),
        "webhooks": _due(webhook_deliveries, now),
        "ticks": sa.select(due).where(written_out(ticks.c.state, ["claimed"])),
    }
    return {name: connection.scalar(query) or 0 for name, query in queries.items()}


def _due(table: sa.Table, now: datetime) -> sa.Select:
    is_due = written_out(table.c.state, ["due"])
    return sa.select(sa.func.count()).where(is_due, table.c.next_attempt_at <= now)


def _grouped(connection: sa.Connection, *columns: sa.Column) -> Iterator[sa.Row]:
    return iter(connection.execute(sa.select(*columns, sa.func.count()).group_by(*columns)))
