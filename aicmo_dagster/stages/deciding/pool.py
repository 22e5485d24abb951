"""Whom a rehearsal of routing looks at, and what it has to know beside them, all at once.

Not here: routing itself, which goes through leads part by part (`route`).
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.facts import one_array
from aicmo_dagster.domain.routing import Standing
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.enrolments import enrolled
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.moves import without_begun_sends
from aicmo_dagster.store.overlaps import blocked_leads, company_load
from aicmo_dagster.store.overrides import active_overrides


@dataclass(frozen=True)
class Pool:
    """Whom routing looks at, and what it has to know beside them.

    Args:
        leads: The qualified and the routed leads, with score and engagement.
        routed: The stored `RoutedLeads` frame.
        standing: What else bears on it.
    """

    leads: pd.DataFrame
    routed: pd.DataFrame
    standing: Standing


def read_pool(
    workspace: Workspace,
    connection: sa.Connection,
    campaign: Campaign,
    leads: pd.DataFrame,
    qualified: pd.Series,
    now: datetime,
) -> Pool:
    """Whom `campaign`, which need not be the stored one, would route; `qualified` are lead ids.

    Args:
        workspace: The settings.
        connection: A connection within a transaction.
        campaign: The campaign document.
        leads: Its leads with score and engagement, see `leads_with_scores`.
        qualified: The ids of those who qualify.
        now: The instant of asking.
    """
    key, overlap = campaign.campaign, campaign.routing.overlap
    routed = read_frame(connection, "routed_leads", key)
    leads = leads[among(leads["lead_id"], qualified, routed["lead_id"])]
    secret_key = workspace.settings.secret_key()
    moves = wanted_moves(connection, key, now)
    standing = Standing(
        blocked_leads(connection, key, overlap, leads, secret_key=secret_key, now=now),
        moves,
        {} if overlap.per_company is None else company_load(connection, overlap.cooldown_days, now),
        _ended(connection, key),
        without_begun_sends(connection, key, to_move(routed, moves)),
    )
    return Pool(leads, routed, standing)


def wanted_moves(connection: sa.Connection, key: str, now: datetime) -> pd.DataFrame:
    """The overrides that name a sequence."""
    overrides = active_overrides(connection, key, now)
    return overrides[overrides["action"].str.startswith("route:")]


def to_move(routed: pd.DataFrame, moves: pd.DataFrame) -> list[str]:
    """Those of the `routed` leads that an override wants in another sequence."""
    held = dict(zip(routed["lead_id"], "route:" + routed["sequence"], strict=True))
    wanted = zip(moves["lead_id"], moves["action"], strict=True)
    return [lead for lead, action in wanted if held.get(lead, action) != action]


def among(lead_ids: pd.Series, *others: pd.Series) -> npt.NDArray[np.bool_]:
    """Whether each of `lead_ids` is in one of `others`."""
    wanted = pyarrow.concat_arrays([one_array(each) for each in others])
    held = pc.is_in(one_array(lead_ids), value_set=wanted)
    return np.asarray(held.to_numpy(zero_copy_only=False), bool)


def _ended(connection: sa.Connection, key: str) -> frozenset[str]:
    known = enrolled(connection, key)
    return frozenset(known["lead_id"][~known["active"]])
