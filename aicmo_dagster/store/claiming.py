"""Claiming: due sends become a worker's, in one transaction with every test that forbids sending.

Suppression, replies, handoffs, pauses, windows and caps are looked at here. Not here: the ledger
itself (`ledger`), attempts and what came of them (`outcomes`), what the caps are (`pacing`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.nurture.caps import HOUR, Allowance
from aicmo_dagster.domain.nurture.places import Place, place_of
from aicmo_dagster.domain.nurture.timing import next_opening
from aicmo_dagster.domain.tokens import address_keys, domain_key
from aicmo_dagster.store.breakers import provider_scope, step_scope
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.index_conditions import constant, one_of, written_out
from aicmo_dagster.store.ledger import WAITING, Send, advance, in_states
from aicmo_dagster.store.overrides import PAUSED, leads_overridden
from aicmo_dagster.store.pacing import read_allowance
from aicmo_dagster.store.pauses import paused_sequences
from aicmo_dagster.store.prepared import Prepared
from aicmo_dagster.store.suppressions import any_suppressed, suppressed
from aicmo_dagster.store.tables import (
    FRAME_TABLES,
    events,
    handoffs,
    nurture_sends,
    suppressions,
)

STOPPING_EVENTS = {
    "reply": "the lead replied",
    "unsubscribe": "the lead unsubscribed",
    "complaint": "the lead complained",
    "bounce": "the address bounced",
}

_SENDS = nurture_sends.c
_LEADS = FRAME_TABLES["raw_leads"].c
_HELD = len(Send._fields)
"""Columns of a due row that make its `Send`: the first ones."""


@dataclass
class Claim:
    """What one claiming transaction did.

    Args:
        sends: The sends that now belong to the worker.
        passed_over: Sends that were due and not claimed, counted by reason.
        looked_at: How many due sends were looked at; 0 means that nothing is left to do now.
    """

    sends: list[Send] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    looked_at: int = 0


def claim(
    connection: sa.Connection,
    campaign: Campaign,
    *,
    worker: str,
    secret_key: bytes,
    now: datetime,
    limit: int,
    boot: str = "",
    closed: Mapping[str, datetime] = MappingProxyType({}),
) -> Claim:
    """Takes up to `limit` due sends for `worker`; moves or cancels the others, with a reason.

    Suppression, replies, handoffs, pauses, window and caps are tested in this transaction.

    Args:
        connection: From `Database.write`, durable.
        campaign: The campaign's document.
        worker: Who takes them.
        secret_key: The key that suppressions are hashed under.
        now: The instant.
        limit: How many at most.
        boot: Names the time since this machine was started, as `workers.this_boot` does.
        closed: What nothing is tried of, as `breakers` names it, and until when.
    """
    key, sender = campaign.campaign, campaign.nurture.sender.address
    # Two workers must not both see the sender's last free place.
    take_turn(connection, f"mail of {sender}")
    overridden = leads_overridden(connection, key, now)
    held = paused_sequences(connection, key)
    if None in held:
        return _nothing(connection, key, now, "the campaign is paused")
    candidates = _due(connection, key, now, limit, held, any_paused="pause" in overridden)
    if not candidates:
        return Claim()
    domains = {row.recipient_domain for row in candidates}
    allowed = read_allowance(connection, campaign, domains, now)
    if reached := allowed.reached():
        return _nothing(connection, key, now, reached)
    stopped = _stopped(connection, candidates, secret_key)
    stopped |= dict.fromkeys(overridden.get("reject", ()), "rejected by an override")
    judge = _Judge(campaign, stopped, allowed, closed, now)
    advance(connection, key, judge.changes(candidates))
    fixed = {"worker": worker, "claimed_at": now, "sender": sender, "boot": boot}
    _take(connection, key, judge.claim.sends, secret_key, fixed)
    return judge.claim


def _nothing(connection: sa.Connection, campaign: str, now: datetime, reason: str) -> Claim:
    """Whatever is due is passed over for `reason`."""
    due = connection.scalar(_DUE_COUNT, {"of": campaign, "at": now}) or 0
    return Claim(passed_over=Counter({reason: due} if due else {}))


def _due(
    connection: sa.Connection,
    campaign: str,
    now: datetime,
    limit: int,
    except_sequences: set[str | None],
    *,
    any_paused: bool,
) -> list[sa.Row]:
    """Up to `limit` sends that are due, follow-ups first: who was written to is kept waiting last.

    One query a priority, since each is then served by the index.
    """
    query = _DUE
    values = {"of": campaign, "at": now}
    if any_paused:
        query = query.where(_SENDS.lead_id.not_in(PAUSED))
        values |= {"campaign": campaign, "now": now}
    if except_sequences:
        query = query.where(_SENDS.sequence.not_in(except_sequences))
    found: list[sa.Row] = []
    for priority in (0, 1):
        if limit > len(found):
            place = {"first": priority, "most": limit - len(found)}
            found += connection.execute(query, values | place).all()
    return found


_IS_DUE = (
    *in_states(sa.bindparam("of"), WAITING),
    _SENDS.priority.in_((0, 1)),  # so that the index serves
    _SENDS.due_at <= sa.bindparam("at", type_=_SENDS.due_at.type),
)
_DUE_COUNT = sa.select(sa.func.count()).where(*_IS_DUE)

_STOPS = (
    sa.exists()
    .where(handoffs.c.campaign == _SENDS.campaign, handoffs.c.lead_id == _SENDS.lead_id)
    .label("is_handed"),
    sa.select(sa.func.min(events.c.kind))
    .where(
        events.c.campaign == _SENDS.campaign,
        events.c.lead_id == _SENDS.lead_id,
        written_out(events.c.kind, sorted(STOPPING_EVENTS)),
    )
    .scalar_subquery()
    .label("stop"),
)
"""What has become of a send's lead that forbids sending."""

NO_OBJECTION = (
    ~sa.exists().where(
        events.c.campaign == _SENDS.campaign,
        events.c.lead_id == _SENDS.lead_id,
        one_of(events.c.kind, *map(constant, sorted(STOPPING_EVENTS))),
    ),
    ~sa.exists().where(
        suppressions.c.kind == constant("address"), suppressions.c.key == _SENDS.address_key
    ),
)
"""Nobody has objected to a claimed send: neither its lead, nor whoever reads its address."""

_DUE = (
    sa.select(
        *(_LEADS.email if name == "email" else _SENDS[name] for name in Send._fields),
        _SENDS.deadline_at,
        *(_LEADS[name] for name in ("timezone", "country", "city")),
        *_STOPS,
    )
    .join_from(
        nurture_sends,
        FRAME_TABLES["raw_leads"],
        (_SENDS.campaign == _LEADS.campaign) & (_SENDS.lead_id == _LEADS.lead_id),
    )
    .where(
        *_IS_DUE,
        _SENDS.priority == sa.bindparam("first"),
    )
    .order_by(_SENDS.due_at, _SENDS.lead_id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True, of=nurture_sends)
)
"""Built once: that takes longer than to run it."""


def _stopped(
    connection: sa.Connection, candidates: Sequence[sa.Row], secret_key: bytes
) -> dict[str, str]:
    """Leads that must not be written to any more, each with its reason."""
    reasons: dict[str, str] = {}
    if any_suppressed(connection):
        hashes = address_keys(secret_key, [row.email for row in candidates])
        keys = {
            row.lead_id: (hashed, domain_key(secret_key, row.recipient_domain))
            for row, hashed in zip(candidates, hashes, strict=True)
        }
        hit = suppressed(connection, [key for pair in keys.values() for key in pair if key])
        reasons |= {lead: "suppressed" for lead, pair in keys.items() if hit.intersection(pair)}
    handed = [row.lead_id for row in candidates if row.is_handed]
    told = {row.lead_id: STOPPING_EVENTS[row.stop] for row in candidates if row.stop}
    return reasons | dict.fromkeys(handed, "handed to sales") | told


@dataclass
class _Judge:
    """Decides of due sends which are claimed, and what becomes of the others.

    Args:
        campaign: The campaign's document.
        stopped: Leads that must not be written to, each with its reason.
        allowed: What the caps leave; used up.
        closed: What nothing is tried of, and until when.
        now: The instant.
    """

    campaign: Campaign
    stopped: Mapping[str, str]
    allowed: Allowance
    closed: Mapping[str, datetime]
    now: datetime
    claim: Claim = field(default_factory=Claim)
    _openings: dict[tuple[Any, ...] | Place, datetime] = field(default_factory=dict)

    def changes(self, rows: Sequence[sa.Row]) -> list[dict[str, Any]]:
        """What changes of those `rows` that are not claimed, as `ledger.advance` takes it."""
        changes = []
        for row in rows:
            if self.allowed.reached():
                break
            self.claim.looked_at += 1
            change = self._change(row)
            if change is None:
                self.claim.sends.append(Send._make(row[:_HELD]))
            else:
                changes.append({"at_lead": row.lead_id, "at_step": row.step, **change})
        return changes

    def _change(self, row: sa.Row) -> dict[str, Any] | None:
        """The change to one due send: cancelled, or due later; none if it is claimed."""
        stopped = self.stopped.get(row.lead_id)
        if stopped or row.deadline_at < self.now:
            reason = stopped or "its deadline has passed"
            self.claim.passed_over[reason] += 1
            return {"state": "cancelled", "reason": reason}
        opens = self._opening(row)
        if opens > self.now:
            self.claim.passed_over["outside its window"] += 1
            return {"state": "planned", "reason": "waits for its window", "due_at": opens}
        until = self._closed_until(row) if self.closed else None
        if until is not None and until > self.now:
            return self._later("refused too often of late", until)
        if not self.allowed.take(row.recipient_domain):
            refusal = self.allowed.refusal(row.recipient_domain)
            assert refusal is not None
            return self._later(refusal, self.now + HOUR)
        return None

    def _later(self, reason: str, due_at: datetime) -> dict[str, Any]:
        self.claim.passed_over[reason] += 1
        return {"state": "planned", "reason": reason, "due_at": due_at}

    def _opening(self, row: sa.Row) -> datetime:
        """When the window of a lead opens, looked up once a place."""
        told = (row.timezone, row.country, row.city)
        if (opens := self._openings.get(told)) is None:
            place = place_of(self.campaign, *told)
            if place not in self._openings:
                window = self.campaign.nurture.window
                opening = next_opening(window, place.zone, self.now, place.calendar)
                self._openings[place] = opening
            opens = self._openings[told] = self._openings[place]
        return opens

    def _closed_until(self, row: sa.Row) -> datetime | None:
        """Until when this send's provider or step is not tried; none if it is."""
        step = step_scope(self.campaign.campaign, row.campaign_version, row.sequence, row.step)
        known = [self.closed.get(provider_scope(row.recipient_domain)), self.closed.get(step)]
        return max((until for until in known if until is not None), default=None)


def _take(
    connection: sa.Connection,
    campaign: str,
    sends: Sequence[Send],
    secret_key: bytes,
    values: Mapping[str, Any],
) -> None:
    """`sends` are claimed; each keeps which address it goes to, whatever the lead's is later."""
    fixed = {"at_campaign": campaign, **{f"{name}_now": value for name, value in values.items()}}
    hashes = address_keys(secret_key, [send.email for send in sends])
    rows = [(each.lead_id, each.step, key) for each, key in zip(sends, hashes, strict=True)]
    _CLAIM.execute(connection, fixed, rows)


_CLAIM = Prepared(
    sa.update(nurture_sends)
    .where(
        _SENDS.campaign == sa.bindparam("at_campaign"),
        _SENDS.lead_id == sa.bindparam("at_lead"),
        _SENDS.step == sa.bindparam("at_step"),
    )
    .values(
        state="claimed",
        reason=None,
        worker=sa.bindparam("worker_now"),
        claimed_at=sa.bindparam("claimed_at_now", type_=_SENDS.claimed_at.type),
        sender=sa.bindparam("sender_now"),
        boot=sa.bindparam("boot_now"),
        address_key=sa.bindparam("address_now"),
    ),
    *("at_lead", "at_step", "address_now"),
)
