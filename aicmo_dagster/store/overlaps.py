"""Who must not be routed now, for what other campaigns do and what people asked for.

Not here: the choice of a sequence (`domain.routing`).
"""

from datetime import datetime, timedelta

import pandas as pd
import pyarrow
import sqlalchemy as sa

from aicmo_dagster.domain.addresses import FREE_MAIL
from aicmo_dagster.domain.sections.routing import Overlap
from aicmo_dagster.domain.tokens import address_key, domain_key
from aicmo_dagster.store.campaigns import ACTIVE
from aicmo_dagster.store.enrolments import is_active
from aicmo_dagster.store.pacing import SPENT
from aicmo_dagster.store.suppressions import any_suppressed, suppressed
from aicmo_dagster.store.tables import (
    FRAME_TABLES,
    UtcInstant,
    campaigns,
    enrolments,
    events,
    nurture_sends,
)

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
    between: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """lead_id, cause and reason of the leads that must not be routed now, one row a lead.

    A cause is a reason without what is the lead's own, for counting.

    Args:
        connection: A connection within a transaction.
        campaign: The campaign that wants them.
        overlap: Its rules.
        leads: lead_id, email and domain of the leads it wants.
        secret_key: The key that suppressions are hashed under.
        now: The instant of asking.
        between: The first and the last of `leads`, where they are not all of the campaign's.
    """
    shared = _shared_addresses(campaign, between)
    reasons = {
        "somebody of the company replied": _beside_who_replied(
            connection, overlap.colleague_replied_days, leads, now
        ),
        "in cool-down": _in_cool_down(connection, shared, overlap.cooldown_days, now),
        "active in another campaign": _active_elsewhere(connection, shared, overlap),
        "suppressed": _suppressed(connection, leads, secret_key),
    }
    rows = [(lead, cause, why) for cause, part in reasons.items() for lead, why in part.items()]
    frame = pd.DataFrame(rows, columns=["lead_id", "cause", "reason"]).astype(TEXT)
    return frame.drop_duplicates("lead_id", keep="last")


def company_load(
    connection: sa.Connection, days: int, now: datetime, *, but_not: str | None = None
) -> dict[str, int]:
    """Leads that an active campaign has in a sequence or wrote to within `days`, by domain.

    The leads of the campaign `but_not` are left out.
    """
    leads = FRAME_TABLES["raw_leads"]
    enrolled = sa.exists().where(_same_lead(leads, enrolments), is_active())
    written = sa.exists().where(_same_lead(leads, nurture_sends), *_recent(days, now))
    query = (
        sa.select(leads.c.domain, sa.func.count())
        .join_from(leads, _ROUTED, _same_lead(leads, _ROUTED))
        .join(campaigns, campaigns.c.campaign == _ROUTED.c.campaign)
        .where(campaigns.c.state == ACTIVE, leads.c.domain.is_not(None), enrolled | written)
        .group_by(leads.c.domain)
    )
    if but_not is not None:
        query = query.where(leads.c.campaign != but_not)
    return dict(connection.execute(query).all())


def _active_elsewhere(
    connection: sa.Connection, shared: sa.Select, overlap: Overlap
) -> dict[str, str]:
    """Leads whose address another campaign has in a sequence that has not ended."""
    if overlap.active_elsewhere == "allow":
        return {}
    query = (
        shared.join(enrolments, _same_lead(_THEIRS, enrolments))
        .join(campaigns, campaigns.c.campaign == enrolments.c.campaign)
        .where(campaigns.c.state == ACTIVE, is_active())
        .with_only_columns(_MINE.c.lead_id, enrolments.c.campaign)
    )
    return {
        lead: f"active in campaign '{other}'; tried again when that ends"
        for lead, other in connection.execute(query)
    }


def _in_cool_down(
    connection: sa.Connection, shared: sa.Select, days: int, now: datetime
) -> dict[str, str]:
    """Leads whose address another campaign wrote to within `days`, and until when that holds."""
    if days == 0:
        return {}
    query = (
        shared.join(nurture_sends, _same_lead(_THEIRS, nurture_sends))
        .where(*_recent(days, now))
        .with_only_columns(_MINE.c.lead_id, sa.func.max(_SENDS.claimed_at, type_=UtcInstant()))
        .group_by(_MINE.c.lead_id)
    )
    return {
        lead: f"in cool-down until {last + timedelta(days=days):%Y-%m-%d}"
        for lead, last in connection.execute(query)
    }


def _recent(days: int, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (_SENDS.state.in_(SPENT), _SENDS.claimed_at > now - timedelta(days=days))


def _beside_who_replied(
    connection: sa.Connection, days: int, leads: pd.DataFrame, now: datetime
) -> dict[str, str]:
    """Leads at a company where somebody replied within `days`, in any campaign."""
    query = (
        sa.select(_THEIRS.c.domain, sa.func.max(events.c.happened_at, type_=UtcInstant()))
        .join_from(events, _THEIRS, _same_lead(events, _THEIRS))
        .where(events.c.kind == "reply", events.c.happened_at > now - timedelta(days=days))
        .where(_THEIRS.c.domain.is_not(None))
        .group_by(_THEIRS.c.domain)
    )
    replied = {d: at for d, at in connection.execute(query) if d not in FREE_MAIL}
    beside = leads[leads["domain"].isin(list(replied))]
    ends = {d: f"{at + timedelta(days=days):%Y-%m-%d}" for d, at in replied.items()}
    return {
        lead: f"somebody of the company replied; it is left alone until {ends[domain]}"
        for lead, domain in zip(beside["lead_id"], beside["domain"], strict=True)
    }


def _shared_addresses(campaign: str, between: tuple[str, str] | None) -> sa.Select:
    query = (
        sa.select(_MINE.c.lead_id)
        .join_from(_MINE, _THEIRS, _MINE.c.email == _THEIRS.c.email)
        .where(_MINE.c.campaign == campaign, _THEIRS.c.campaign != campaign)
    )
    return query if between is None else query.where(_MINE.c.lead_id.between(*between))


def _same_lead(left: sa.FromClause, right: sa.FromClause) -> sa.ColumnElement[bool]:
    return (left.c.campaign == right.c.campaign) & (left.c.lead_id == right.c.lead_id)


def _suppressed(
    connection: sa.Connection, leads: pd.DataFrame, secret_key: bytes
) -> dict[str, str]:
    """Leads whose address or whose address's domain is suppressed."""
    if not any_suppressed(connection):
        return {}
    reachable = leads.dropna(subset=["email"])
    keys = {
        lead: (address_key(secret_key, email), domain_key(secret_key, email.rpartition("@")[2]))
        for lead, email in zip(reachable["lead_id"], reachable["email"], strict=True)
    }
    hit = suppressed(connection, [key for pair in keys.values() for key in pair])
    return {lead: "suppressed" for lead, pair in keys.items() if hit.intersection(pair)}
