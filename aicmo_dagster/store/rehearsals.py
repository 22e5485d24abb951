"""How the rehearsal of each version of a campaign went. Not here: rehearsing."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.domain.nurture.rehearsal import Fault
from aicmo_dagster.store.tables import rehearsals
from aicmo_dagster.store.upserts import put_row

_ROWS = rehearsals.c


@dataclass(frozen=True)
class StoredRehearsal:
    """The rehearsal of one version, as it went last."""

    version: int
    passed: bool
    leads: int
    faults: tuple[Fault, ...]
    rehearsed_at: datetime


def record_rehearsal(
    connection: sa.Connection,
    campaign: str,
    version: int,
    faults: Sequence[Fault],
    leads: int,
    now: datetime,
) -> None:
    """The version was rehearsed over so many leads, and this was found."""
    put_row(
        connection,
        rehearsals,
        campaign=campaign,
        version=version,
        passed=not any(fault.blocks for fault in faults),
        leads=leads,
        findings=json.dumps([asdict(fault) for fault in faults]),
        rehearsed_at=now,
    )


def read_rehearsal(
    connection: sa.Connection, campaign: str, version: int
) -> StoredRehearsal | None:
    """How the rehearsal of the version went; none if there was none."""
    row = connection.execute(_READ, {"campaign": campaign, "version": version}).one_or_none()
    if row is None:
        return None
    faults = tuple(Fault(**told) for told in json.loads(row.findings))
    return StoredRehearsal(row.version, row.passed, row.leads, faults, row.rehearsed_at)


_READ = sa.select(rehearsals).where(
    _ROWS.campaign == sa.bindparam("campaign"), _ROWS.version == sa.bindparam("version")
)


def barred_versions(connection: sa.Connection, campaign: str) -> set[int]:
    """The versions whose rehearsal failed, so that nobody begins with them."""
    query = sa.select(_ROWS.version).where(_ROWS.campaign == campaign, _ROWS.passed.is_(False))
    return set(connection.scalars(query))
