"""Nurture sends: what is due is planned, claimed, rendered and handed over, each send at most once.

Not here: the rules of planning (`domain.nurture`), of claiming (`store.ledger`), of messages and
their delivery (`mail`).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from aicmo_dagster.domain.templates import RenderFailed
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.mail.delivery import Transport, open_transport
from aicmo_dagster.mail.messages import Undeliverable
from aicmo_dagster.stages.letters import Letters
from aicmo_dagster.stages.planning import make_ready, plan_due
from aicmo_dagster.stages.rehearsal import notes_of
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import ledger
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.leads import read_leads
from aicmo_dagster.store.workers import has_ended, this_worker

BATCH = 50
"""Sends claimed in one transaction: what a power failure can leave in doubt."""


def nurture(workspace: Workspace, key: str, clock: Callable[[], datetime]) -> Report:
    """Everything that is due and allowed is sent; `nurture_sends` says where every send stands.

    Args:
        workspace: The settings and the database.
        key: The campaign.
        clock: Asked for the time again and again, since sending may last for hours.
    """
    stored = workspace.campaign(key)
    with _transport(workspace) as transport:
        run = _Run(workspace, stored, transport, clock)
        run.settle()
        readiness = make_ready(workspace, stored, clock())
        planned = run.plan()
        if stored.state == "active":
            run.send()
            planned += run.plan()
    return run.report(planned, notes_of(readiness))


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
    worker: str = field(default_factory=this_worker)
    outcomes: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def key(self) -> str:
        return self.stored.campaign.campaign

    def settle(self) -> None:
        """What earlier workers left behind is planned again, accepted, or kept as unknown."""
        with self.workspace.database.write() as connection:
            ledger.recover(connection, self.key, has_ended=has_ended, now=self.clock())
            asked = self.transport.was_delivered
            ledger.reconcile(connection, self.key, asked, transport=self.transport.name)

    def plan(self) -> int:
        """The next send of every lead stands in the ledger; how many were new."""
        secret_key = self.workspace.settings.secret_key()
        with self.workspace.database.write() as connection:
            return plan_due(connection, self.stored, secret_key, self.clock())

    def send(self) -> None:
        """Claims and sends batch by batch until nothing more is due or allowed."""
        letters = Letters(self.workspace, self.stored, self.clock)
        try:
            while (claim := self._claim()).looked_at:
                self._send_batch(claim.sends, letters)
        finally:
            with self.workspace.database.write() as connection:
                ledger.release(connection, self.key, worker=self.worker)

    def _claim(self) -> ledger.Claim:
        with self.workspace.database.write(durable=True) as connection:
            claim = ledger.claim(
                connection,
                self.stored.campaign,
                worker=self.worker,
                secret_key=self.workspace.settings.secret_key(),
                now=self.clock(),
                limit=BATCH,
            )
        self.passed_over += claim.passed_over
        return claim

    def _send_batch(self, sends: list[ledger.Send], letters: Letters) -> None:
        ids = [send.lead_id for send in sends]
        with self.workspace.database.read() as connection:
            leads = read_leads(connection, self.key, ids)
            threads = ledger.threads(connection, self.key, ids)
        for send in sends:
            self._send_one(send, letters, leads[send.lead_id], threads.get(send.lead_id, []))

    def _send_one(
        self,
        send: ledger.Send,
        letters: Letters,
        lead: dict[str, Any],
        thread: list[tuple[str, str]],
    ) -> None:
        record = partial(self._record, send)
        try:
            content = letters.write(send, lead, thread)
        except (RenderFailed, Undeliverable) as error:
            self.outcomes["held"] += 1
            self.passed_over[f"held: {error}"] += 1
            return record(ledger.hold, reason=str(error))
        if not record(ledger.begin_attempt, transport=self.transport.name):
            return None
        sender = self.stored.campaign.nurture.sender.address
        try:
            delivery = self.transport.deliver(sender, send.email, send.message_id, content)
        except AicmoError as error:  # there is no connection, so nothing has left
            record(ledger.record_outcome, state="planned", reply=str(error))
            raise
        self.outcomes[delivery.state] += 1
        if delivery.state != "accepted":
            self.passed_over[f"{delivery.state} by the mail server"] += 1
        return record(ledger.record_outcome, state=delivery.state, reply=delivery.reply)

    def _record(self, send: ledger.Send, operation: Any, **values: str) -> Any:
        """One operation of the ledger on one send, in a transaction of its own."""
        with self.workspace.database.write() as connection:
            return operation(
                connection, self.key, send, worker=self.worker, now=self.clock(), **values
            )

    def report(self, planned: int, notes: tuple[str, ...]) -> Report:
        """What this pass did and where all sends of the campaign stand."""
        with self.workspace.database.read() as connection:
            states = ledger.state_counts(connection, self.key)
            routed = read_frame(connection, "routed_leads", self.key, ["lead_id"])
        figures: dict[str, float] = {
            "newly_planned": planned,
            **{f"now_{k}": n for k, n in self.outcomes.items()},
        }
        figures |= {f"all_{state}": count for state, count in states.items()}
        total = sum(states.values())
        reasons = dict(self.passed_over.most_common())
        return Report(self.key, "nurture_sends", len(routed), total, reasons, figures, notes)
