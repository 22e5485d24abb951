"""Rehearsals of qualification and routing: what a run would decide, with nothing written.

Not here: the decisions (`domain`), or how a rehearsal is shown.
"""

from dataclasses import dataclass, replace
from datetime import datetime

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.places import Places
from aicmo_dagster.domain.rehearsal import (
    compare_qualified,
    compare_routed,
    distribution,
    fairness,
)
from aicmo_dagster.domain.routing import Routed, route
from aicmo_dagster.stages.deciding.pool import Pool, read_pool
from aicmo_dagster.stages.deciding.qualify import judge, leads_with_scores
from aicmo_dagster.stages.deciding.score import chosen_model, scored_by
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.engagement import with_engagement
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.overlaps import company_load


@dataclass(frozen=True)
class QualificationRehearsal:
    """What qualification would change.

    Args:
        before: How many qualify now.
        after: How many would.
        changes: lead_id, change, cause, reason of those who would enter or leave.
    """

    before: int
    after: int
    changes: pd.DataFrame


@dataclass(frozen=True)
class RoutingRehearsal:
    """What routing would change.

    Args:
        distribution: What each sequence would hold, see `rehearsal.distribution`.
        fairness: What each sequence would have had of its turns, see `rehearsal.fairness`.
        changes: lead_id, before, after, reason of those whose sequence would be another.
        waiting: How many would have no sequence, by cause.
    """

    distribution: pd.DataFrame
    fairness: pd.DataFrame
    changes: pd.DataFrame
    waiting: dict[str, int]


def rehearse_qualification(
    workspace: Workspace,
    key: str,
    document: Campaign | None,
    now: datetime,
    *,
    model: str | None = None,
) -> QualificationRehearsal:
    """Who would enter and who would leave `qualified_leads`.

    Args:
        workspace: The settings and the database.
        key: The campaign, whose stored leads and scores are judged.
        document: The document to judge by; the stored one unless given.
        now: The instant of judging.
        model: What scores the leads anew; by the stored scores unless given.
    """
    campaign = document or workspace.campaign(key).campaign
    with workspace.database.read() as connection:
        before = read_frame(connection, "qualified_leads", key, ["lead_id"])["lead_id"]
        after = judge(connection, _scored(connection, campaign, model, now), campaign, now)
    changes = compare_qualified(before, after)
    return QualificationRehearsal(len(before), len(after.leads), changes)


def rehearse_routing(
    workspace: Workspace,
    key: str,
    document: Campaign | None,
    now: datetime,
    *,
    afresh: bool,
    model: str | None = None,
) -> RoutingRehearsal:
    """Who would go where by the next run, which judges the stored leads first.

    With a `document` or a `model`, the run by it is held against the run as things stand, so that
    the changes are those that it makes.

    Args:
        workspace: The settings and the database.
        key: The campaign.
        document: The document to route by; the stored one unless given.
        now: The instant of routing.
        afresh: As if none of the campaign's leads were in a sequence yet.
        model: What scores the leads anew; by the stored scores unless given.
    """
    stored = workspace.campaign(key).campaign
    campaign = document or stored
    with workspace.database.read() as connection:
        leads = leads_with_scores(connection, key)
        pool, routed = _routed(workspace, connection, stored, leads, now, afresh=afresh)
        before = pool.routed
        if document is not None or model is not None:
            before = routed.leads
            leads = _scored(connection, campaign, model, now)
            pool, routed = _routed(workspace, connection, campaign, leads, now, afresh=afresh)
    places = Places.of(campaign, pool.routed, pool.standing.ended, now)
    waiting = routed.decisions[routed.decisions["outcome"] == "not_routed"]
    return RoutingRehearsal(
        distribution(campaign, routed.leads, places),
        fairness(routed.leads),
        compare_routed(before, routed),
        {str(cause): int(n) for cause, n in waiting["cause"].value_counts().items()},
    )


def _scored(
    connection: sa.Connection, campaign: Campaign, model: str | None, now: datetime
) -> pd.DataFrame:
    """As `leads_with_scores`, scored anew by `model` if one is named."""
    key = campaign.campaign
    if model is None:
        return leads_with_scores(connection, key)
    raw = read_frame(connection, "raw_leads", key)
    scored = scored_by(chosen_model(connection, key, model), raw, campaign.scoring, now)
    told = scored[["lead_id", "score", "band", "model"]]
    return with_engagement(connection, key, raw.merge(told, on="lead_id", how="inner"))


def _routed(
    workspace: Workspace,
    connection: sa.Connection,
    campaign: Campaign,
    leads: pd.DataFrame,
    now: datetime,
    *,
    afresh: bool,
) -> tuple[Pool, Routed]:
    key = campaign.campaign
    qualified = judge(connection, leads, campaign, now).leads
    pool = read_pool(workspace, connection, campaign, leads, qualified["lead_id"], now)
    if afresh:
        others = company_load(connection, campaign.routing.overlap.cooldown_days, now, but_not=key)
        leads = pool.leads[pool.leads["lead_id"].isin(qualified["lead_id"])]
        standing = replace(pool.standing, company_load=others)
        pool = Pool(leads, pool.routed.iloc[:0], standing)
    # What version the leads would follow makes no difference to where they go.
    return pool, route(pool.leads, pool.routed, campaign, pool.standing, version=1, now=now)
