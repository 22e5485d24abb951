"""The audit: every change made through the API or the command line, by whom, before and after.

It is appended to only. Ids, versions and states stand in it, never personal data. Not here: what is
decided about leads (`decisions`, `overrides`), models that are trained (`models`), and runs that
are started at the command line, which Dagster keeps.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.store.tables import audit

_AUDIT = audit.c
Facts = Mapping[str, Any] | None


@dataclass(frozen=True)
class AuditEntry:
    """One change; `before` is none of what is new, `after` none of what is gone."""

    id: int
    at: datetime
    who: str
    action: str
    campaign: str | None
    subject: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def record_change(
    connection: sa.Connection,
    who: str,
    action: str,
    now: datetime,
    *,
    campaign: str | None = None,
    subject: str | None = None,
    before: Facts = None,
    after: Facts = None,
) -> None:
    """The change is on record, in the transaction that makes it.

    Args:
        connection: From `Database.write`.
        who: ``token:ID``, or ``cli:USER`` on the machine itself.
        action: What was done to what, such as ``campaign.archive``.
        now: When.
        campaign: The campaign it is about, if it is about one.
        subject: The id of what it is about, such as a lead's or a run's.
        before: What was changed, as it was; plain values for JSON.
        after: The same, as it is now.
    """
    connection.execute(
        audit.insert().values(
            at=now,
            who=who,
            action=action,
            campaign=campaign,
            subject=subject,
            before=_text(before),
            after=_text(after),
        )
    )


def list_changes(
    connection: sa.Connection,
    limit: int,
    *,
    before_id: int | None = None,
    campaign: str | None = None,
    campaigns: Collection[str] | None = None,
) -> list[AuditEntry]:
    """Up to `limit` changes, the latest first.

    Args:
        connection: From `Database.read`.
        limit: How many at most.
        before_id: Only those older than the one of this id.
        campaign: Only those of this campaign.
        campaigns: Only those of these campaigns.
    """
    query = sa.select(audit).order_by(_AUDIT.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(_AUDIT.id < before_id)
    if campaign is not None:
        query = query.where(_AUDIT.campaign == campaign)
    if campaigns is not None:
        query = query.where(_AUDIT.campaign.in_(campaigns))
    return [_entry(row) for row in connection.execute(query).mappings()]


def _entry(row: sa.RowMapping) -> AuditEntry:
    facts = {name: row[name] and json.loads(row[name]) for name in ("before", "after")}
    return AuditEntry(**{**row, **facts})


def _text(facts: Facts) -> str | None:
    return None if facts is None else json.dumps(facts, sort_keys=True, ensure_ascii=False)
