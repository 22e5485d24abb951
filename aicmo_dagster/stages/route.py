"""Routed leads: a sequence for every qualified lead that may have one.

Capacity and overlap are of the whole campaign, so routing holds of every lead where it stands and
what conditions name: 0.8 KB each, a million leads within 1 GiB.

Not here: the choice itself (`domain.routing`).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign, Sequence
from aicmo_dagster.domain.facts import one_array
from aicmo_dagster.domain.routing import Routed, Standing, columns_needed, route
from aicmo_dagster.domain.tokens import address_keys
from aicmo_dagster.stages.qualify import leads_with_scores
from aicmo_dagster.stages.report import Report, counted, counted_decisions
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import StoredCampaign, load_campaign
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.decisions import record_decisions
from aicmo_dagster.store.enrolments import (
    end_enrolments,
    enrol,
    enrolled,
    withdraw_enrolments,
)
from aicmo_dagster.store.frames import read_frame, replace_frame
from aicmo_dagster.store.moves import take_back_plans
from aicmo_dagster.store.overlaps import blocked_leads, company_load
from aicmo_dagster.store.overrides import active_overrides

TEXT = pd.ArrowDtype(pyarrow.string())


def route_leads(workspace: Workspace, key: str, now: datetime) -> Report:
    """`routed_leads` of the campaign holds everyone in a sequence; who was routed stays there."""
    stored = workspace.campaign(key)
    with workspace.database.write() as connection:
        take_turn(connection, f"leads of {key}")
        # All campaigns look at each other here, and count the contacts of one company.
        take_turn(connection, "routing")
        run = _Run(workspace, connection, stored, now)
        run.catch_up()
        pool, routed = run.route_and_enrol()
        replace_frame(connection, "routed_leads", key, routed.leads)
        record_decisions(
            connection,
            key,
            "routed_leads",
            routed.decisions,
            now=now,
            campaign_version=stored.version,
            inputs={"strategy": stored.campaign.routing.strategy},
        )
    return _report(key, pool, routed)


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
    unsent: Callable[[sa.Connection, str, list[str]], set[str]],
) -> Pool:
    """Whom `campaign`, which need not be the stored one, would route; `qualified` are lead ids.

    Args:
        workspace: The settings.
        connection: A connection within a transaction.
        campaign: The campaign document.
        leads: Its leads with score and engagement, see `leads_with_scores`.
        qualified: The ids of those who qualify.
        now: The instant of asking.
        unsent: Which of some leads have had no message: `moves.without_begun_sends`, or
            `moves.take_back_plans` where they are moved indeed.
    """
    key, overlap = campaign.campaign, campaign.routing.overlap
    routed = read_frame(connection, "routed_leads", key)
    leads = leads[_among(leads["lead_id"], qualified, routed["lead_id"])]
    secret_key = workspace.settings.secret_key()
    overrides = active_overrides(connection, key, now)
    moves = overrides[overrides["action"].str.startswith("route:")]
    standing = Standing(
        blocked_leads(connection, key, overlap, leads, secret_key=secret_key, now=now),
        moves,
        {} if overlap.per_company is None else company_load(connection, overlap.cooldown_days, now),
        _ended(connection, key),
        unsent(connection, key, _to_move(routed, moves)),
    )
    return Pool(leads, routed, standing)


def _among(lead_ids: pd.Series, *others: pd.Series) -> npt.NDArray[np.bool_]:
    """Whether each of `lead_ids` is in one of `others`."""
    wanted = pyarrow.concat_arrays([one_array(each) for each in others])
    held = pc.is_in(one_array(lead_ids), value_set=wanted)
    return np.asarray(held.to_numpy(zero_copy_only=False), bool)


def _ended(connection: sa.Connection, key: str) -> frozenset[str]:
    known = enrolled(connection, key)
    return frozenset(known["lead_id"][~known["active"]])


def _to_move(routed: pd.DataFrame, moves: pd.DataFrame) -> list[str]:
    """Routed leads that an override wants in another sequence."""
    held = dict(zip(routed["lead_id"], "route:" + routed["sequence"], strict=True))
    wanted = zip(moves["lead_id"], moves["action"], strict=True)
    return [lead for lead, action in wanted if held.get(lead, action) != action]


@dataclass(frozen=True)
class _Run:
    """One run of routing for one campaign, in one transaction."""

    workspace: Workspace
    connection: sa.Connection
    stored: StoredCampaign
    now: datetime

    @property
    def key(self) -> str:
        return self.stored.campaign.campaign

    def catch_up(self) -> None:
        """Everyone in a sequence is enrolled, and whoever's has ended is not any more."""
        routed = read_frame(self.connection, "routed_leads", self.key)
        known = enrolled(self.connection, self.key)["lead_id"]
        self._enrol(routed[~_among(routed["lead_id"], known)])
        left = known[~_among(known, routed["lead_id"])]
        withdraw_enrolments(self.connection, self.key, left.tolist())
        end_enrolments(self.connection, self.now)

    def route_and_enrol(self) -> tuple[Pool, Routed]:
        """Routes until nobody who is to enter a sequence was taken by another run meanwhile."""
        qualified = read_frame(self.connection, "qualified_leads", self.key, ["lead_id"])
        campaign, ids = self.stored.campaign, qualified["lead_id"]
        leads = leads_with_scores(self.connection, self.key, columns_needed(campaign))
        pool = read_pool(
            self.workspace, self.connection, campaign, leads, ids, self.now, take_back_plans
        )
        while True:
            version, standing = self.stored.version, pool.standing
            routed = route(
                pool.leads, pool.routed, campaign, standing, version=version, now=self.now
            )
            entering = routed.leads[~_among(routed.leads["lead_id"], pool.routed["lead_id"])]
            taken = self._enrol(entering, pool.leads)
            if not taken:
                self._enrol_again(routed)
                return pool, routed
            withdraw_enrolments(self.connection, self.key, entering["lead_id"].tolist())
            pool = _without(pool, taken)

    def _enrol_again(self, routed: Routed) -> None:
        """Those who were moved end with another step now."""
        withdraw_enrolments(self.connection, self.key, routed.moved)
        self._enrol(routed.leads[routed.leads["lead_id"].isin(routed.moved)])

    def _enrol(self, routed: pd.DataFrame, known: pd.DataFrame | None = None) -> set[str]:
        """Enrols the leads of a `RoutedLeads` frame; tells whose person is in another sequence.

        Where `known` is given, they are among its leads, and it says their addresses.
        """
        if routed.empty:
            return set()
        ends = {
            (name, version): sequence.steps[-1].id
            for version in routed["campaign_version"].unique().tolist()
            for name, sequence in self._sequences(version).items()
        }
        # Not the columns' own lists, for which pandas makes a scalar of each value first.
        followed = (one_array(routed[n]).to_pylist() for n in ("sequence", "campaign_version"))
        last = pd.Series([ends[pair] for pair in zip(*followed, strict=True)], routed.index, TEXT)
        leads = pd.DataFrame({"lead_id": routed["lead_id"], "last_step": last})
        leads = leads.assign(person=self._persons(leads, known))
        return enrol(self.connection, self.key, leads, self.now)

    def _sequences(self, version: int) -> dict[str, Sequence]:
        return load_campaign(self.connection, self.key, version).campaign.sequences

    def _persons(self, leads: pd.DataFrame, known: pd.DataFrame | None) -> pd.Series:
        """Who each lead is, in all campaigns; missing where a person may be in several."""
        if self.stored.campaign.routing.overlap.active_elsewhere == "allow":
            return pd.Series(pd.NA, leads.index, TEXT)
        raw = known
        if raw is None:
            raw = read_frame(self.connection, "raw_leads", self.key, ["lead_id", "email"])
        at = pc.index_in(one_array(leads["lead_id"]), value_set=one_array(raw["lead_id"]))
        emails = one_array(raw["email"]).take(at).to_pylist()
        persons = address_keys(self.workspace.settings.secret_key(), emails)
        return pd.Series(persons, leads.index, TEXT)


def _without(pool: Pool, taken: Collection[str]) -> Pool:
    """`pool` with those blocked whom another run took at this very moment."""
    cause = "active in another campaign"
    blocked = pd.DataFrame({"lead_id": list(taken), "cause": cause, "reason": cause}).astype(TEXT)
    everyone = pd.concat([pool.standing.blocked, blocked], ignore_index=True)
    return replace(pool, standing=replace(pool.standing, blocked=everyone))


def _report(key: str, pool: Pool, routed: Routed) -> Report:
    refused = routed.decisions[routed.decisions["outcome"] == "not_routed"]
    leads = routed.leads
    active = leads[~leads["lead_id"].isin(pool.standing.ended)]
    figures: dict[str, float] = {f"in {n}": c for n, c in counted(leads["sequence"]).items()}
    figures |= {f"active in {n}": c for n, c in counted(active["sequence"]).items()}
    figures |= {"newly_routed": len(leads) - len(pool.routed), "moved": len(routed.moved)}
    return Report(
        key,
        "routed_leads",
        len(routed.decisions),
        len(leads),
        counted(refused["cause"]),
        figures,
        decisions=counted_decisions(routed.decisions),
    )
