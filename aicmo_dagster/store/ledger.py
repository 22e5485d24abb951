"""The ledger of sends: one row a campaign, lead and step, planned once and claimed when due.

planned → claimed → attempting → accepted | deferred | rejected | unknown; deferred comes back when
due, and what must not be sent any more is cancelled. A row is claimed in one transaction with every
test that forbids sending.

Not here: attempts and what came of them (`outcomes`), rendering and delivery (`mail`), what is due
(`domain.nurture.planning`).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.nurture.caps import HOUR, Allowance
from aicmo_dagster.domain.nurture.places import Place, place_of
from aicmo_dagster.domain.nurture.planning import DEADLINE
from aicmo_dagster.domain.nurture.timing import next_opening
from aicmo_dagster.domain.tokens import address_key, domain_key
from aicmo_dagster.store.breakers import provider_scope, step_scope
from aicmo_dagster.store.database import insert_new, take_turn, written_out
from aicmo_dagster.store.overrides import leads_overridden
from aicmo_dagster.store.pacing import read_allowance
from aicmo_dagster.store.pauses import active_pauses
from aicmo_dagster.store.prepared import Prepared
from aicmo_dagster.store.suppressions import any_suppressed, suppressed
from aicmo_dagster.store.tables import FRAME_TABLES, events, handoffs, nurture_sends

WAITING = ("planned", "deferred")
OPEN = ("claimed", "attempting", "unknown")
"""States of a send whose worker may still tell what came of it."""
TOLD = ("accepted", "cancelled", "deferred", "rejected")
"""States of a send of which it is known what came of it."""

STOPPING_EVENTS = {
    "reply": "the lead replied",
    "unsubscribe": "the lead unsubscribed",
    "complaint": "the lead complained",
    "bounce": "the address bounced",
}

_SENDS = nurture_sends.c
_LEADS = FRAME_TABLES["raw_leads"].c
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


@dataclass(frozen=True)
class Send:
    """One row of the ledger that a worker holds.

    Args:
        lead_id: The lead.
        sequence: The sequence that the lead is in.
        step: The step of it.
        variant: The variant of the step, if it has any.
        campaign_version: The version of the campaign document that the lead follows.
        message_id: Derived from campaign, lead and step.
        email: Where to.
        recipient_domain: The part of it after the @.
        attempts: How often it was tried.
        dated_at: The date its message bears since it was first tried.
    """

    lead_id: str
    sequence: str
    step: str
    variant: str | None
    campaign_version: int
    message_id: str
    email: str
    recipient_domain: str
    attempts: int
    dated_at: datetime | None = None


_FIELDS = attrgetter(*Send.__dataclass_fields__)
_STORED = [name for name in Send.__dataclass_fields__ if name != "email"]  # which is the lead's


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
    _openings: dict[tuple[str | None, ...] | Place, datetime] = field(
        default_factory=dict, repr=False
    )

    def opening(self, campaign: Campaign, row: sa.Row, now: datetime) -> datetime:
        """When the window of a lead opens, looked up once a place."""
        told = (row.timezone, row.country, row.city)
        if (opens := self._openings.get(told)) is None:
            place = place_of(campaign, *told)
            if place not in self._openings:
                window = campaign.nurture.window
                self._openings[place] = next_opening(window, place.zone, now, place.calendar)
            opens = self._openings[told] = self._openings[place]
        return opens


def plan_sends(
    connection: sa.Connection, campaign: str, sends: pd.DataFrame, *, sender: str
) -> int:
    """Adds the sends of a `NurtureSends` frame that are not in the ledger yet; tells how many."""
    frame = sends.assign(
        sender=sender, deadline_at=sends["due_at"] + pd.Timedelta(DEADLINE), attempts=0
    )
    return insert_new(connection, nurture_sends, frame, campaign=campaign)


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
    paused = overridden.get("pause", frozenset())
    held = {pause.sequence for pause in active_pauses(connection, key)}
    if None in held:
        paused_sends = _due_count(connection, key, now)
        return Claim(
            passed_over=Counter({"the campaign is paused": paused_sends} if paused_sends else {})
        )
    candidates = _due(connection, key, now, limit, except_leads=[*paused], except_sequences=[*held])
    if not candidates:
        return Claim()
    domains = {row.recipient_domain for row in candidates}
    allowed = read_allowance(connection, campaign, domains, now)
    if reached := allowed.reached():
        return Claim(passed_over=Counter({reached: _due_count(connection, key, now)}))
    stopped = _stopped(connection, candidates, secret_key)
    stopped |= dict.fromkeys(overridden.get("reject", ()), "rejected by an override")
    claimed = Claim()
    changes = []
    for row in candidates:
        if allowed.reached():
            break
        claimed.looked_at += 1
        changes.append(
            _judge(row, campaign, stopped.get(row.lead_id), allowed, closed, now, claimed)
        )
    advance(connection, key, [change for change in changes if change])
    fixed = {"worker": worker, "claimed_at": now, "sender": sender, "boot": boot}
    _take(connection, key, claimed.sends, secret_key, fixed)
    return claimed


def threads(
    connection: sa.Connection, campaign: str, lead_ids: Collection[str]
) -> dict[str, list[tuple[str, str]]]:
    """Each lead's accepted sends as (step, Message-ID), oldest first, for follow-ups."""
    query = (
        sa.select(_SENDS.lead_id, _SENDS.step, _SENDS.message_id)
        .where(
            _SENDS.campaign == campaign,
            _SENDS.lead_id.in_(lead_ids),
            _SENDS.state.in_(("accepted", "unknown")),
        )
        .order_by(_SENDS.sent_at, _SENDS.due_at)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for lead_id, step, message_id in connection.execute(query):
        found.setdefault(lead_id, []).append((step, message_id))
    return found


def state_counts(connection: sa.Connection, campaign: str) -> dict[str, int]:
    """Sends by state, those that there are none of left out.

    By the indexes alone: the sends themselves are not looked at, of which there may be millions.
    """
    counts: dict[str, int] = {}
    for states in (OPEN, TOLD):
        query = sa.select(_SENDS.state, sa.func.count()).where(*in_states(campaign, states))
        counts |= dict(connection.execute(query.group_by(_SENDS.state)).all())
    waiting = sa.select(sa.func.count()).where(*in_states(campaign, WAITING))
    planned = (connection.scalar(waiting) or 0) - counts.get("deferred", 0)
    return counts | ({"planned": planned} if planned else {})


def sends_of_lead(connection: sa.Connection, campaign: str, lead_id: str) -> list[dict[str, Any]]:
    """Every send of one lead, in the order they are due."""
    query = (
        sa.select(nurture_sends)
        .where(_SENDS.campaign == campaign, _SENDS.lead_id == lead_id)
        .order_by(_SENDS.due_at)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _due(
    connection: sa.Connection,
    campaign: str,
    now: datetime,
    limit: int,
    *,
    except_leads: list[str],
    except_sequences: list[str | None],
) -> list[sa.Row]:
    """Up to `limit` sends that are due, follow-ups first: who was written to is kept waiting last.

    One query a priority, since each is then served by the index.
    """
    found: list[sa.Row] = []
    for priority in (0, 1):
        if limit > len(found):
            query = _due_query(campaign, now).where(
                _SENDS.priority == priority,
                _SENDS.lead_id.not_in(except_leads),
                _SENDS.sequence.not_in(except_sequences),
            )
            found += connection.execute(query.limit(limit - len(found))).all()
    return found


def _due_query(campaign: str, now: datetime) -> sa.Select:
    names = (*_STORED, "deadline_at")
    return (
        sa.select(
            *(_SENDS[name] for name in names),
            *(_LEADS[name] for name in ("email", "timezone", "country", "city")),
            *_STOPS,
        )
        .join_from(
            nurture_sends,
            FRAME_TABLES["raw_leads"],
            (_SENDS.campaign == _LEADS.campaign) & (_SENDS.lead_id == _LEADS.lead_id),
        )
        .where(*_is_due(campaign, now))
        .order_by(_SENDS.due_at, _SENDS.lead_id)
        .with_for_update(skip_locked=True, of=nurture_sends)
    )


def _due_count(connection: sa.Connection, campaign: str, now: datetime) -> int:
    return connection.scalar(sa.select(sa.func.count()).where(*_is_due(campaign, now))) or 0


def _is_due(campaign: str, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        *in_states(campaign, WAITING),
        _SENDS.priority.in_((0, 1)),  # so that the index serves
        _SENDS.due_at <= now,
    )


def in_states(campaign: str, states: tuple[str, ...]) -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions of being in one of `WAITING`, `OPEN` or `TOLD`, each of which has an index."""
    return (_SENDS.campaign == campaign, written_out(_SENDS.state, states))


def _stopped(
    connection: sa.Connection, candidates: Sequence[sa.Row], secret_key: bytes
) -> dict[str, str]:
    """Leads that must not be written to any more, each with its reason."""
    reasons: dict[str, str] = {}
    if any_suppressed(connection):
        keys = {
            row.lead_id: (
                address_key(secret_key, row.email),
                domain_key(secret_key, row.recipient_domain),
            )
            for row in candidates
        }
        hit = suppressed(connection, [key for pair in keys.values() for key in pair])
        reasons |= {lead: "suppressed" for lead, pair in keys.items() if hit.intersection(pair)}
    handed = [row.lead_id for row in candidates if row.is_handed]
    told = {row.lead_id: STOPPING_EVENTS[row.stop] for row in candidates if row.stop}
    return reasons | dict.fromkeys(handed, "handed to sales") | told


def _judge(
    row: sa.Row,
    campaign: Campaign,
    stopped: str | None,
    allowed: Allowance,
    closed: Mapping[str, datetime],
    now: datetime,
    claimed: Claim,
) -> dict[str, Any] | None:
    """The change to one due send: cancelled, or due later; none if it is claimed."""
    opens = claimed.opening(campaign, row, now)
    if stopped or row.deadline_at < now:
        reason = stopped or "its deadline has passed"
        claimed.passed_over[reason] += 1
        return _change(row, state="cancelled", reason=reason)
    if opens > now:
        claimed.passed_over["outside its window"] += 1
        return _change(row, state="planned", reason="waits for its window", due_at=opens)
    until = _closed_until(row, campaign.campaign, closed)
    if until is not None and until > now:
        claimed.passed_over["refused too often of late"] += 1
        return _change(row, state="planned", reason="refused too often of late", due_at=until)
    if not allowed.take(row.recipient_domain):
        refusal = allowed.refusal(row.recipient_domain)
        assert refusal is not None
        claimed.passed_over[refusal] += 1
        return _change(row, state="planned", reason=refusal, due_at=now + HOUR)
    claimed.sends.append(Send(*_FIELDS(row)))
    return None


def _closed_until(row: sa.Row, campaign: str, closed: Mapping[str, datetime]) -> datetime | None:
    """Until when this send's provider or step is not tried; none if it is."""
    if not closed:
        return None
    step = step_scope(campaign, row.campaign_version, row.sequence, row.step)
    known = [closed.get(provider_scope(row.recipient_domain)), closed.get(step)]
    return max((until for until in known if until is not None), default=None)


def _take(
    connection: sa.Connection,
    campaign: str,
    sends: list[Send],
    secret_key: bytes,
    values: Mapping[str, Any],
) -> None:
    """`sends` are claimed; each keeps which address it goes to, whatever the lead's is later."""
    fixed = {"at_campaign": campaign, **{f"{name}_now": value for name, value in values.items()}}
    rows = (
        {
            "at_lead": send.lead_id,
            "at_step": send.step,
            "address_now": address_key(secret_key, send.email),
        }
        for send in sends
    )
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
    )
)


def _change(row: sa.Row, **values: Any) -> dict[str, Any]:
    return {"at_lead": row.lead_id, "at_step": row.step, **values}


def advance(connection: sa.Connection, campaign: str, changes: Iterable[dict[str, Any]]) -> None:
    """Applies changes to sends named by at_lead and at_step, similar ones together."""
    by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for change in changes:
        by_columns.setdefault(tuple(sorted(change)), []).append(change)
    for columns, alike in by_columns.items():
        values: dict[str, Any] = {
            name: sa.bindparam(name) for name in columns if not name.startswith("at_")
        }
        statement = (
            sa.update(nurture_sends)
            .where(
                _SENDS.campaign == campaign,
                _SENDS.lead_id == sa.bindparam("at_lead"),
                _SENDS.step == sa.bindparam("at_step"),
            )
            .values({"reason": None} | values)
        )
        connection.execute(statement, alike)
