"""Claimed sends made into messages, handed over, and recorded: claim, write, deliver, settle.

Not here: what is planned (`nurture`), the rules of claiming (`store.ledger`) and of settling
(`store.outcomes`), or the words of a message (`letters`).
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from aicmo_dagster.domain.tokens import address_key
from aicmo_dagster.domain.tracking import Link
from aicmo_dagster.mail.delivery import Transport
from aicmo_dagster.mail.headers import Undeliverable
from aicmo_dagster.mail.parcels import Parcel
from aicmo_dagster.mail.replies import Delivery
from aicmo_dagster.stages.fence import Fence
from aicmo_dagster.stages.letters import Asked, Letter, Letters
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
"""Sends claimed in one transaction: what a power failure can leave in doubt, with those that are
`AHEAD` of it and under way."""

AHEAD = 20
"""Messages written together, and while those before them leave: their links are kept, and they are
signed, in the meantime."""

DEAD = {
    "address": "the mail server knows no such address",
    "domain": "the mail server knows no such domain",
}


class _Written(NamedTuple):
    """A send, the date it bears if it was not tried before, and its message as soon as asked."""

    send: ledger.Send
    date: datetime
    letter: Callable[[], Letter]


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
    _sends: dict[str, tuple[ledger.Send, datetime]] = field(default_factory=dict)
    _breakers: dict[str, Breaker] = field(default_factory=dict)
    _held: list[tuple[ledger.Send, str]] = field(default_factory=list)
    _links: set[str] = field(default_factory=set)
    _left: Counter[str] = field(default_factory=Counter)

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
        """Everything that is due and allowed is sent; the next are claimed while some leave."""
        letters = Letters(self.workspace, self.stored)
        try:
            with _signers(letters) as pool:
                self._pass(letters, pool)
            self.passed_over += self._left
        finally:
            with self.workspace.database.write() as connection:
                outcomes.release(connection, self.key, worker=self._worker)

    def _pass(self, letters: Letters, pool: Executor | None) -> None:
        before = self.tally.copy()
        self.transport.deliver(self._parcels(letters, pool), self)
        if self._held:
            self.write([], [])
        done = self.tally - before
        if done["claimed"] > done["accepted"]:
            # What was claimed last did not know of the places under the caps that these left free.
            self._pass(letters, pool)

    def write(
        self, results: Sequence[tuple[Parcel, Delivery]], attempts: Sequence[Parcel]
    ) -> set[str]:
        """Results and the beginning of `attempts` are committed; tells which may be made."""
        now = self.clock()
        with self.workspace.database.write() as connection:
            self._settle(connection, results, now)
            going: dict[datetime, list[ledger.Send]] = {}
            for send, date in (self._sends[parcel.message_id] for parcel in attempts):
                if not self._is_closed(send, now):
                    going.setdefault(date, []).append(send)
            begun = (
                outcomes.begin_attempts(
                    connection,
                    self.key,
                    sends,
                    worker=self._worker,
                    transport=self.transport.name,
                    dated=date,
                    now=now,
                )
                for date, sends in going.items()
            )
            return set().union(*begun)

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
        if claim.looked_at:
            self.passed_over += claim.passed_over
        else:  # what is still due, and is counted once, after the last pass
            self._left = claim.passed_over
        self.tally["claimed"] += len(claim.sends)
        return claim

    def _parcels(self, letters: Letters, pool: Executor | None) -> Iterator[Parcel]:
        """The messages of all that is claimed, one when it is asked for.

        What cannot be written is held; what could not be taken in time is given back at the end of
        the pass, and judged anew by the next.
        """
        for block in _one_ahead(self._blocks(letters, pool)):
            for send, date, letter in block:
                # Refused by the ledger, each would cost a connection.
                if self.clock() - date > outcomes.LEASE or self._is_closed(send, date):
                    continue
                written = letter()
                try:
                    parcel = Parcel(written.sender, send.email, send.message_id, written.content)
                except Undeliverable as error:
                    self._held.append((send, str(error)))
                    continue
                self._sends[send.message_id] = (send, date)
                yield parcel

    def _blocks(self, letters: Letters, pool: Executor | None) -> Iterator[list[_Written]]:
        """What is claimed, in as many messages as are written together."""
        while (claim := self._claim()).looked_at:
            date = self.clock()
            ids = [send.lead_id for send in claim.sends]
            following = [send.lead_id for send in claim.sends if letters.follows(send)]
            with self.workspace.database.read() as connection:
                leads = read_leads(connection, self.key, ids, letters.fields(claim.sends))
                threads = ledger.threads(connection, self.key, following) if following else {}
            asked = [
                (send, lead, threads.get(send.lead_id, []))
                for send in claim.sends
                if (lead := leads.get(send.lead_id)) is not None  # erased since it was claimed
            ]
            for start in range(0, len(asked), AHEAD):
                drafts = self._drafts(letters, asked[start : start + AHEAD], date)
                self._keep_links([draft.targets for _, draft in drafts])
                yield [_Written(s, date, _signing(letters, each, pool)) for s, each in drafts]
            if self._held:
                self.write([], [])

    def _drafts(
        self, letters: Letters, asked: list[Asked], date: datetime
    ) -> list[tuple[ledger.Send, Letter]]:
        """Those of `asked` that may be tried, with their messages; what cannot be written is held.

        What may not be tried now is given back, and moved later.
        """
        going = [each for each in asked if not self._is_closed(each[0], date)]
        drafts = []
        for (send, _, _), made in zip(going, letters.drafts(going, date), strict=True):
            if isinstance(made, Letter):
                drafts.append((send, made))
            else:
                self._held.append((send, str(made)))
        return drafts

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
            outcomes.Outcome(self._sends.pop(parcel.message_id)[0], d.state, d.reply, d.fault)
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


def _signers(letters: Letters) -> Executor | nullcontext[None]:
    """Threads that sign, if there is a key: an RSA signature takes longer than all else of a mail.

    It is made outside of Python, and so on as many processors as there are.
    """
    return ThreadPoolExecutor(os.cpu_count()) if letters.are_signed else nullcontext()


def _signing(letters: Letters, draft: Letter, pool: Executor | None) -> Callable[[], Letter]:
    """The letter that `draft` becomes, being made from now on."""
    return (lambda: draft) if pool is None else pool.submit(letters.signed, draft).result


def _one_ahead(blocks: Iterable[list[_Written]]) -> Iterator[list[_Written]]:
    """Each of `blocks`, when the next has been made."""
    made: list[_Written] = []
    for block in blocks:
        yield made
        made = block
    yield made
