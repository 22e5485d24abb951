"""Mail that came in: how far each mailbox was read, and which message was handled already.

A message is known by its content, so that it is handled once even where a mailbox gives it twice.
Not here: reading mail (`mail.inbound`), or what follows (`engaging.listen`).
"""

from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.tables import inbound_cursors, inbound_messages
from aicmo_dagster.store.upserts import insert_once


def read_cursor(connection: sa.Connection, mailbox: str) -> str | None:
    """Where reading of the mailbox goes on; nothing before the first time."""
    query = sa.select(inbound_cursors.c.cursor).where(inbound_cursors.c.mailbox == mailbox)
    return connection.scalar(query)


def move_cursor(connection: sa.Connection, mailbox: str, cursor: str, now: datetime) -> None:
    """The next reading of the mailbox goes on from `cursor`."""
    if not insert_once(connection, inbound_cursors, mailbox=mailbox, cursor=cursor, moved_at=now):
        connection.execute(
            sa.update(inbound_cursors)
            .where(inbound_cursors.c.mailbox == mailbox)
            .values(cursor=cursor, moved_at=now)
        )


def begin_message(connection: sa.Connection, key: str, now: datetime) -> bool:
    """Whether the message of this key is new; what follows belongs in the same transaction."""
    return insert_once(connection, inbound_messages, key=key, kind="", reason="", handled_at=now)


def describe_message(
    connection: sa.Connection,
    key: str,
    kind: str,
    reason: str,
    campaign: str | None = None,
    lead_id: str | None = None,
) -> None:
    """What the message was and what followed; no word of it is kept here."""
    connection.execute(
        sa.update(inbound_messages)
        .where(inbound_messages.c.key == key)
        .values(kind=kind, reason=reason, campaign=campaign, lead_id=lead_id)
    )
