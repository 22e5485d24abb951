"""Whoever was erased stays away: what a source still gives of them is not stored.

Not here: erasing (`erase`).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from aicmo_dagster.domain.tokens import address_key, identity_key, normal_address
from aicmo_dagster.store.erasures import any_erased, erased, named_by

_ADDRESS = re.compile(r"[^\s\"'<>,;:\\\[\]{}()|]+@[^\s\"'<>,;:\\\[\]{}()|]+")


def erased_leads_among(
    connection: sa.Connection, secret_key: bytes, leads: pd.DataFrame, aliases: pd.DataFrame
) -> set[str]:
    """The ids, of `leads` whose new `aliases` these are, of those who were erased."""
    gone = erased_among(connection, secret_key, leads["email"].dropna())
    by_address = leads.loc[leads["email"].isin(gone), "lead_id"]
    return {*by_address, *_erased_by_identity(connection, secret_key, leads, aliases)}


def rejects_without_erased(
    connection: sa.Connection, secret_key: bytes, rejects: pd.DataFrame
) -> pd.DataFrame:
    """`rejects`, those of erased people without what stood in them: row and reason are kept."""
    if rejects.empty or not any_erased(connection):
        return rejects
    named = [_ADDRESS.findall(content) for content in rejects["content"]]
    gone = erased_among(connection, secret_key, {each for found in named for each in found})
    kept = [
        content if gone.isdisjoint(found) else "{}"
        for content, found in zip(rejects["content"], named, strict=True)
    ]
    contents = pd.Series(kept, index=rejects.index, dtype=rejects["content"].dtype)
    return rejects.assign(content=contents)


def _erased_by_identity(
    connection: sa.Connection, secret_key: bytes, leads: pd.DataFrame, aliases: pd.DataFrame
) -> set[str]:
    """Leads that go by an identity of somebody who was erased, whatever their address is.

    Of those who were leads before, and are not named anew, all is known already.
    """
    owners: dict[str, list[str]] = {}
    for alias, lead_id in _texts(aliases, "alias", "lead_id"):
        owners.setdefault(identity_key(secret_key, "alias", alias), []).append(lead_id)
    for lead_id, *named in _texts(leads, "lead_id", "linkedin_url", "source", "external_id"):
        for kind, value in named_by(*named):
            owners.setdefault(identity_key(secret_key, kind, value), []).append(str(lead_id))
    return {lead for key in erased(connection, list(owners)) for lead in owners[key]}


def _texts(frame: pd.DataFrame, *names: str) -> Iterator[tuple[Any, ...]]:
    """The rows of these columns, a missing value being None."""
    return zip(*(pa.array(frame[name], pa.string()).to_pylist() for name in names), strict=True)


def erased_among(
    connection: sa.Connection, secret_key: bytes, addresses: Iterable[str]
) -> set[str]:
    """Those of `addresses` whose person was erased."""
    hashed: dict[str, list[str]] = {}
    for address in addresses:
        hashed.setdefault(address_key(secret_key, normal_address(address)), []).append(address)
    return {address for key in erased(connection, list(hashed)) for address in hashed[key]}
