"""Leads that were imported: CSV text in compressed chunks, so that every worker sees it.

An upload counts once it is whole. Not here: what its columns mean, or reading it as CSV
(`harvesting.imports`).
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

import sqlalchemy as sa

from aicmo_dagster.errors import NotFound
from aicmo_dagster.store.database import Database, take_turn
from aicmo_dagster.store.tables import upload_chunks, uploads

ABANDONED_AFTER = timedelta(days=1)

_UPLOADS = uploads.c
_CHUNKS = upload_chunks.c


@dataclass(frozen=True)
class Upload:
    """A file of leads of a campaign.

    Args:
        id: Its number, by which it is a source: ``import-ID``.
        campaign: The campaign.
        name: What its sender calls it; of a name there is one in a campaign.
        digest: Of what was sent and of `columns`.
        columns: Our field to their column.
        rows: How many records it has.
        rejected: How many of them cannot be read.
        created_by: Who sent it.
        created_at: When.
    """

    id: int
    campaign: str
    name: str
    digest: str
    columns: dict[str, str]
    rows: int
    rejected: int
    created_by: str
    created_at: datetime


def put_upload(
    database: Database,
    campaign: str,
    name: str,
    digest: str,
    columns: Mapping[str, str],
    counts: tuple[int, int],
    created_by: str,
    now: datetime,
    content: Iterable[bytes],
) -> int:
    """The upload is kept, not whole yet: `complete` makes it count. Tells its id.

    Each chunk has a transaction of its own, so that others write in between.

    Args:
        database: Where to.
        campaign: The campaign.
        name: The upload's name.
        digest: Of what was sent and of `columns`.
        columns: Our field to their column.
        counts: Its records, and those of them that cannot be read.
        created_by: Who sent it.
        now: When; what was left unfinished a day before is removed.
        content: UTF-8 text, in pieces of some megabytes.
    """
    with database.write() as connection:
        remove_abandoned(connection, now)
        statement = uploads.insert().values(
            campaign=campaign,
            name=name,
            digest=digest,
            columns=json.dumps(columns, ensure_ascii=False),
            rows=counts[0],
            rejected=counts[1],
            created_by=created_by,
            created_at=now,
            is_whole=False,
        )
        number = int(connection.execute(statement.returning(_UPLOADS.id)).scalar_one())
    for position, chunk in enumerate(content):
        with database.write() as connection:
            _add_chunk(connection, number, position, chunk)
    return number


def complete(connection: sa.Connection, upload: int) -> None:
    """The upload counts from now on, and earlier ones of its campaign and name are gone."""
    row = connection.execute(sa.select(uploads).where(_UPLOADS.id == upload)).one()
    take_turn(connection, f"uploads of {row.campaign}")
    same = (_UPLOADS.campaign == row.campaign) & (_UPLOADS.name == row.name)
    _remove(connection, same & _UPLOADS.is_whole)
    connection.execute(uploads.update().where(_UPLOADS.id == upload).values(is_whole=True))


def remove_abandoned(connection: sa.Connection, now: datetime) -> None:
    """What was left unfinished a day before is gone."""
    _remove(connection, ~_UPLOADS.is_whole & (_UPLOADS.created_at < now - ABANDONED_AFTER))


def list_uploads(connection: sa.Connection, campaign: str | None = None) -> list[Upload]:
    """The whole uploads of the campaign, or of all campaigns, by id."""
    columns = [column for column in _UPLOADS if column.name != "is_whole"]
    query = sa.select(*columns).where(_UPLOADS.is_whole).order_by(_UPLOADS.id)
    if campaign is not None:
        query = query.where(_UPLOADS.campaign == campaign)
    return [
        Upload(**{**row, "columns": json.loads(row["columns"])})
        for row in connection.execute(query).mappings()
    ]


def read_content(database: Database, upload: int) -> Iterator[bytes]:
    """The text of the upload, chunk by chunk, each read for itself."""
    with database.read() as connection:  # of one snapshot: it may be replaced meanwhile
        yield from _content(connection, upload)


def replace_content(connection: sa.Connection, upload: int, content: Iterable[bytes]) -> None:
    """The text of the upload is `content`."""
    connection.execute(upload_chunks.delete().where(_CHUNKS.upload == upload))
    for position, chunk in enumerate(content):
        _add_chunk(connection, upload, position, chunk)


def remove_upload(connection: sa.Connection, campaign: str, upload: int) -> Upload:
    """The upload is no source any more; leads that came of it stay. Tells what it was.

    Raises:
        NotFound: If the campaign has no such upload.
    """
    for found in list_uploads(connection, campaign):
        if found.id == upload:
            _remove(connection, _UPLOADS.id == upload)
            return found
    raise NotFound(f"campaign {campaign!r} has no import {upload}")


def locked_content(connection: sa.Connection, upload: int) -> bytes:
    """The text of the upload, which nobody replaces before the transaction ends; empty if gone."""
    mine = sa.select(_UPLOADS.id).where(_UPLOADS.id == upload).with_for_update()
    found = connection.execute(mine).one_or_none()
    return b"".join(_content(connection, upload)) if found else b""


def _content(connection: sa.Connection, upload: int) -> Iterator[bytes]:
    for position in count():
        query = sa.select(_CHUNKS.content).where(
            _CHUNKS.upload == upload, _CHUNKS.number == position
        )
        content = connection.scalar(query)
        if content is None:
            return
        yield zlib.decompress(content)


def _add_chunk(connection: sa.Connection, upload: int, position: int, chunk: bytes) -> None:
    values = {"upload": upload, "number": position, "content": zlib.compress(chunk, 1)}
    connection.execute(upload_chunks.insert().values(**values))


def _remove(connection: sa.Connection, where: sa.ColumnElement[bool]) -> None:
    numbers = sa.select(_UPLOADS.id).where(where)
    connection.execute(upload_chunks.delete().where(_CHUNKS.upload.in_(numbers)))
    connection.execute(uploads.delete().where(where))
