"""Going on in another database: one that everything was moved into, or a restored backup.

Nobody may get a message twice by that. Not here: copying rows (`store.transfer`), restoring (the
engine's own tools), or what refuses to send until it is done (`fence`).
"""

from dataclasses import dataclass
from datetime import datetime

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.mail.delivery import open_transport
from aicmo_dagster.stages.nurturing.fence import Fence
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import escalations
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.campaigns import list_campaigns
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.key_traces import was_used_with
from aicmo_dagster.store.outcomes import doubt
from aicmo_dagster.store.transfer import open_source, transfer


@dataclass(frozen=True)
class Moved:
    """What was moved.

    Args:
        tables: Rows by table, the same on both sides.
        campaigns: The campaigns, archived ones too.
    """

    tables: dict[str, int]
    campaigns: list[str]


def move_from(workspace: Workspace, url: str, now: datetime) -> Moved:
    """All that the database at `url` holds is in the workspace's, and nothing is sent from there.

    Raises:
        AicmoError: If the workspace's database is not empty, or the other one cannot be read or was
            used with another secret key.
    """
    source = open_source(url)
    try:
        _require_key(source, workspace.settings.secret_key())
        tables = transfer(source, workspace.database)
    finally:
        source.close()
    Fence(workspace).succeed(now)
    with workspace.database.read() as connection:
        return Moved(tables, [row.key for row in list_campaigns(connection)])


def _require_key(source: Database, key: bytes) -> None:
    with source.read() as connection:
        if was_used_with(connection, key) is False:
            raise AicmoError(
                "the database to move was used with another secret key than this installation's: "
                "unsubscribe links in mail that was sent would stop working, and nobody who is "
                "suppressed or erased would be recognised. Set AICMO_SECRET_KEY to that key, or "
                "put the secret_key file of the old AICMO_HOME into this one; nothing was moved"
            )


def go_on_from_backup(workspace: Workspace, lost_at: datetime, *, who: str, now: datetime) -> int:
    """The restored database may be sent from, and nothing in it that may have been sent is again.

    What was due by `lost_at` is doubtful. It stays `unknown`, and is listed as such, unless the
    transport or an event proves what became of it. Leads that were routed after the backup was
    made are in no such list, since the backup does not know them.

    Args:
        workspace: With the restored database.
        lost_at: When the database that the backup was made of was used last.
        who: Who says so, for the audit.
        now: The instant.

    Returns:
        How many sends and reminders are doubtful by that.
    """
    settings = workspace.settings
    transport = open_transport(settings.smtp_url, settings.outbox)
    try:
        with workspace.database.write(durable=True) as connection:
            doubtful = doubt(connection, lost_at, transport=transport.name)
            doubtful += escalations.doubt(connection, lost_at)
            told = {"lost_at": lost_at.isoformat(), "unknown": doubtful}
            record_change(connection, who, "database.restored", now, after=told)
    finally:
        transport.close()
    Fence(workspace).succeed(now)
    return doubtful
