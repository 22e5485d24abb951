"""Campaign documents as applied: each change a version, the key's row telling the current one.

Not here: reading and checking a document (`domain.campaigns`), or Dagster's partitions.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.errors import AicmoError, NotFound
from aicmo_dagster.store.tables import campaign_versions, campaigns
from aicmo_dagster.store.upserts import insert_once

ACTIVE = "active"
ARCHIVED = "archived"

_DOCUMENT = (  # made once: the figures of a small campaign take little longer than making it
    sa.select(campaign_versions.c.document).where(
        campaigns.c.campaign == sa.bindparam("key"),
        campaign_versions.c.campaign == campaigns.c.campaign,
        campaign_versions.c.version == campaigns.c.version,
    )
)


@dataclass(frozen=True)
class StoredCampaign:
    """One version of a campaign, with the templates its bodies name and the folder it is from."""

    campaign: Campaign
    version: int
    templates: dict[str, str]
    folder: Path
    state: str
    digest: str
    applied_at: datetime


@dataclass(frozen=True)
class CampaignSummary:
    """What a list of campaigns shows; `version` is the current one."""

    key: str
    name: str
    owner: str
    version: int
    state: str
    updated_at: datetime


def apply_campaign(
    connection: sa.Connection,
    campaign: Campaign,
    templates: dict[str, str],
    folder: Path,
    now: datetime,
) -> tuple[StoredCampaign, bool]:
    """The campaign is active in just this form; tells whether that took a new version."""
    key = campaign.campaign
    form: dict[str, Any] = {
        "document": campaign.model_dump(mode="json", by_alias=True),
        "templates": templates,
        "folder": str(folder),
    }
    digest = hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()
    row = _locked_row(connection, campaign, now)
    current = None if row.version == 0 else _version_row(connection, key, row.version)
    if current is not None and current.digest == digest:
        if row.state != ACTIVE:
            _update(connection, key, state=ACTIVE, updated_at=now, scheduled_since=now)
        return load_campaign(connection, key), False
    version = row.version + 1
    _add_version(connection, key, version, form, digest=digest, now=now)
    named = {"name": campaign.name, "owner": campaign.owner}
    schedule = json.dumps(form["document"]["schedule"], sort_keys=True)
    scheduled = _rescheduled(row, schedule, now)
    _update(connection, key, version=version, state=ACTIVE, updated_at=now, **named, **scheduled)
    return load_campaign(connection, key), True


def load_campaign(
    connection: sa.Connection, key: str, version: int | None = None
) -> StoredCampaign:
    """The campaign in its current version, or in `version`.

    Raises:
        NotFound: If there is no such campaign or version.
        AicmoError: If this AICMO cannot read it.
    """
    row = _row(connection, key)
    stored = _version_row(connection, key, row.version if version is None else version)
    if stored is None:
        raise NotFound(f"campaign {key!r} has no version {version}; its latest is {row.version}")
    return StoredCampaign(
        campaign=_document(key, stored),
        version=stored.version,
        templates=json.loads(stored.templates),
        folder=Path(stored.folder),
        state=row.state,
        digest=stored.digest,
        applied_at=stored.applied_at,
    )


def lock_campaign(connection: sa.Connection, key: str) -> StoredCampaign | None:
    """The campaign as it is until the end of this transaction; none if there is none."""
    query = sa.select(campaigns.c.campaign).where(campaigns.c.campaign == key)
    found = connection.execute(query.with_for_update()).one_or_none()
    return None if found is None else load_campaign(connection, key)


def lock_facts(connection: sa.Connection, key: str) -> dict[str, Any] | None:
    """Version, state and digest of the campaign, as they are until the end of this transaction.

    Also of one whose document this AICMO cannot read; none if there is no such campaign.
    """
    told = sa.select(campaigns.c.version, campaigns.c.state).where(campaigns.c.campaign == key)
    row = connection.execute(told.with_for_update()).one_or_none()
    stored = _version_row(connection, key, row.version) if row else None
    return {**row._mapping, "digest": stored.digest} if row and stored else None


def list_campaigns(
    connection: sa.Connection,
    *,
    after: str | None = None,
    limit: int | None = None,
    among: Collection[str] | None = None,
) -> list[CampaignSummary]:
    """Campaigns, archived ones too, by key.

    Args:
        connection: From `Database.read`.
        after: Only those whose key sorts after this.
        limit: How many at most; all unless given.
        among: Only those of these keys.
    """
    columns = campaigns.c
    statement = sa.select(
        columns.campaign.label("key"),
        columns.name,
        columns.owner,
        columns.version,
        columns.state,
        columns.updated_at,
    ).order_by(columns.campaign)
    if after is not None:
        statement = statement.where(columns.campaign > after)
    if among is not None:
        statement = statement.where(columns.campaign.in_(among))
    statement = statement.limit(limit)
    return [CampaignSummary(**row._mapping) for row in connection.execute(statement)]


def find_campaigns(
    connection: sa.Connection, text: str, among: Collection[str] | None, limit: int
) -> tuple[list[CampaignSummary], int]:
    """The first `limit` campaigns by key whose key or name holds `text`, and how many do."""
    names = [campaigns.c[name] for name in ("name", "owner", "version", "state", "updated_at")]
    holds = [column.icontains(text, autoescape=True) for column in (campaigns.c.campaign, names[0])]
    query = sa.select(campaigns.c.campaign.label("key"), *names).where(sa.or_(*holds))
    if among is not None:
        query = query.where(campaigns.c.campaign.in_(among))
    rows = connection.execute(query.order_by(campaigns.c.campaign).limit(limit))
    found = [CampaignSummary(**row._mapping) for row in rows]
    return found, connection.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0


def count_campaigns(connection: sa.Connection, among: Collection[str] | None) -> int:
    """How many campaigns there are, archived ones too, or how many of `among`."""
    query = sa.select(sa.func.count()).select_from(campaigns)
    if among is not None:
        query = query.where(campaigns.c.campaign.in_(among))
    return connection.scalar(query) or 0


def document_text(connection: sa.Connection, key: str) -> str:
    """The campaign's document in its current version, as it is stored: JSON with its defaults.

    Raises:
        NotFound: If there is no such campaign.
    """
    text: str | None = connection.scalar(_DOCUMENT, {"key": key})
    if text is None:
        raise _absent(key)
    return text


def archive_campaign(connection: sa.Connection, key: str, now: datetime) -> bool:
    """The campaign runs no more and keeps its history; tells whether it ran until now.

    Raises:
        NotFound: If there is no such campaign.
    """
    if _row(connection, key).state == ARCHIVED:
        return False
    _update(connection, key, state=ARCHIVED, updated_at=now)
    return True


def _locked_row(connection: sa.Connection, campaign: Campaign, now: datetime) -> sa.Row:
    """The campaign's row, new or not; whoever applies it at the same time waits here."""
    key = campaign.campaign
    insert_once(
        connection,
        campaigns,
        campaign=key,
        name=campaign.name,
        owner=campaign.owner,
        version=0,  # seen by no one else: the transaction that adds the row raises it
        state=ACTIVE,
        created_at=now,
        updated_at=now,
    )
    return _row(connection, key, lock=True)


def _rescheduled(row: sa.Row, schedule: str, now: datetime) -> dict[str, object]:
    """The schedule, and since when it counts: an edit does not fire for the past."""
    if row.schedule == schedule and row.state == ACTIVE:
        return {}
    return {"schedule": schedule, "scheduled_since": now}


def _row(connection: sa.Connection, key: str, *, lock: bool = False) -> sa.Row:
    statement = _ROW.with_for_update() if lock else _ROW
    row = connection.execute(statement, {"key": key}).one_or_none()
    if row is None:
        raise _absent(key)
    return row


_ROW = sa.select(campaigns).where(campaigns.c.campaign == sa.bindparam("key"))


def _absent(key: str) -> NotFound:
    return NotFound(f"there is no campaign {key!r}; 'aicmo campaign list' shows those there are")


def _version_row(connection: sa.Connection, key: str, version: int) -> sa.Row | None:
    return connection.execute(_VERSION, {"key": key, "version": version}).one_or_none()


_VERSION = sa.select(campaign_versions).where(
    campaign_versions.c.campaign == sa.bindparam("key"),
    campaign_versions.c.version == sa.bindparam("version"),
)


def _add_version(
    connection: sa.Connection,
    key: str,
    version: int,
    form: dict[str, Any],
    *,
    digest: str,
    now: datetime,
) -> None:
    connection.execute(
        campaign_versions.insert().values(
            campaign=key,
            version=version,
            digest=digest,
            document=json.dumps(form["document"], ensure_ascii=False),
            templates=json.dumps(form["templates"], ensure_ascii=False),
            folder=form["folder"],
            applied_at=now,
        )
    )


def _update(connection: sa.Connection, key: str, **values: object) -> None:
    connection.execute(campaigns.update().where(campaigns.c.campaign == key).values(**values))


def _document(key: str, stored: sa.Row) -> Campaign:
    try:
        return _parsed(stored.document)
    except ValidationError:
        pass
    raise AicmoError(
        f"campaign {key!r}, version {stored.version}, was stored by a version of AICMO with other "
        "rules; apply its file again"
    )


@lru_cache(maxsize=64)
def _parsed(document: str) -> Campaign:
    """Each pass asks for the same document many times, and nobody can change what it is given."""
    return Campaign.model_validate_json(document)
