"""Erasure: a person vanishes from tables, outbox, spool and handed-over files; a hash stays.

What was handed to others, and the sources that leads are harvested from, are out of reach: the
report says what remains to be done by hand.
"""

from dataclasses import dataclass
from datetime import datetime
from email.parser import BytesHeaderParser
from email.policy import default
from email.utils import getaddresses
from pathlib import Path

from aicmo_dagster.domain.tokens import address_key, normal_address
from aicmo_dagster.handoff.forgetting import forget
from aicmo_dagster.stages.imports import forget_imported
from aicmo_dagster.stages.record import replay
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.erasures import (
    find_person,
    handed_to,
    remove_person,
    suppress_erased,
)
from aicmo_dagster.store.spool import rewrite

_LONGEST_HEAD = 65_536


@dataclass(frozen=True)
class Erasure:
    """What was removed.

    Args:
        campaigns: In how many campaigns the person was a lead.
        removed: Rows by table, and files and lines by place.
        handed_to: Where the person was handed over to, where erasure must be asked for.
    """

    campaigns: int
    removed: dict[str, int]
    handed_to: tuple[str, ...]


def erase(workspace: Workspace, address: str, decided_by: str, now: datetime) -> Erasure:
    """The person at `address` is in nothing of ours; again finds nothing more.

    The address stays suppressed by its keyed hash, so that nobody writes there again.
    """
    known_as = normal_address(address)
    replay(workspace)
    with workspace.database.write(durable=True) as connection:
        people = find_person(connection, known_as)
        receivers = handed_to(connection, people)
        removed = remove_person(connection, people, known_as)
        key = address_key(workspace.settings.secret_key(), known_as)
        suppress_erased(connection, key, decided_by, now)
    ids = {lead_id for _, lead_id in people}
    settings = workspace.settings
    removed |= {
        "imports": forget_imported(workspace, known_as),
        "outbox": _clear_outbox(settings.outbox, known_as),
        "spool": rewrite(settings.spool, lambda record: record.get("lead_id") not in ids),
        "handoff files": forget(settings.home / "handoffs", ids, known_as),
    }
    found = {place: count for place, count in removed.items() if count}
    return Erasure(len({campaign for campaign, _ in people}), found, tuple(receivers))


def _clear_outbox(folder: Path, address: str) -> int:
    """Messages to `address` are no more in the outbox."""
    cleared = 0
    for path in folder.glob("*.eml"):
        with path.open("rb") as file:
            head = file.read(_LONGEST_HEAD).partition(b"\r\n\r\n")[0]
        if _is_to(head, address):
            path.unlink(missing_ok=True)
            cleared += 1
    return cleared


def _is_to(head: bytes, address: str) -> bool:
    told = BytesHeaderParser(policy=default).parsebytes(head).get_all("To", [])
    return address in {normal_address(named) for _, named in getaddresses(map(str, told))}
