"""Claimed sends made into messages, handed over, and recorded: claim, write, deliver, settle.

Not here: what is planned (`nurture`), the rules of claiming (`store.ledger`) and of settling
(`store.outcomes`), or the words of a message (`letters`).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.domain.sandbox import RenderFailed
from aicmo_dagster.domain.tokens import address_key
from aicmo_dagster.domain.tracking import Link
from aicmo_dagster.mail.delivery import Transport
from aicmo_dagster.mail.headers import Undeliverable
from aicmo_dagster.mail.parcels import Parcel
from aicmo_dagster.mail.replies import Delivery
from aicmo_dagster.stages.fence import Fence
from aicmo_dagster.stages.letters import Letters
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import ledger, outcomes
from aicmo_dagster.store.breakers import (
    Breaker,
    note_attempts,
    provider_scope,
    read_breakers,
    step_scope,
)
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.environments import count_claim
from aicmo_dagster.store.leads import read_leads
from aicmo_dagster.store.links import keep_links
from aicmo_dagster.store.recipients import present_ids
from aicmo_dagster.store.suppressions import suppress
from aicmo_dagster.store.workers import this_boot, this_worker

BATCH = 200
"""Sends claimed in one transaction: what a power failure can leave in doubt."""

AHEAD = 20
"""Messages written before the first of them leaves, so that their links are kept together."""

DEAD = {
    "address": "the mail server knows no such address",
    "domain": "the mail server knows no such domain",
}


@dataclass
class Dispatch:
    """Sends what is due of one campaign, in this process; the transports' book.

    Args:
        workspace: The settings and the database.
        stored: The campaign.
        transport: Where mail goes.
        fence: Told of every claim.
        clock: Asked for the time again and again, since sending may last for hours.
    """

    workspace: Workspace
    stored: StoredCampaign
    transport: Transport
    fence: Fence
    clock: Callable[[], datetime]
    tally: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)
    _worker: str = field(default_factory=this_worker)
    _boot: str = field(default_factory=this_boot)
    _sends: dict[str, ledger.Send] = field(default_factory=dict)
    _breakers: dict[str, Breaker] = field(default_factory=dict)
    _held: list[tuple[ledger.Send, str]] = field(default_factory=list)
    _links: set[str] = field(default_factory=set)
    _date: datetime = datetime.min

    @property
    def key(self) -> str:
        """The campaign's key."""
        return self.stored.campaign.campaign

    @property
    def changed_anything(self) -> bool:
        """Whether any send was claimed, moved or cancelled."""
        return self.tally.total() > 0 or self.passed_over.total() > 0

    @property
    def _sender(self) -> str:
        return self.stored.campaign.nurture.sender.address

    def send(self) -> None:
        """Everything that is due and allowed is sent, batch by batch."""
        letters = Letters(self.workspace, self.stored)
        try:
            while (claim := self._claim()).looked_at:
                self._send_batch(claim.sends, letters)
        finally:
            with self.workspace.database.write() as connection:
                outcomes.release(connection, self.key, worker=self._worker)

    def write(
        self, results: Sequence[tuple[Parcel, Delivery]], attempts: Sequence[Parcel]
    ) -> set[str]:
        """Results and the beginning of `attempts` are committed; tells which may be made."""
        sends = [self._sends[parcel.message_id] for parcel in attempts]
        now = self.clock()
        with self.workspace.database.write() as connection:
            self._settle(connection, results, now)
            going = [send for send in sends if not self._is_closed(send, now)]
            return outcomes.begin_attempts(
                connection,
                self.key,
                going,
                worker=self._worker,
                transport=self.transport.name,
                dated=self._date,
                now=now,
            )

    def _claim(self) -> ledger.Claim:
        now = self.clock()
        with self.workspace.database.write(durable=True) as connection:
            self._breakers = read_breakers(connection, self._sender)
            claim = ledger.claim(
                connection,
                self.stored.campaign,
                worker=self._worker,
                secret_key=self.workspace.settings.secret_key(),
                now=now,
                limit=BATCH,
                boot=self._boot,
                closed=self._closed(now),
            )
            claims = count_claim(connection)
        self.fence.note(claims)
        self.passed_over += claim.passed_over
        self.tally["claimed"] += len(claim.sends)
        return claim

    def _send_batch(self, sends: list[ledger.Send], letters: Letters) -> None:
        ids = [send.lead_id for send in sends]
        with self.workspace.database.read() as connection:
            leads = read_leads(connection, self.key, ids)
            threads = ledger.threads(connection, self.key, ids)
        self._sends = {send.message_id: send for send in sends}
        self._date = self.clock()
        self.transport.deliver(self._parcels(sends, letters, leads, threads), self)
        if self._held:
            self.write([], [])

    def _parcels(
        self,
        sends: list[ledger.Send],
        letters: Letters,
        leads: dict[str, dict[str, Any]],
        threads: dict[str, list[tuple[str, str]]],
    ) -> Iterator[Parcel]:
        """The messages of `sends`, one when it is asked for; what cannot be written is held."""
        for start in range(0, len(sends), AHEAD):
            written = []
            for send in sends[start : start + AHEAD]:
                lead, thread = leads.get(send.lead_id), threads.get(send.lead_id, [])
                if lead is None:  # erased since it was claimed, and its row with it
                    continue
                if not self._is_closed(send, self._date):  # else given back, and moved later
                    written += self._written(send, letters, lead, thread)
            self._keep_links([targets for _, _, targets in written])
            for send, parcel, _ in written:
                if self.clock() - self._date > outcomes.LEASE:
                    return  # given back at the end of the pass, and judged anew by the next
                if not self._is_closed(send, self._date):
                    yield parcel

    def _written(
        self,
        send: ledger.Send,
        letters: Letters,
        lead: dict[str, Any],
        thread: list[tuple[str, str]],
    ) -> list[tuple[ledger.Send, Parcel, Mapping[str, Link]]]:
        """The message of `send` and where its links lead; none if it cannot be written."""
        try:
            letter = letters.write(send, lead, thread, self._date)
            parcel = Parcel(letter.sender, send.email, send.message_id, letter.content)
        except (RenderFailed, Undeliverable) as error:
            self._held.append((send, str(error)))
            return []
        return [(send, parcel, letter.targets)]

    def _keep_links(self, letters: list[Mapping[str, Link]]) -> None:
        """Where these letters' links lead is on disk: they must work once the letters are out."""
        told = [(n, link) for targets in letters for n, link in targets.items()]
        new = {name: link for name, link in told if name not in self._links}
        if new:
            with self.workspace.database.write(durable=True) as connection:
                owners = {(self.key, link.lead_id) for link in new.values() if link.lead_id}
                there = {None, *(lead_id for _, lead_id in present_ids(connection, owners))}
                kept = {name: link for name, link in new.items() if link.lead_id in there}
                keep_links(connection, self.key, kept, self.clock())
            self._links.update(name for name, link in new.items() if link.lead_id is None)

    def _settle(
        self, connection: sa.Connection, results: Sequence[tuple[Parcel, Delivery]], now: datetime
    ) -> None:
        """Results and what follows from them, and what could not be written, are in the ledger."""
        held, self._held = self._held, []
        outcomes.hold(connection, self.key, held, worker=self._worker, now=now)
        for _, reason in held:
            self.tally["held"] += 1
            self.passed_over[f"held: {reason}"] += 1
        if not results:
            return
        given = [
            outcomes.Outcome(self._sends[parcel.message_id], d.state, d.reply, d.fault)
            for parcel, d in results
        ]
        written = outcomes.record_outcomes(
            connection, self.key, given, worker=self._worker, now=now
        )
        self._follow(connection, written, now)
        for outcome in written:
            self.tally[outcome.state] += 1
            if outcome.state != "accepted":
                self.passed_over[f"{outcome.state} by the mail server"] += 1

    def _follow(
        self, connection: sa.Connection, written: list[outcomes.Outcome], now: datetime
    ) -> None:
        """Dead addresses are suppressed; what is refused again and again is left alone."""
        known = self._breakers
        note_attempts(connection, self._sender, known, self._refusals(written), now)
        for outcome in written:
            if outcome.fault in DEAD and outcome.state == "rejected":
                hashed = address_key(self.workspace.settings.secret_key(), outcome.send.email)
                why = DEAD[outcome.fault]
                suppress(connection, "address", hashed, why, "mail server", now)

    def _refusals(self, written: list[outcomes.Outcome]) -> Iterator[tuple[str, bool]]:
        for outcome in written:
            if outcome.state == "accepted" and not self._breakers:
                continue
            if outcome.state in ("accepted", "deferred", "rejected"):
                provider, step = self._scopes(outcome.send)
                yield provider, outcome.fault == "sender"
                if outcome.fault in (None, "message"):
                    yield step, outcome.fault == "message"

    def _scopes(self, send: ledger.Send) -> tuple[str, str]:
        step = step_scope(self.key, send.campaign_version, send.sequence, send.step)
        return provider_scope(send.recipient_domain), step

    def _closed(self, now: datetime) -> dict[str, datetime]:
        return {
            scope: breaker.open_until
            for scope, breaker in self._breakers.items()
            if breaker.open_until is not None and breaker.is_open(now)
        }

    def _is_closed(self, send: ledger.Send, now: datetime) -> bool:
        if not self._breakers:
            return False
        return any(
            breaker.is_open(now)
            for scope in self._scopes(send)
            if (breaker := self._breakers.get(scope)) is not None
        )
