"""Everything the database holds of a person, found and removed, whichever tables there are.

A table that names a lead has the columns `campaign` and `lead_id`; new ones are so included by
themselves. Not here: files and spools (`leads.erase`).
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from urllib.parse import quote, quote_plus

import sqlalchemy as sa

from aicmo_dagster.domain.identity import alias_of
from aicmo_dagster.domain.tokens import identity_keys
from aicmo_dagster.store.suppressions import ERASED, suppress
from aicmo_dagster.store.tables import (
    FRAME_TABLES,
    api_requests,
    audit,
    campaigns,
    escalations,
    handoffs,
    inbound_messages,
    lead_aliases,
    links,
    metadata,
    nurture_sends,
    person_aliases,
    provider_answers,
    rejects,
    search_pages,
    suppressions,
)

_RAW = FRAME_TABLES["raw_leads"].c
_CHUNK = 10_000

ERASING = "erasing"
"""The turn of who erases; those who write leads share it, once they have looked for the erased."""

Person = tuple[str, str]
"""A campaign, and an id of the lead in it: its present one, or an alias."""


@dataclass
class Known:
    """What a person is known by, beside the ids of its leads.

    Args:
        addresses: That it has now.
        address_keys: Hashes from `tokens.address_key` of those that mail went to.
        identities: (kind, value) by which a source may name it again.
        message_ids: Of the mail it got.
    """

    addresses: set[str] = field(default_factory=set)
    address_keys: set[str] = field(default_factory=set)
    identities: set[tuple[str, str]] = field(default_factory=set)
    message_ids: set[str] = field(default_factory=set)


_ALIAS_KINDS = {"address": "address", "linkedin": "linkedin", "external": "external_id"}
"""What one person is known by in all campaigns, as `domain.identity` names it."""


def find_person(connection: sa.Connection, address: str) -> list[Person]:
    """Every id of the leads that are or were at `address`, in all campaigns.

    A lead at another address is the person too, if it is or was known by what such a lead is.

    Args:
        connection: A transaction.
        address: As `tokens.normal_address` gives it.
    """
    people: set[Person] = set()
    asked: set[tuple[str, str]] = set()
    asking = {("address", address)}
    while asking:
        found = {each for named in asking for each in _known_as(connection, *named)} - people
        asked, people = asked | asking, people | found
        known = known_of(connection, found)
        named = known.identities | {("address", each) for each in known.addresses}
        asking = {each for each in named if each[0] in _ALIAS_KINDS} - asked
    return sorted(people)


def _known_as(connection: sa.Connection, kind: str, value: str) -> set[Person]:
    """Every id of the leads that are or were known so, in all campaigns."""
    leads: set[Person] = set()
    if kind == "address":
        query = sa.select(_RAW.campaign, _RAW.lead_id).where(_RAW.email == value)
        leads = {(row.campaign, row.lead_id) for row in connection.execute(query)}
    for campaign in connection.scalars(sa.select(campaigns.c.campaign)).all():
        once = sa.select(lead_aliases.c.lead_id).where(
            lead_aliases.c.campaign == campaign,
            lead_aliases.c.alias == alias_of(campaign, _ALIAS_KINDS[kind], value),
        )
        leads |= {(campaign, lead_id) for lead_id in connection.scalars(once)}
    aliases = {
        (campaign, alias)
        for campaign, lead_id in leads
        for alias in connection.scalars(
            sa.select(lead_aliases.c.alias).where(
                lead_aliases.c.campaign == campaign, lead_aliases.c.lead_id == lead_id
            )
        )
    }
    return leads | aliases


def known_of(connection: sa.Connection, people: Collection[Person]) -> Known:
    """What is known of the person by now; ask before it is removed."""
    known = Known()
    sends = nurture_sends.c
    for campaign, lead_id in people:
        known.identities.add(("alias", lead_id))
        mail = sa.select(sends.address_key, sends.message_id).where(
            sends.campaign == campaign, sends.lead_id == lead_id
        )
        for key, message_id in connection.execute(mail):
            known.address_keys.update([key] if key else [])
            known.message_ids.add(message_id)
        reminders = sa.select(escalations.c.key).where(
            escalations.c.campaign == campaign,
            escalations.c.lead_id == lead_id,
            escalations.c.channel == "mail",
        )
        known.message_ids.update(connection.scalars(reminders))
        names = (_RAW.email, _RAW.linkedin_url, _RAW.source, _RAW.external_id)
        row = connection.execute(
            sa.select(*names).where(_RAW.campaign == campaign, _RAW.lead_id == lead_id)
        ).one_or_none()
        if row is not None:
            known.addresses.update([row.email] if row.email else [])
            known.identities.update(named_by(row.linkedin_url, row.source, row.external_id))
    return known


def named_by(
    linkedin_url: str | None, source: str, external_id: str | None
) -> list[tuple[str, str]]:
    """(kind, value) of what a lead is known by in every campaign, beside its address."""
    kind = re.sub(r"-[0-9]+$", "", source)
    found = [("linkedin", linkedin_url), ("external", external_id and f"{kind}:{external_id}")]
    return [(name, value) for name, value in found if value]


def remove_person(
    connection: sa.Connection, people: Collection[Person], addresses: Collection[str]
) -> dict[str, int]:
    """No table names the person any more; tells how many rows went, by table.

    That a message was handled stays known by its key, so that it is not handled again.
    """
    removed = _remove_searched(connection, people)
    for table in metadata.sorted_tables[::-1]:
        if {"campaign", "lead_id"} <= set(table.c.keys()):
            removed[table.name] = sum(_remove(connection, table, person) for person in people)
    removed["lead_aliases"] += sum(
        connection.execute(
            sa.delete(lead_aliases).where(
                lead_aliases.c.campaign == campaign, lead_aliases.c.alias == lead_id
            )
        ).rowcount
        for campaign, lead_id in people
    )
    removed["links"] += sum(_remove_links(connection, address) for address in addresses)
    removed["rejects"] = sum(_remove_rejects(connection, address) for address in addresses)
    ids = [lead_id for _, lead_id in people]
    # That something was changed stays on record; about whom, and what was answered, does not.
    connection.execute(sa.update(audit).where(audit.c.subject.in_(ids)).values(subject=None))
    for lead_id in ids:
        kept = api_requests.c.body.contains(lead_id) | api_requests.c.operation.contains(lead_id)
        connection.execute(sa.delete(api_requests).where(kept))
    return {name: count for name, count in removed.items() if count}


def _remove_searched(connection: sa.Connection, people: Collection[Person]) -> dict[str, int]:
    """What providers were asked and showed: pages of searches, which are shown again for nothing.

    The keys that a person goes by at a provider stand in its answers, so they go before those.
    """
    keys = {
        key
        for campaign, lead_id in people
        for key in connection.scalars(
            sa.select(provider_answers.c.person_key).where(
                provider_answers.c.campaign == campaign, provider_answers.c.lead_id == lead_id
            )
        )
    }
    aliases = sa.delete(person_aliases).where(person_aliases.c.person_key.in_(keys))
    theirs = {campaign for campaign, _ in people}
    pages = sa.delete(search_pages).where(search_pages.c.campaign.in_(theirs))
    return {
        "person_aliases": connection.execute(aliases).rowcount,
        "search_pages": connection.execute(pages).rowcount,
    }


def any_erased(connection: sa.Connection) -> bool:
    """Whether anybody was ever erased."""
    return bool(connection.scalar(sa.select(sa.exists().where(suppressions.c.reason == ERASED))))


def handed_to(connection: sa.Connection, people: Collection[Person]) -> list[str]:
    """Where the person was handed over to."""
    found: set[str] = set()
    for campaign, lead_id in people:
        query = sa.select(handoffs.c.destination).where(
            handoffs.c.campaign == campaign, handoffs.c.lead_id == lead_id
        )
        found.update(connection.scalars(query))
    return sorted(found)


def suppress_erased(
    connection: sa.Connection,
    kind: Literal["address", "person"],
    key: str,
    decided_by: str,
    now: datetime,
) -> None:
    """`key`, from `tokens.address_key` or `identity_key`, must not be stored or written to again.

    An earlier suppression keeps its instant and gives up its reason.
    """
    if not suppress(connection, kind, key, ERASED, decided_by, now):
        connection.execute(
            sa.update(suppressions)
            .where(suppressions.c.kind == kind, suppressions.c.key == key)
            .values(reason=ERASED)
        )


_ERASED = sa.select(suppressions.c.key).where(  # built once, being asked with every paid call
    suppressions.c.kind == "person",
    suppressions.c.key.in_(sa.bindparam("keys", expanding=True)),
    suppressions.c.reason == ERASED,
)


def was_erased(connection: sa.Connection, secret_key: bytes, lead_id: str) -> bool:
    """Whether the lead of this id, its own or an alias, was a person who was erased."""
    return bool(erased_leads(connection, secret_key, [lead_id]))


def erased_leads(
    connection: sa.Connection, secret_key: bytes, lead_ids: Collection[str]
) -> set[str]:
    """Those of some ids of leads, their own or aliases, that were people who were erased."""
    if not lead_ids:
        return set()
    keys = dict(zip(identity_keys(secret_key, "alias", lead_ids), lead_ids, strict=True))
    return {keys[key] for key in connection.scalars(_ERASED, {"keys": list(keys)})}


def erased(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    """Those of `keys`, from `tokens.address_key` or `identity_key`, whose person was erased."""
    found: set[str] = set()
    for start in range(0, len(keys), _CHUNK):
        query = sa.select(suppressions.c.key).where(
            suppressions.c.reason == ERASED, suppressions.c.key.in_(keys[start : start + _CHUNK])
        )
        found.update(connection.scalars(query))
    return found


def _remove_rejects(connection: sa.Connection, address: str) -> int:
    """Rejected rows that name the address; a longer one that ends or begins like it is another."""
    whole = re.compile(rf"(?<![\w.+-]){re.escape(address)}(?![\w.-])")
    maybe = sa.select(rejects.c.id, rejects.c.content).where(
        sa.func.lower(rejects.c.content).contains(address, autoescape=True)
    )
    named = [r.id for r in connection.execute(maybe) if whole.search(r.content.lower())]
    return connection.execute(sa.delete(rejects).where(rejects.c.id.in_(named))).rowcount


def _remove_links(connection: sa.Connection, address: str) -> int:
    """Links that name the address and no lead, as they all did before migration 0014."""
    url = sa.func.lower(links.c.url)
    spelled = {address, quote(address).lower(), quote_plus(address).lower()}
    named = sa.or_(*(url.contains(each, autoescape=True) for each in sorted(spelled)))
    return connection.execute(sa.delete(links).where(links.c.lead_id.is_(None), named)).rowcount


def _remove(connection: sa.Connection, table: sa.Table, person: Person) -> int:
    theirs = (table.c.campaign == person[0]) & (table.c.lead_id == person[1])
    if table is inbound_messages:
        unnamed = sa.update(table).where(theirs).values(campaign=None, lead_id=None)
        return connection.execute(unnamed).rowcount
    return connection.execute(sa.delete(table).where(theirs)).rowcount
