"""Who a message, an address or a token is about: the lead, and where it is written to.

Not here: all that is known of a lead (`leads`), or what follows for it (`stages`).
"""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from aicmo_dagster.store.tables import FRAME_TABLES, lead_aliases, nurture_sends

_RAW = FRAME_TABLES["raw_leads"].c
_SENDS = nurture_sends.c
_CHUNK = 10_000


@dataclass(frozen=True)
class Recipient:
    """A lead of a campaign, by the id it has now, and where it was written to.

    Args:
        campaign: The campaign's key.
        lead_id: The lead.
        address: Its present address; none where the lead is gone.
        step: The step of the message that this is about, if it is about one.
        sent_to: Of the addresses that this, or else any message to the lead, went to, the hashes
            from `tokens.address_key`; none where that was not kept.
    """

    campaign: str
    lead_id: str
    address: str | None
    step: str | None = None
    sent_to: tuple[str, ...] = ()


def recipient(
    connection: sa.Connection, campaign: str, lead_id: str, step: str | None = None
) -> Recipient:
    """The lead that a token of ours named, whatever became of it since."""
    alias = sa.select(lead_aliases.c.lead_id).where(
        lead_aliases.c.campaign == campaign, lead_aliases.c.alias == lead_id
    )
    now_called = connection.scalar(alias) or lead_id
    address = sa.select(_RAW.email).where(_RAW.campaign == campaign, _RAW.lead_id == now_called)
    # After a merger, a step that both had stays under the id that it was sent to.
    sent = sa.select(_SENDS.lead_id, _SENDS.address_key).where(
        _SENDS.campaign == campaign,
        _SENDS.lead_id.in_((lead_id, now_called)),
        _SENDS.address_key.is_not(None),
    )
    if step is not None:
        sent = sent.where(_SENDS.step == step)
    rows = connection.execute(sent).all()
    own = [row for row in rows if row.lead_id == lead_id]
    told = own if step is not None and own else rows
    keys = tuple(sorted({row.address_key for row in told}))
    return Recipient(campaign, now_called, connection.scalar(address), step, keys)


def present_ids(
    connection: sa.Connection, named: Collection[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """(campaign, id) of a lead to the id it has now; leads that are gone are left out."""
    found: dict[tuple[str, str], str] = {}
    for campaign in {campaign for campaign, _ in named}:
        ids = [lead_id for owner, lead_id in named if owner == campaign]
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            own = sa.select(_RAW.lead_id).where(_RAW.campaign == campaign, _RAW.lead_id.in_(chunk))
            merged = sa.select(lead_aliases.c.alias, lead_aliases.c.lead_id).where(
                lead_aliases.c.campaign == campaign, lead_aliases.c.alias.in_(chunk)
            )
            found |= {(campaign, row.alias): row.lead_id for row in connection.execute(merged)}
            found |= {(campaign, lead_id): lead_id for lead_id in connection.scalars(own)}
    return found


def recipient_of_message(
    connection: sa.Connection, message_ids: Collection[str]
) -> Recipient | None:
    """Whom the latest of these messages, by Message-ID with brackets, was sent to."""
    query = (
        sa.select(_SENDS.campaign, _SENDS.lead_id, _SENDS.step)
        .where(_SENDS.message_id.in_(list(message_ids)[:100]))
        .order_by(_SENDS.due_at.desc())
    )
    row = connection.execute(query.limit(1)).one_or_none()
    if row is None:
        return None
    return recipient(connection, row.campaign, row.lead_id, row.step)


def recipients_at(connection: sa.Connection, address: str) -> list[Recipient]:
    """Leads at `address` that were written to, latest first.

    Args:
        connection: A transaction.
        address: As `tokens.normal_address` gives it.
    """
    latest = sa.func.max(_SENDS.sent_at)
    query = (
        sa.select(_SENDS.campaign, _SENDS.lead_id)
        .join_from(
            nurture_sends,
            FRAME_TABLES["raw_leads"],
            (_SENDS.campaign == _RAW.campaign) & (_SENDS.lead_id == _RAW.lead_id),
        )
        .where(_RAW.email == address, _SENDS.sent_at.is_not(None))
        .group_by(_SENDS.campaign, _SENDS.lead_id)
        .order_by(latest.desc())
    )
    return [Recipient(row.campaign, row.lead_id, address) for row in connection.execute(query)]
