"""Claimed sends made into messages, handed over, and recorded: claim, write, deliver, settle.

Not here: what is planned (`nurture`), the rules of claiming (`store.claiming`) and of settling
(`store.outcomes`), or the words of a message (`letters`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from aicmo_dagster.stages.nurturing.fence import Fence
from aicmo_dagster.stages.nurturing.letters import Asked, Letter, Letters
from aicmo_dagster.stages.nurturing.refusals import Refusals
from aicmo_dagster.stages.nurturing.signers import Ready, signers
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import claiming, ledger, outcomes
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
    letter: Ready


_Sign = Callable[[Sequence[Letter]], list[Ready]]


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
    _held: list[tuple[ledger.Send, str]] = field(default_factory=list)
    _links: set[str] = field(default_factory=set)
    _left: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._refusals = Refusals(self.key, self.stored.campaign.nurture.sender.address)

    @property
    def key(self) -> str:
        """The campaign's key."""
        return self.stored.campaign.campaign

    @property
    def changed_anything(self) -> bool:
        """Whether any send was claimed, moved or cancelled."""
        return self.tally.total() > 0 or self.passed_over.total() > 0

    def send(self) -> None:
        """Everything that is due and allowed is sent; the next are claimed while some leave."""
        letters = Letters(self.workspace, self.stored)
        try:
            with signers(letters) as sign:
                self._pass(letters, sign)
            self.passed_over += self._left
        finally:
            with self.workspace.database.write() as connection:
                outcomes.release(connection, self.key, worker=self._worker)

    def _pass(self, letters: Letters, sign: _Sign) -> None:
        before = self.tally.copy()
        self._sends.clear()
        self.transport.deliver(self._parcels(letters, sign), self)
        if self._held:
            self.write([], [])
        done = self.tally - before
        if done["claimed"] > done["accepted"]:
            # What was claimed last did not know of the places under the caps that these left free.
            self._pass(letters, sign)

    def write(
        self, results: Sequence[tuple[Parcel, Delivery]], attempts: Sequence[Parcel]
    ) -> set[str]:
        """Results and the beginning of `attempts` are committed; tells which may be made.

        Where that fails, the same may be told again.
        """
        now = self.clock()
        with self.workspace.database.write() as connection:
            written = self._settle(connection, results, now)
            going: dict[datetime, list[ledger.Send]] = {}
            for send, date in (self._sends[parcel.message_id] for parcel in attempts):
                if not self._refusals.keep_back(send, now):
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
            allowed: set[str] = set().union(*begun)
        self._count(written)
        return allowed

    def _claim(self) -> claiming.Claim:
        now = self.clock()
        with self.workspace.database.write(durable=True) as connection:
            self._refusals.read(connection)
            claim = claiming.claim(
                connection,
                self.stored.campaign,
                worker=self._worker,
                secret_key=self.workspace.settings.secret_key(),
                now=now,
                limit=BATCH,
                boot=self._boot,
                closed=self._refusals.closed(now),
            )
            claims = count_claim(connection)
        self.fence.note(claims)
        if claim.looked_at:
            self.passed_over += claim.passed_over
        else:  # what is still due, and is counted once, after the last pass
            self._left = claim.passed_over
        self.tally["claimed"] += len(claim.sends)
        return claim

    def _parcels(self, letters: Letters, sign: _Sign) -> Iterator[Parcel]:
        """The messages of all that is claimed, one when it is asked for.

        What cannot be written is held; what could not be taken in time is given back at the end of
        the pass, and judged anew by the next.
        """
        for block in _one_ahead(self._blocks(letters, sign)):
            for send, date, letter in block:
                # Refused by the ledger, each would cost a connection.
                if self.clock() - date > outcomes.LEASE or self._refusals.keep_back(send, date):
                    continue
                # Given back by another run of this process, and claimed again while it waits here.
                if send.message_id in self._sends:
                    continue
                written = letter()
                try:
                    parcel = Parcel(written.sender, send.email, send.message_id, written.content)
                except Undeliverable as error:
                    self._held.append((send, str(error)))
                    continue
                self._sends[send.message_id] = (send, date)
                yield parcel

    def _blocks(self, letters: Letters, sign: _Sign) -> Iterator[list[_Written]]:
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
                ready = sign([draft for _, draft in drafts])
                yield [
                    _Written(send, date, letter)
                    for (send, _), letter in zip(drafts, ready, strict=True)
                ]
            if self._held:
                self.write([], [])

    def _drafts(
        self, letters: Letters, asked: list[Asked], date: datetime
    ) -> list[tuple[ledger.Send, Letter]]:
        """Those of `asked` that may be tried, with their messages; what cannot be written is held.

        What may not be tried now is given back, and moved later.
        """
        going = [each for each in asked if not self._refusals.keep_back(each[0], date)]
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
    ) -> list[outcomes.Outcome]:
        """Results and what follows from them, and what could not be written, are in the ledger."""
        outcomes.hold(connection, self.key, self._held, worker=self._worker, now=now)
        if not results:
            return []
        given = [
            outcomes.Outcome(self._sends[parcel.message_id][0], d.state, d.reply, d.fault)
            for parcel, d in results
        ]
        written = outcomes.record_outcomes(
            connection, self.key, given, worker=self._worker, now=now
        )
        self._refusals.note(connection, written, now)
        self._suppress_dead(connection, written, now)
        return written

    def _count(self, written: list[outcomes.Outcome]) -> None:
        """What is in the ledger by now is in the figures, and need not be known any longer."""
        held, self._held = self._held, []
        for _, reason in held:
            self.tally["held"] += 1
            self.passed_over[f"held: {reason}"] += 1
        for outcome in written:
            del self._sends[outcome.send.message_id]
            self.tally[outcome.state] += 1
            if outcome.state != "accepted":
                self.passed_over[f"{outcome.state} by the mail server"] += 1

    def _suppress_dead(
        self, connection: sa.Connection, written: list[outcomes.Outcome], now: datetime
    ) -> None:
        """Addresses that the mail server says are dead get no more mail."""
        for outcome in written:
            if outcome.fault in DEAD and outcome.state == "rejected":
                hashed = address_key(self.workspace.settings.secret_key(), outcome.send.email)
                why = DEAD[outcome.fault]
                suppress(connection, "address", hashed, why, "mail server", now)


def _one_ahead(blocks: Iterable[list[_Written]]) -> Iterator[list[_Written]]:
    """Each of `blocks`, when the next has been made."""
    made: list[_Written] = []
    for block in blocks:
        yield made
        made = block
    yield made
