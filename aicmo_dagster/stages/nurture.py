"""Nurture sends: what is due is planned, claimed, rendered and handed over, each send at most once.

Not here: the rules of planning (`domain.nurture`), of claiming (`store.ledger`), of messages and
their delivery (`mail`), or one pass of sending (`dispatch`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.nurture.planning import plan
from aicmo_dagster.domain.tokens import message_id
from aicmo_dagster.mail.delivery import Transport, open_transport
from aicmo_dagster.stages.dispatch import Dispatch
from aicmo_dagster.stages.fence import Fence
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import ledger, outcomes
from aicmo_dagster.store.campaigns import StoredCampaign, load_campaign
from aicmo_dagster.store.frames import count_rows, read_rows_of
from aicmo_dagster.store.plannings import leads_to_plan, note_planned
from aicmo_dagster.store.workers import has_ended, this_boot


def nurture(workspace: Workspace, key: str, clock: Callable[[], datetime]) -> Report:
    """Everything that is due and allowed is sent; `nurture_sends` says where every send stands.

    Args:
        workspace: The settings and the database.
        key: The campaign.
        clock: Asked for the time again and again, since sending may last for hours.
    """
    stored = workspace.campaign(key)
    fence = Fence(workspace)
    fence.check(clock())
    with _transport(workspace) as transport:
        run = _Run(workspace, stored, transport, clock)
        run.settle()
        planned = run.plan()
        dispatch = Dispatch(workspace, stored, transport, fence, clock)
        if stored.state == "active":
            dispatch.send()
            planned += run.plan()
    return run.report(planned, dispatch)


@contextmanager
def _transport(workspace: Workspace) -> Iterator[Transport]:
    transport = open_transport(workspace.settings.smtp_url, workspace.settings.outbox)
    try:
        yield transport
    finally:
        transport.close()


@dataclass
class _Run:
    """One pass over a campaign's sends by this process."""

    workspace: Workspace
    stored: StoredCampaign
    transport: Transport
    clock: Callable[[], datetime]

    @property
    def key(self) -> str:
        return self.stored.campaign.campaign

    def settle(self) -> None:
        """What earlier workers left behind is planned again, accepted, or kept as unknown."""
        with self.workspace.database.write() as connection:
            now, boot = self.clock(), this_boot()
            outcomes.recover(connection, self.key, has_ended=has_ended, boot=boot, now=now)
            asked = self.transport.was_delivered
            outcomes.reconcile(connection, self.key, asked, transport=self.transport.name)

    def plan(self) -> int:
        """The next send of every lead stands in the ledger; how many were new."""
        sender = self.stored.campaign.nurture.sender.address
        secret_key = self.workspace.settings.secret_key()
        host = sender.rpartition("@")[2]
        with self.workspace.database.write() as connection:
            now = self.clock()
            wanted = leads_to_plan(connection, self.key, now)
            if not wanted:
                return 0
            leads = _leads_in_sequence(connection, self.key, wanted)
            sends = plan(
                leads,
                ledger.read_progress(connection, self.key, wanted),
                self._versions(connection, leads),
                name_message=lambda lead, step: message_id(secret_key, self.key, lead, step, host),
                now=now,
            )
            planned = ledger.plan_sends(connection, self.key, sends, sender=sender)
            note_planned(connection, self.key, wanted, now)
            return planned

    def _versions(self, connection: sa.Connection, leads: pd.DataFrame) -> dict[int, Campaign]:
        """The campaign document by each version that one of `leads` follows."""
        versions = [int(version) for version in leads["campaign_version"].unique()]
        return {v: load_campaign(connection, self.key, v).campaign for v in versions}

    def report(self, planned: int, dispatch: Dispatch) -> Report:
        """What this pass did and where all sends of the campaign stand."""
        with self.workspace.database.read() as connection:
            states = ledger.state_counts(connection, self.key)
            routed = count_rows(connection, "routed_leads", self.key)
        figures: dict[str, float] = {
            "newly_planned": planned,
            **{f"now_{k}": n for k, n in dispatch.tally.items()},
        }
        figures |= {f"all_{state}": count for state, count in states.items()}
        total = sum(states.values())
        reasons = dict(dispatch.passed_over.most_common())
        return Report(self.key, "nurture_sends", routed, total, reasons, figures)


def _leads_in_sequence(connection: sa.Connection, key: str, leads: list[str]) -> pd.DataFrame:
    """Those of `leads` that are routed and have an address, with what planning needs of them."""
    routed = read_rows_of(connection, "routed_leads", key, leads)
    raw = read_rows_of(connection, "raw_leads", key, leads, ["lead_id", "email", "timezone"])
    return routed.merge(raw[raw["email"].notna()], on="lead_id", how="inner")
