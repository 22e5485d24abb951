"""Single leads: finding one, and all that is known of a few. Not here: whole frames (`frames`)."""

import json
from collections.abc import Collection
from typing import Any

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.identity import alias_of
from aicmo_dagster.domain.schemas import dtypes
from aicmo_dagster.domain.tokens import normal_address
from aicmo_dagster.errors import NotFound
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.tables import FRAME_TABLES, lead_aliases

_RAW = FRAME_TABLES["raw_leads"]


def read_leads(
    connection: sa.Connection,
    campaign: str,
    lead_ids: Collection[str],
    fields: Collection[str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Each lead's fields by name, `custom` as a mapping.

    Args:
        connection: A transaction.
        campaign: The campaign's key.
        lead_ids: Whose.
        fields: Those that are wanted; what is no field is left out. All, if not given.
    """
    every = [column.name for column in _RAW.columns]
    names = [name for name in every if fields is None or name in fields]
    query = sa.select(_RAW.c.lead_id, *(_RAW.c[name] for name in names)).where(
        _RAW.c.campaign == campaign, _RAW.c.lead_id.in_(lead_ids)
    )
    leads = {row[0]: dict(zip(names, row[1:], strict=True)) for row in connection.execute(query)}
    if "custom" in names:
        for lead in leads.values():
            lead["custom"] = json.loads(lead["custom"])
    return leads


def read_lead_rows(
    connection: sa.Connection, campaign: str, lead_ids: Collection[str]
) -> pd.DataFrame:
    """The rows of `raw_leads` of a few leads, typed as its schema says."""
    columns = [_RAW.c[name] for name in dtypes("raw_leads")]
    query = sa.select(*columns).where(_RAW.c.campaign == campaign, _RAW.c.lead_id.in_(lead_ids))
    return fetch_frame(connection, query.order_by(_RAW.c.lead_id))


def find_lead(connection: sa.Connection, campaign: str, named: str) -> str:
    """The id of the lead that `named` is: an id, an alias, or an address, present or past.

    Raises:
        NotFound: If the campaign has no such lead; its text does not repeat `named`, which may
            be an address.
    """
    known_as = (named, alias_of(campaign, "address", normal_address(named)))
    aliases = sa.select(lead_aliases.c.lead_id).where(
        lead_aliases.c.campaign == campaign,
        lead_aliases.c.alias.in_(known_as),
        lead_aliases.c.lead_id.in_(sa.select(_RAW.c.lead_id).where(_RAW.c.campaign == campaign)),
    )
    stored = sa.select(_RAW.c.lead_id).where(
        _RAW.c.campaign == campaign,
        (_RAW.c.lead_id == named) | (_RAW.c.email == normal_address(named)),
    )
    found = connection.scalar(stored) or connection.scalar(aliases)
    if found is None:
        raise NotFound(
            f"campaign '{campaign}' has no such lead; give a lead id or the lead's address"
        )
    return str(found)


def read_score(connection: sa.Connection, campaign: str, lead_id: str) -> dict[str, Any] | None:
    """The stored score of one lead with its contributions; none before it was scored."""
    scored = FRAME_TABLES["scored_leads"]
    query = sa.select(scored).where(scored.c.campaign == campaign, scored.c.lead_id == lead_id)
    row = connection.execute(query).mappings().one_or_none()
    return dict(row) if row else None


def outcome_counts(connection: sa.Connection, campaign: str) -> tuple[int, int, int]:
    """How many leads of the campaign were won, how many lost, and of how many it is not known."""
    query = (
        sa.select(_RAW.c.won, sa.func.count())
        .where(_RAW.c.campaign == campaign)
        .group_by(_RAW.c.won)
    )
    counts: dict[bool | None, int] = dict(list(connection.execute(query)))
    return counts.get(True, 0), counts.get(False, 0), counts.get(None, 0)
