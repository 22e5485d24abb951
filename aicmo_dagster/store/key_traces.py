"""What tells of the secret key that a database was used with: names and hashes made with it.

Not here: making them (`domain.tokens`, `domain.links`), or what follows (`operating.relocate`).
"""

from collections.abc import Iterator

import sqlalchemy as sa

from aicmo_dagster.domain.links import link_name
from aicmo_dagster.domain.tokens import address_key, message_id
from aicmo_dagster.store.tables import FRAME_TABLES, enrolments, links, nurture_sends

LOOKED_AT = 1_000
"""Rows of each kind that are looked at."""


def was_used_with(connection: sa.Connection, key: bytes) -> bool | None:
    """Whether the database was used with the secret key `key`; None if nothing in it tells.

    One name that fits is enough: a lead that was merged into another, or has moved to another
    address, keeps names that fit no key.
    """
    kinds = (_messages(connection, key), _links(connection, key), _people(connection, key))
    fits = [each for kind in kinds for each in kind]
    return any(fits) if fits else None


def _messages(connection: sa.Connection, key: bytes) -> Iterator[bool]:
    sends = nurture_sends.c
    query = sa.select(sends.campaign, sends.lead_id, sends.step, sends.message_id)
    rows = connection.execute(query.where(sends.message_id != "").limit(LOOKED_AT))
    for campaign, lead_id, step, name in rows:
        host = name.strip("<>").partition("@")[2]
        yield message_id(key, campaign, lead_id, step, host) == name


def _links(connection: sa.Connection, key: bytes) -> Iterator[bool]:
    query = sa.select(links.c.campaign, links.c.url, links.c.lead_id, links.c.link)
    for campaign, url, lead_id, name in connection.execute(query.limit(LOOKED_AT)):
        yield link_name(key, campaign, url, lead_id or "") == name


def _people(connection: sa.Connection, key: bytes) -> Iterator[bool]:
    ours, raw = enrolments.c, FRAME_TABLES["raw_leads"].c
    same = (ours.campaign == raw.campaign) & (ours.lead_id == raw.lead_id)
    query = sa.select(raw.email, ours.person).where(same, raw.email != "", ours.person != "")
    for email, person in connection.execute(query.limit(LOOKED_AT)):
        yield address_key(key, email) == person
