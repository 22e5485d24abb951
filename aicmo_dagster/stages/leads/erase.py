"""Erasure: a person vanishes from tables, outbox, spool and handed-over files; a hash stays.

What was handed to others, and the sources that leads are harvested from, are out of reach: the
report says what remains to be done by hand.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.parser import BytesHeaderParser
from email.policy import default
from email.utils import getaddresses
from pathlib import Path

import sqlalchemy as sa

from aicmo_dagster.domain.tokens import address_key, identity_key, normal_address
from aicmo_dagster.handoff.forgetting import forget
from aicmo_dagster.mail.outbox import discard
from aicmo_dagster.stages.engaging.record import replay
from aicmo_dagster.stages.harvesting.imports import forget_imported
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.erasures import (
    ERASING,
    Known,
    Person,
    find_person,
    handed_to,
    known_of,
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


def erase(
    workspace: Workspace, address: str, decided_by: str, now: datetime, *, who: str
) -> Erasure:
    """The person at `address` is in nothing of ours; again finds nothing more.

    Keyed hashes stay of this address, of every other one we know the person had, and of what else
    a source may name it by, so that nobody writes there and no harvest brings it back. The audit
    tells that `who` asked for it, and what vanished from tables, not whose it was.
    """
    known_as = normal_address(address)
    replay(workspace)
    # Files first, while the database still tells whose they are: after a crash, again does it all.
    with workspace.database.write(durable=True) as connection:
        people = find_person(connection, known_as)
        known = known_of(connection, people)
        known.addresses.add(known_as)
        _keep_away(connection, workspace.settings.secret_key(), known, decided_by, now)
    before = _clear_files(workspace, people, known)
    with workspace.database.write(durable=True) as connection:
        take_turn(connection, ERASING)  # a harvest that began before has ended, and is seen
        people = find_person(connection, known_as)
        receivers = handed_to(connection, people)
        known = known_of(connection, people)
        known.addresses.add(known_as)
        removed = remove_person(connection, people, known.addresses)
        _keep_away(connection, workspace.settings.secret_key(), known, decided_by, now)
        campaigns = len({campaign for campaign, _ in people})
        told = {"campaigns": campaigns, "removed": _found(removed)}
        record_change(connection, who, "person.erase", now, after=told)
    after = _clear_files(workspace, people, known)
    removed |= {place: count + before[place] for place, count in after.items()}
    return Erasure(campaigns, _found(removed), tuple(receivers))


def _found(removed: Mapping[str, int]) -> dict[str, int]:
    return {place: count for place, count in removed.items() if count}


def _clear_files(workspace: Workspace, people: Collection[Person], known: Known) -> dict[str, int]:
    """No file and no import names the person; tells how many of each were changed or removed."""
    ids, settings = {lead_id for _, lead_id in people}, workspace.settings
    sent = discard(settings.outbox, known.message_ids)
    return {
        "imports": sum(forget_imported(workspace, address) for address in sorted(known.addresses)),
        "outbox": sent + _clear_outbox(settings.outbox, known.addresses),
        "spool": rewrite(settings.spool, lambda record: record.get("lead_id") not in ids),
        "handoff files": forget(settings.home / "handoffs", ids, known.addresses),
    }


def _keep_away(
    connection: sa.Connection, secret_key: bytes, known: Known, decided_by: str, now: datetime
) -> None:
    """Hashes of all that the person was known by stand among the suppressions."""
    addresses = {address_key(secret_key, normal_address(each)) for each in known.addresses}
    for key in sorted(addresses | known.address_keys):
        suppress_erased(connection, "address", key, decided_by, now)
    for kind, value in sorted(known.identities):
        key = identity_key(secret_key, kind, value)
        suppress_erased(connection, "person", key, decided_by, now)


def _clear_outbox(folder: Path, addresses: Collection[str]) -> int:
    """Messages to `addresses` are no more in the outbox."""
    cleared = 0
    for path in folder.glob("*.eml"):
        with path.open("rb") as file:
            head = file.read(_LONGEST_HEAD).partition(b"\r\n\r\n")[0]
        if _is_to(head, addresses):
            path.unlink(missing_ok=True)
            cleared += 1
    return cleared


def _is_to(head: bytes, addresses: Collection[str]) -> bool:
    told = BytesHeaderParser(policy=default).parsebytes(head).get_all("To", [])
    named = {normal_address(named) for _, named in getaddresses(map(str, told))}
    return not named.isdisjoint(addresses)
