"""Planning as a stage: who must be looked at is read, the domain decides, the ledger has it.

Not here: the rules (`domain.nurture.planning`), or which leads those are (`store.agenda`).
"""

from datetime import datetime, timedelta
from functools import partial

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.nurture.planning import Planner
from aicmo_dagster.domain.tokens import message_id
from aicmo_dagster.mail.dns import Dns, Lookup
from aicmo_dagster.stages.nurturing.experiments import standings
from aicmo_dagster.stages.nurturing.mailboxes import learn_providers
from aicmo_dagster.stages.nurturing.rehearsal import TRY_AGAIN, rehearsed
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import agenda, ledger
from aicmo_dagster.store.campaigns import StoredCampaign, load_campaign
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.rehearsals import StoredRehearsal, barred_versions
from aicmo_dagster.store.sequence_versions import move_to_version

WITHOUT_ADDRESS = timedelta(days=1)
"""How long until a lead that has lost its address is looked at again."""

FIRST = 1
"""The priority of a first message; a follow-up has 0, which goes before it."""


def make_ready(
    workspace: Workspace, stored: StoredCampaign, now: datetime, lookup: Lookup | None = None
) -> StoredRehearsal:
    """The campaign is rehearsed, and whose mailboxes it writes to is known, as far as it can be.

    The DNS is asked where mail goes out for good, and not for a folder on this machine.
    """
    if lookup is None and workspace.settings.smtp_url:
        lookup = Dns()
    if lookup is not None:
        learn_providers(workspace, stored.campaign.campaign, lookup, now)
    return rehearsed(workspace, stored, lookup, now)


def plan_due(
    connection: sa.Connection, stored: StoredCampaign, secret_key: bytes, now: datetime
) -> int:
    """The next send of every lead that there is something new about stands in the ledger.

    It costs what is due: the other leads are not read. Nobody begins with a version whose rehearsal
    failed; a later one that may be used takes its leads over.

    Returns:
        How many sends are new.
    """
    key, sender = stored.campaign.campaign, stored.campaign.nurture.sender.address
    take_turn(connection, f"planning of {key}")
    agenda.enter(connection, key, now)
    agenda.follow(connection, key, now)
    agenda.heed_responses(connection, key, now)
    if not agenda.any_to_look_at(connection, key, now):
        return 0
    leads = _allowed(connection, stored, agenda.leads_to_look_at(connection, key, now), now)
    if leads.empty:
        return 0
    reachable = leads["email"].notna()
    nowhere = leads.loc[~reachable, "lead_id"].tolist()
    agenda.look_again(connection, key, nowhere, now + WITHOUT_ADDRESS)
    host = sender.rpartition("@")[2]
    versions = {v: load_campaign(connection, key, v) for v in _versions(leads)}
    planner = Planner(
        versions={version: stored.campaign for version, stored in versions.items()},
        name_message=partial(_name_message, secret_key, key, host),
        now=now,
        standings=standings(connection, versions, now),
    )
    plan = planner.plan(leads[reachable])
    sends = _held_back(plan.sends, leads)
    agenda.record_plan(connection, key, sends, _looked_at_again(plan.leads, leads, now), now)
    return ledger.plan_sends(connection, key, _prioritised(sends, leads), sender=sender)


def _allowed(
    connection: sa.Connection, stored: StoredCampaign, leads: pd.DataFrame, now: datetime
) -> pd.DataFrame:
    """`leads` without those that must not begin; they are looked at again later."""
    key = stored.campaign.campaign
    barred = barred_versions(connection, key)
    held = leads["campaign_version"].isin(barred)
    if not held.any():
        return leads
    if stored.version in barred:
        later = leads.loc[held, "lead_id"].tolist()
        agenda.look_again(connection, key, later, now + TRY_AGAIN)
        return leads[~held]
    move_to_version(connection, key, leads.loc[held, "lead_id"], stored.version, now)
    versions = leads["campaign_version"].mask(held, stored.version)
    return leads.assign(campaign_version=versions)


def _versions(leads: pd.DataFrame) -> list[int]:
    """The versions of the campaign document that `leads` follow."""
    return leads["campaign_version"].unique().tolist()


def _held_back(sends: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    """`sends`, none of them due before their lead may be written to; claiming finds the window."""
    if leads["not_before"].isna().all():
        return sends
    until = sends["lead_id"].map(leads.set_index("lead_id")["not_before"])
    later = (until > sends["due_at"]).fillna(False)
    return sends.assign(due_at=sends["due_at"].mask(later, until))


def _looked_at_again(news: pd.DataFrame, leads: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """`news`, where whoever's click is not judged yet is looked at once it is."""
    if not leads["pending"].any():
        return news
    pending = news["lead_id"].isin(leads.loc[leads["pending"], "lead_id"])
    soon = pd.Timestamp(now + agenda.FOLD_BACK)
    later = news["look_at"].isna() | (news["look_at"] > soon)
    waits = pending & (news["state"] == "active") & later
    return news.assign(look_at=news["look_at"].mask(waits, soon))


def _prioritised(sends: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    """`sends` with their priority."""
    new = leads.loc[leads["step"].isna(), "lead_id"]
    return sends.assign(priority=sends["lead_id"].isin(new).astype("int64") * FIRST)


def _name_message(secret_key: bytes, key: str, host: str, lead: str, step: str) -> str:
    return message_id(secret_key, key, lead, step, host)
