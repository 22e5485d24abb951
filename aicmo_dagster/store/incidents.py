"""Incidents: each opened once, closed once, and told once of either.

Not here: what is wrong (`operating.incidents`), or where it is told (`operating.alerts`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.domain.incidents import Fault, Incident
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.tables import incidents

_INCIDENTS = incidents.c


@dataclass(frozen=True)
class Untold:
    """An incident whose beginning or end is to be told, and how often that was tried."""

    incident: Incident
    attempts: int


def note_faults(
    connection: sa.Connection, faults: Iterable[Fault], now: datetime
) -> tuple[list[Fault], list[Fault]]:
    """The open incidents are those of `faults`: which were opened by this, and which closed.

    One that is over before anybody was told of it is not told at all.
    """
    take_turn(connection, "incidents")
    found = {fault.key: fault for fault in faults}
    standing = {incident.fault.key: incident for incident in open_incidents(connection)}
    opened = [fault for key, fault in found.items() if key not in standing]
    closed = [incident for key, incident in standing.items() if key not in found]
    if opened:
        rows = [{**vars(f), "opened_at": now, "next_attempt_at": now} for f in opened]
        connection.execute(sa.insert(incidents), rows)
    if closed:
        waits = sa.case(
            (_INCIDENTS.told_at.is_not(None), sa.literal(now, _INCIDENTS.opened_at.type))
        )
        over = _INCIDENTS.id.in_([incident.number for incident in closed])
        values = {"closed_at": now, "next_attempt_at": waits, "attempts": 0, "error": None}
        connection.execute(sa.update(incidents).where(over).values(values))
    return opened, [incident.fault for incident in closed]


def open_incidents(connection: sa.Connection, campaign: str | None = None) -> list[Incident]:
    """The incidents that are not over, oldest first: of all, or of one campaign."""
    query = sa.select(incidents).where(_INCIDENTS.closed_at.is_(None)).order_by(_INCIDENTS.id)
    if campaign is not None:
        query = query.where(_INCIDENTS.campaign == campaign)
    return [_incident(row) for row in connection.execute(query)]


def anything_to_tell(connection: sa.Connection, now: datetime) -> bool:
    """Whether a notice is due."""
    return connection.scalar(sa.select(_due(now).exists())) or False


def claim_untold(connection: sa.Connection, now: datetime, until: datetime) -> Untold | None:
    """The oldest incident of which a notice is due, nobody else's until then."""
    take_turn(connection, "incidents")
    row = connection.execute(_due(now).order_by(_INCIDENTS.id).limit(1)).one_or_none()
    if row is None:
        return None
    attempts = row.attempts + 1
    _update(connection, row.id, attempts=attempts, next_attempt_at=until)
    return Untold(_incident(row), attempts)


def note_told(connection: sa.Connection, incident: Incident, now: datetime) -> None:
    """The notice has arrived; if the incident ended meanwhile, its end is due."""
    column = "end_told_at" if incident.closed_at else "told_at"
    ended = sa.select(_INCIDENTS.closed_at).where(_INCIDENTS.id == incident.number)
    closed_at = connection.scalar(ended)
    again = now if closed_at is not None and incident.closed_at is None else None
    values = {column: now, "next_attempt_at": again, "attempts": 0, "error": None}
    _update(connection, incident.number, **values)


def note_untold(
    connection: sa.Connection, incident: Incident, error: str, again_at: datetime | None
) -> None:
    """The notice has not arrived; it is tried again then, or never, or its end is told instead."""
    same = _INCIDENTS.closed_at.is_not_distinct_from(incident.closed_at)
    statement = sa.update(incidents).where(_INCIDENTS.id == incident.number, same)
    connection.execute(statement.values(error=error, next_attempt_at=again_at))


def forget_before(connection: sa.Connection, instant: datetime) -> int:
    """Incidents that were over before `instant` are gone."""
    return connection.execute(sa.delete(incidents).where(_INCIDENTS.closed_at < instant)).rowcount


def _due(now: datetime) -> sa.Select:
    return sa.select(incidents).where(
        _INCIDENTS.next_attempt_at.is_not(None), _INCIDENTS.next_attempt_at <= now
    )


def _update(connection: sa.Connection, number: int, **values: object) -> None:
    connection.execute(sa.update(incidents).where(_INCIDENTS.id == number).values(**values))


def _incident(row: sa.Row) -> Incident:
    fault = Fault(row.kind, row.campaign, row.subject, row.reason, row.run_id)
    return Incident(row.id, fault, row.opened_at, row.closed_at)
