"""What recipients did and objected to is kept, with what follows at once. Not here: judging it."""

from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from aicmo_dagster.domain.clients import network
from aicmo_dagster.domain.tokens import address_key
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.erasures import was_erased
from aicmo_dagster.store.events import (
    add_event,
    add_events,
    cut_clients,
    event_of,
    whole_clients,
)
from aicmo_dagster.store.loading import RowsRefused
from aicmo_dagster.store.recipients import Recipient, present_ids, recipient
from aicmo_dagster.store.spool import Record, drain
from aicmo_dagster.store.suppressions import suppress
from aicmo_dagster.store.webhooks import Occurrence, announce

Scope = Literal["everything", "campaign"]

UNSUBSCRIBE = "unsubscribe"
WHOLE = timedelta(hours=1)
"""How long a client's address is kept as it is: the judging window, with room for a late run."""

_CHUNK = 5_000
_REFUSALS = (sa.exc.DataError, sa.exc.IntegrityError, RowsRefused, KeyError, ValueError, TypeError)


def unsubscribe(
    connection: sa.Connection,
    secret_key: bytes,
    campaign: str,
    lead_id: str,
    *,
    scope: Scope,
    now: datetime,
) -> None:
    """The lead is written to no more: at all, or in this campaign only. Twice is as once.

    Suppression and event stand in the caller's one transaction; the first of each is kept. Of whom
    was erased nothing is, who is written to no more already.
    """
    lead = recipient(connection, campaign, lead_id)
    if was_erased(connection, secret_key, lead.lead_id):
        return
    key = f"{UNSUBSCRIBE}:{campaign}:{lead.lead_id}:{scope}"
    detail = {"scope": scope}
    add_event(connection, campaign, lead.lead_id, UNSUBSCRIBE, key, now, detail=detail)
    data = {"campaign": campaign, "lead_id": lead.lead_id, "scope": scope}
    told = Occurrence(f"{campaign}/{lead.lead_id}/{scope}", data, (campaign,), lead.lead_id)
    announce(connection, "lead.unsubscribed", [told], now)
    if scope == "everything":
        for hashed in addresses_of(secret_key, lead):
            suppress(connection, "address", hashed, "unsubscribed by link", "recipient", now)


def addresses_of(secret_key: bytes, lead: Recipient) -> tuple[str, ...]:
    """Keyed hashes of the addresses that our mail went to; the lead may have another one now."""
    if lead.sent_to or not lead.address:
        return lead.sent_to
    return (address_key(secret_key, lead.address),)


def replay(workspace: Workspace) -> int:
    """Spooled events are in the database, and what they ask for is done; tells how many."""

    def take(records: list[Record]) -> None:
        try:
            keep(records)
        except _REFUSALS:
            refused: Exception | None = None
            for each in records:  # one that is refused must not take the others with it
                try:
                    keep([each])
                except _REFUSALS as error:
                    refused = error
            if refused is not None:
                raise refused from None

    def keep(records: list[Record]) -> None:
        with workspace.database.write(durable=True) as connection:
            _apply(connection, workspace.settings.secret_key(), records)

    return drain(workspace.settings.spool, take, _REFUSALS)


def cut_old_clients(workspace: Workspace, now: datetime) -> int:
    """Clients' addresses older than the judging window are cut to their network; how many."""
    cut = 0
    while True:
        with workspace.database.write() as connection:
            found = whole_clients(connection, now - WHOLE, _CHUNK)
            key = workspace.settings.secret_key()
            networks = {event: network(key, lead, client) for event, lead, client in found}
            cut_clients(connection, networks)
        cut += len(found)
        if len(found) < _CHUNK:
            return cut


def _apply(connection: sa.Connection, secret_key: bytes, records: list[dict[str, Any]]) -> None:
    """Plain events in bulk, unsubscriptions each with its suppression."""
    plain = [event_of(each) for each in records if each["kind"] != UNSUBSCRIBE]
    now_called = present_ids(connection, {(row["campaign"], row["lead_id"]) for row in plain})
    # What a lead that was erased did meanwhile must not bring it back.
    known = [row for row in plain if (row["campaign"], row["lead_id"]) in now_called]
    add_events(
        connection,
        [row | {"lead_id": now_called[row["campaign"], row["lead_id"]]} for row in known],
    )
    for each in records:
        if each["kind"] == UNSUBSCRIBE:
            unsubscribe(
                connection,
                secret_key,
                each["campaign"],
                each["lead_id"],
                scope=each["scope"],
                now=datetime.fromisoformat(each["happened_at"]),
            )
