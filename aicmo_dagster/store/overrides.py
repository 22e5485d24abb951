"""What people decide against the rules, lead by lead: kept until it expires or is withdrawn.

Not here: how a stage obeys (`domain.qualification`, `domain.routing`, `ledger`).
"""

import re
from datetime import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.tables import overrides

KINDS = ("verdict", "route", "pace")
"""What an action is about; of each kind, a lead's latest override counts."""

_ACTION = re.compile(r"qualify|reject|pause|resume|route:[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_TOLD = ("lead_id", "action", "reason", "decided_by", "decided_at", "expires_at")
_COLUMNS = overrides.c
_KIND: sa.ColumnElement[str] = sa.case(
    (_COLUMNS.action.in_(("qualify", "reject")), "verdict"),
    (_COLUMNS.action.in_(("pause", "resume")), "pace"),
    else_="route",
)


def add_override(
    connection: sa.Connection,
    campaign: str,
    lead_id: str,
    action: str,
    reason: str,
    decided_by: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> int:
    """The override holds from now on; tells its id.

    Raises:
        BadInput: If `action` is none that is known.
    """
    if not _ACTION.fullmatch(action):
        expected = "qualify, reject, route:SEQUENCE, pause or resume"
        raise BadInput(Problem("override", "action", repr(action), expected))
    statement = overrides.insert().values(
        campaign=campaign,
        lead_id=lead_id,
        action=action,
        reason=reason,
        decided_by=decided_by,
        decided_at=now,
        expires_at=expires_at,
    )
    return connection.execute(statement.returning(_COLUMNS.id)).scalar_one()


def active_overrides(connection: sa.Connection, campaign: str, now: datetime) -> pd.DataFrame:
    """The latest override in force of each lead and kind.

    Returns:
        lead_id, action, reason, decided_by, decided_at, expires_at.
    """
    return fetch_frame(connection, _ACTIVE, {"campaign": campaign, "now": now})


def leads_overridden(
    connection: sa.Connection, campaign: str, now: datetime
) -> dict[str, frozenset[str]]:
    """Action to the leads that it is in force for, of which there are usually few or none."""
    found: dict[str, set[str]] = {}
    for action, lead_id in connection.execute(_ACTIONS, {"campaign": campaign, "now": now}):
        found.setdefault(action, set()).add(lead_id)
    return {action: frozenset(leads) for action, leads in found.items()}


def withdraw(
    connection: sa.Connection, campaign: str, lead_id: str, kind: str, now: datetime
) -> int:
    """No override of `kind`, one of `KINDS`, holds for the lead any more; tells how many did.

    Earlier ones go too: they were replaced, and nobody expects them back.
    """
    statement = (
        overrides.update()
        .where(*_in_force(campaign, now), _COLUMNS.lead_id == lead_id, _KIND == kind)  # noqa: SIM300 - _KIND is a column
        .values(withdrawn_at=now)
    )
    return connection.execute(statement).rowcount


def _is_latest(
    campaign: str | sa.BindParameter[str], now: datetime | sa.BindParameter[datetime]
) -> sa.ColumnElement[bool]:
    """An override is in force, and the latest of its lead and kind."""
    latest = (
        sa.select(sa.func.max(_COLUMNS.id))
        .where(*_in_force(campaign, now))
        .group_by(_COLUMNS.lead_id, _KIND)
    )
    return _COLUMNS.id.in_(latest)


def _in_force(
    campaign: str | sa.BindParameter[str], now: datetime | sa.BindParameter[datetime]
) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _COLUMNS.campaign == campaign,
        _COLUMNS.withdrawn_at.is_(None),
        _COLUMNS.expires_at.is_(None) | (_COLUMNS.expires_at > now),
    )


_ACTIONS = sa.select(_COLUMNS.action, _COLUMNS.lead_id).where(
    _is_latest(sa.bindparam("campaign"), sa.bindparam("now"))
)
PAUSED = sa.select(_COLUMNS.lead_id).where(
    _is_latest(sa.bindparam("campaign"), sa.bindparam("now")), _COLUMNS.action == "pause"
)
"""The leads of `campaign` that are paused at `now`."""
_ACTIVE = (
    sa.select(*(_COLUMNS[name] for name in _TOLD))
    .where(_is_latest(sa.bindparam("campaign"), sa.bindparam("now")))
    .order_by(_COLUMNS.lead_id, _COLUMNS.id)
)


def list_overrides(
    connection: sa.Connection, campaign: str, now: datetime, *, ended: bool
) -> list[dict[str, Any]]:
    """The overrides in force, oldest first; with `ended`, withdrawn and expired ones too.

    Each has `state`: `in force`, `replaced` by a later one of its lead and kind, `withdrawn`, or
    `expired`.
    """
    latest = sa.select(sa.func.max(_COLUMNS.id)).where(*_in_force(campaign, now))
    state = sa.case(
        (_COLUMNS.withdrawn_at.is_not(None), "withdrawn"),
        (_COLUMNS.expires_at <= now, "expired"),
        (_COLUMNS.id.in_(latest.group_by(_COLUMNS.lead_id, _KIND)), "in force"),
        else_="replaced",
    )
    statement = sa.select(overrides, state.label("state")).where(_COLUMNS.campaign == campaign)
    rows = connection.execute(statement.order_by(_COLUMNS.id)).mappings()
    return [dict(row) for row in rows if ended or row["state"] == "in force"]


def overrides_of_lead(
    connection: sa.Connection, campaign: str, lead_id: str
) -> list[dict[str, Any]]:
    """Every override of one lead, oldest first, withdrawn and expired ones too."""
    statement = (
        sa.select(overrides)
        .where(_COLUMNS.campaign == campaign, _COLUMNS.lead_id == lead_id)
        .order_by(_COLUMNS.id)
    )
    return [dict(row) for row in connection.execute(statement).mappings()]
