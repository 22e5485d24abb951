"""Nurture sends: what is due is planned, claimed, rendered and handed over, each send at most once.

Not here: the rules of planning (`domain.nurture`), of claiming (`store.claiming`), of messages and
their delivery (`mail`), or one pass of sending (`dispatch`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime

from aicmo_dagster.mail.delivery import Transport, open_transport
from aicmo_dagster.stages.nurturing.dispatch import Dispatch
from aicmo_dagster.stages.nurturing.fence import Fence
from aicmo_dagster.stages.nurturing.planning import make_ready, plan_due
from aicmo_dagster.stages.nurturing.rehearsal import notes_of
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import ledger, outcomes
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.frames import count_rows
from aicmo_dagster.store.workers import has_ended, this_boot


def nurture(
    workspace: Workspace,
    key: str,
    clock: Callable[[], datetime],
    transport: Transport | None = None,
) -> Report:
    """Everything that is due and allowed is sent; `nurture_sends` says where every send stands.

    Args:
        workspace: The settings and the database.
        key: The campaign.
        clock: Asked for the time again and again, since sending may last for hours.
        transport: Where mail goes instead of where the settings say; its owner closes it.
    """
    stored = workspace.campaign(key)
    fence = Fence(workspace)
    fence.check(clock())
    with nullcontext(transport) if transport else _transport(workspace) as carrier:
        run = _Run(workspace, stored, carrier, clock)
        run.settle()
        readiness = make_ready(workspace, stored, clock())
        planned = run.plan()
        dispatch = Dispatch(workspace, stored, carrier, fence, clock)
        if stored.state == "active":
            dispatch.send()
            if dispatch.changed_anything:
                planned += run.plan()
    return run.report(planned, dispatch, notes_of(readiness))


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
        secret_key = self.workspace.settings.secret_key()
        with self.workspace.database.write() as connection:
            return plan_due(connection, self.stored, secret_key, self.clock())

    def report(self, planned: int, dispatch: Dispatch, notes: tuple[str, ...]) -> Report:
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
        return Report(self.key, "nurture_sends", routed, total, reasons, figures, notes)
