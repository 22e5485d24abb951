"""Who must not be routed now, for what other campaigns do and what people asked for.

Not here: the choice of a sequence (`domain.routing`).
"""

from datetime import datetime, timedelta

import pandas as pd
import pyarrow
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Overlap
from aicmo_dagster.domain.tokens import address_key, domain_key
from aicmo_dagster.store.ledger import SPENT
from aicmo_dagster.store.suppressions import any_suppressed, suppressed
from aicmo_dagster.store.tables import FRAME_TABLES, campaigns, nurture_sends

_MINE = FRAME_TABLES["raw_leads"].alias("mine")
_THEIRS = FRAME_TABLES["raw_leads"].alias("theirs")
_ROUTED = FRAME_TABLES["routed_leads"]
_SENDS = nurture_sends.c

TEXT = pd.ArrowDtype(pyarrow.string())


def blocked_leads(
    connection: sa.Connection,
    campaign: str,
    overlap: Overlap,
    leads: pd.DataFrame,
    *,
    secret_key: bytes,
    now: datetime,
) -> pd.DataFrame:
    """lead_id and reason of the leads that must not be routed now, one row a lead.

    Args:
        connection: A connection within a transaction.
        campaign: The campaign that wants them.
        overlap: Its rules.
        leads: lead_id, email and domain of the leads it wants.
        secret_key: The key that suppressions are hashed under.
        now: The instant of asking.
    """
    reasons = dict.fromkeys(
        _in_cool_down(connection, campaign, overlap.cooldown_days, now), "in cool-down"
    )
    if overlap.active_elsewhere == "skip":
        active = _active_elsewhere(connection, campaign)
        reasons |= {lead: f"active in campaign '{other}'" for lead, other in active.items()}
    reasons |= dict.fromkeys(_suppressed(connection, leads, secret_key), "suppressed")
    columns = {"lead_id": list(reasons), "reason": list(reasons.values())}
    return pd.DataFrame(columns).astype(TEXT)


def company_load(connection: sa.Connection) -> dict[str, int]:
    """Leads in a sequence of any active campaign, by their company's domain."""
    leads = FRAME_TABLES["raw_leads"]
    query = (
        sa.select(leads.c.domain, sa.func.count())
        .join_from(leads, _ROUTED, _same_lead(leads, _ROUTED))
        .join(campaigns, campaigns.c.campaign == _ROUTED.c.campaign)
        .where(campaigns.c.state == "active", leads.c.domain.is_not(None))
        .group_by(leads.c.domain)
    )
    return dict(connection.execute(query).all())


def _active_elsewhere(connection: sa.Connection, campaign: str) -> dict[str, str]:
    """Leads whose address another active campaign has in a sequence that has not ended."""
    has_any = sa.exists().where(_same_lead(nurture_sends, _ROUTED))
    final = ("accepted", "rejected", "cancelled")
    has_open = sa.exists().where(_same_lead(nurture_sends, _ROUTED), _SENDS.state.not_in(final))
    query = (
        _shared_addresses(campaign)
        .join(_ROUTED, _same_lead(_THEIRS, _ROUTED))
        .join(campaigns, campaigns.c.campaign == _ROUTED.c.campaign)
        .where(campaigns.c.state == "active", has_open | ~has_any)
        .with_only_columns(_MINE.c.lead_id, _ROUTED.c.campaign)
    )
    return dict(connection.execute(query).all())


def _in_cool_down(connection: sa.Connection, campaign: str, days: int, now: datetime) -> list[str]:
    """Leads whose address another campaign wrote to within `days`."""
    if days == 0:
        return []
    query = (
        _shared_addresses(campaign)
        .join(nurture_sends, _same_lead(_THEIRS, nurture_sends))
        .where(_SENDS.state.in_(SPENT), _SENDS.claimed_at > now - timedelta(days=days))
        .with_only_columns(_MINE.c.lead_id)
    )
    return list(connection.scalars(query.distinct()))


def _shared_addresses(campaign: str) -> sa.Select:
    return (
        sa.select(_MINE.c.lead_id)
        .join_from(_MINE, _THEIRS, _MINE.c.email == _THEIRS.c.email)
        .where(_MINE.c.campaign == campaign, _THEIRS.c.campaign != campaign)
    )


def _same_lead(left: sa.FromClause, right: sa.FromClause) -> sa.ColumnElement[bool]:
    return (left.c.campaign == right.c.campaign) & (left.c.lead_id == right.c.lead_id)


def _suppressed(connection: sa.Connection, leads: pd.DataFrame, secret_key: bytes) -> list[str]:
    """Leads whose address or whose address's domain is suppressed."""
    if not any_suppressed(connection):
        return []
    reachable = leads.dropna(subset=["email"])
    keys = {
        lead: (address_key(secret_key, email), domain_key(secret_key, email.rpartition("@")[2]))
        for lead, email in zip(reachable["lead_id"], reachable["email"], strict=True)
    }
    hit = suppressed(connection, [key for pair in keys.values() for key in pair])
    return [lead for lead, pair in keys.items() if hit.intersection(pair)]
