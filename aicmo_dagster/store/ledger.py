"""The ledger of sends: one row a campaign, lead and step, planned once and claimed when due.

planned → claimed → attempting → accepted | deferred | rejected | unknown; deferred comes back when
due, and what must not be sent any more is cancelled.

Not here: claiming (`claiming`), attempts and what came of them (`outcomes`), rendering and delivery
(`mail`), what is due (`domain.nurture.planning`).
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.nurture.planning import DEADLINE
from aicmo_dagster.store.index_conditions import written_out
from aicmo_dagster.store.loading import insert_new
from aicmo_dagster.store.tables import nurture_sends

WAITING = ("planned", "deferred")
OPEN = ("claimed", "attempting", "unknown")
"""States of a send whose worker may still tell what came of it."""
TOLD = ("accepted", "cancelled", "deferred", "rejected")
"""States of a send of which it is known what came of it."""

_SENDS = nurture_sends.c


class Send(NamedTuple):
    """One row of the ledger that a worker holds.

    Args:
        lead_id: The lead.
        sequence: The sequence that the lead is in.
        step: The step of it.
        variant: The variant of the step, if it has any.
        campaign_version: The version of the campaign document that the lead follows.
        message_id: Derived from campaign, lead and step.
        email: Where to.
        recipient_domain: The part of it after the @.
        attempts: How often it was tried.
        dated_at: The date its message bears since it was first tried.
    """

    lead_id: str
    sequence: str
    step: str
    variant: str | None
    campaign_version: int
    message_id: str
    email: str
    recipient_domain: str
    attempts: int
    dated_at: datetime | None = None


def plan_sends(
    connection: sa.Connection, campaign: str, sends: pd.DataFrame, *, sender: str
) -> int:
    """Adds the sends of a `NurtureSends` frame that are not in the ledger yet; tells how many."""
    frame = sends.assign(
        sender=sender, deadline_at=sends["due_at"] + pd.Timedelta(DEADLINE), attempts=0
    )
    return insert_new(connection, nurture_sends, frame, campaign=campaign)


def threads(
    connection: sa.Connection, campaign: str, lead_ids: Collection[str]
) -> dict[str, list[tuple[str, str]]]:
    """Each lead's accepted sends as (step, Message-ID), oldest first, for follow-ups."""
    query = (
        sa.select(_SENDS.lead_id, _SENDS.step, _SENDS.message_id)
        .where(
            _SENDS.campaign == campaign,
            _SENDS.lead_id.in_(lead_ids),
            _SENDS.state.in_(("accepted", "unknown")),
        )
        .order_by(_SENDS.sent_at, _SENDS.due_at)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for lead_id, step, message_id in connection.execute(query):
        found.setdefault(lead_id, []).append((step, message_id))
    return found


def state_counts(connection: sa.Connection, campaign: str) -> dict[str, int]:
    """Sends by state, those that there are none of left out.

    By the indexes alone: the sends themselves are not looked at, of which there may be millions.
    """
    counts: dict[str, int] = {}
    for query in _COUNTS:
        counts |= dict(connection.execute(query, {"campaign": campaign}).all())
    # Whatever is in no other state: twice as quick as to count those of that one.
    planned = (connection.scalar(_ALL, {"campaign": campaign}) or 0) - sum(counts.values())
    return counts | ({"planned": planned} if planned > 0 else {})


def in_states(
    campaign: str | sa.BindParameter[str], states: tuple[str, ...]
) -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions of being in one of `WAITING`, `OPEN` or `TOLD`, each of which has an index."""
    return (_SENDS.campaign == campaign, written_out(_SENDS.state, states))


_COUNTS = tuple(
    sa.select(_SENDS.state, sa.func.count())
    .where(*in_states(sa.bindparam("campaign"), states))
    .group_by(_SENDS.state)
    for states in (OPEN, TOLD)
)
_ALL = sa.select(sa.func.count()).where(_SENDS.campaign == sa.bindparam("campaign"))


def sends_of_lead(connection: sa.Connection, campaign: str, lead_id: str) -> list[dict[str, Any]]:
    """Every send of one lead, in the order they are due."""
    query = (
        sa.select(nurture_sends)
        .where(_SENDS.campaign == campaign, _SENDS.lead_id == lead_id)
        .order_by(_SENDS.due_at)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def advance(connection: sa.Connection, campaign: str, changes: Iterable[dict[str, Any]]) -> None:
    """Applies changes to sends named by at_lead and at_step, similar ones together."""
    by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for change in changes:
        by_columns.setdefault(tuple(sorted(change)), []).append(change)
    for columns, alike in by_columns.items():
        values: dict[str, Any] = {
            name: sa.bindparam(name) for name in columns if not name.startswith("at_")
        }
        statement = (
            sa.update(nurture_sends)
            .where(
                _SENDS.campaign == campaign,
                _SENDS.lead_id == sa.bindparam("at_lead"),
                _SENDS.step == sa.bindparam("at_step"),
            )
            .values({"reason": None} | values)
        )
        connection.execute(statement, alike)
