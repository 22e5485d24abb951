"""What needs someone's attention: counted over one campaign, some, or all. Counts and ids only.

Not here: figures of what went well (`figures`), or what to do about it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.domain.nurture.ramp import TRAILING, Record
from aicmo_dagster.store.figures import Scope, reach, within, within_parameters
from aicmo_dagster.store.handoffs import DEAD
from aicmo_dagster.store.index_conditions import constant, written_out
from aicmo_dagster.store.prepared import PreparedSelect
from aicmo_dagster.store.provider_calls import OPEN as OPEN_CALLS
from aicmo_dagster.store.responses import BOUNCED, COMPLAINED
from aicmo_dagster.store.tables import (
    breakers,
    events,
    handoffs,
    nurture_sends,
    provider_calls,
    sender_turns,
    stage_results,
    stage_states,
    ticks,
)
from aicmo_dagster.store.ticks import FAILED

MODEL_STAGE = "score_model"
"""The stage whose results tell how far leads have moved from those that were learned from."""

DRIFTED = "drifted"
"""The figure of it that counts columns that have moved beyond chance."""

TICKS_LOOKED_BACK = timedelta(days=7)

_SENDS = nurture_sends.c


@dataclass(frozen=True)
class Trouble:
    """Something that needs attention.

    Args:
        kind: ``stage failed``, ``run failed``, ``send in doubt``, ``handoff dead``,
            ``payment in doubt``, ``drift`` or ``breaker open``.
        campaign: Whose it is; None where it is a sender's.
        subject: What it is about: a stage, a job, a provider, a sender.
        number: How many.
        text: Why, as far as it is known; free of personal data.
    """

    kind: str
    campaign: str | None
    subject: str
    number: int
    text: str


def read_troubles(connection: sa.Connection, scope: Scope, now: datetime) -> list[Trouble]:
    """All that needs attention in the campaigns of `scope`, by kind and campaign."""
    parameters = {**within_parameters(scope), "now": now, "since": now - TICKS_LOOKED_BACK}
    rows = _troubles(reach(scope)).rows(connection, parameters)
    found = [Trouble(*row) for row in rows]
    return sorted([*found, *_drifts(connection, scope)], key=_order)


def senders_of(connection: sa.Connection, scope: Scope) -> list[str]:
    """The addresses that campaigns of `scope` have asked to send from."""
    rows = _senders(reach(scope)).rows(connection, within_parameters(scope))
    return [sender for (sender,) in rows]


def records_of(
    connection: sa.Connection, senders: Sequence[str], now: datetime
) -> dict[str, Record]:
    """Each sender's last days, as `pacing.record_of` tells them of one."""
    since = {"senders": list(senders), "since": now - TRAILING}
    states: dict[tuple[str, str], int] = {
        (row.sender, row.state): row.number for row in connection.execute(_sent(), since)
    }
    harm: dict[tuple[str, str], int] = {
        (row.sender, row.kind): row.number for row in connection.execute(_harm(), since)
    }
    records = {}
    for sender in senders:
        refused = states.get((sender, "rejected"), 0)
        sent = sum(states.get((sender, state), 0) for state in ("accepted", "unknown")) + refused
        bounced = harm.get((sender, BOUNCED), 0) + refused
        records[sender] = Record(sent, bounced, harm.get((sender, COMPLAINED), 0))
    return records


def _order(trouble: Trouble) -> tuple[str, str, str]:
    return trouble.kind, trouble.campaign or "", trouble.subject


@cache
def _troubles(kind: str) -> PreparedSelect:
    states, calls = stage_states.c, provider_calls.c
    failed = states.succeeded_at.is_(None) | (states.failed_at > states.succeeded_at)
    parts = (
        _row(
            "stage failed",
            states.campaign,
            states.stage,
            states.failure,
            number=constant(1),
        ).where(within(states.campaign, kind), states.failed_at.is_not(None), failed),
        _row("run failed", ticks.c.campaign, ticks.c.job)
        .where(
            within(ticks.c.campaign, kind),
            written_out(ticks.c.state, [FAILED]),
            ticks.c.due_at >= sa.bindparam("since"),
        )
        .group_by(ticks.c.campaign, ticks.c.job),
        _row("send in doubt", _SENDS.campaign, constant("nurture_sends"))
        .where(
            within(_SENDS.campaign, kind),
            written_out(_SENDS.state, ["claimed", "attempting", "unknown"]),
            _SENDS.state == constant("unknown"),
        )
        .group_by(_SENDS.campaign),
        _row("handoff dead", handoffs.c.campaign, handoffs.c.destination)
        .where(within(handoffs.c.campaign, kind), handoffs.c.state == constant(DEAD))
        .group_by(handoffs.c.campaign, handoffs.c.destination),
        _row("payment in doubt", calls.campaign, calls.provider)
        .where(
            within(calls.campaign, kind),
            written_out(calls.state, OPEN_CALLS),
            calls.state == constant("unknown"),
        )
        .group_by(calls.campaign, calls.provider),
        _open_breakers(kind),
    )
    return PreparedSelect(sa.union_all(*parts))


def _row(
    kind: str,
    campaign: sa.ColumnElement[str],
    subject: sa.ColumnElement[str],
    text: sa.ColumnElement[str] | None = None,
    *,
    number: sa.ColumnElement[int] | None = None,
) -> sa.Select:
    return sa.select(
        constant(kind).label("kind"),
        campaign.label("campaign"),
        subject.label("subject"),
        (sa.func.count() if number is None else number).label("number"),
        (constant("") if text is None else text).label("text"),
    )


def _open_breakers(kind: str) -> sa.Select[Any]:
    senders = sa.select(sender_turns.c.sender).where(within(sender_turns.c.campaign, kind))
    row = _row(
        "breaker open",
        sa.cast(sa.null(), sa.Text),
        breakers.c.sender,
        breakers.c.scope,
        number=breakers.c.failures,
    )
    mine = sa.true() if kind == "all" else breakers.c.sender.in_(senders)
    return row.where(breakers.c.open_until > sa.bindparam("now"), mine)


def _drifts(connection: sa.Connection, scope: Scope) -> list[Trouble]:
    """Campaigns whose leads had moved when their model was last trained."""
    rows = _trainings(reach(scope)).rows(connection, within_parameters(scope))
    drifted = {campaign: int(json.loads(figures).get(DRIFTED, 0)) for campaign, figures in rows}
    return [
        Trouble("drift", campaign, MODEL_STAGE, number, "")
        for campaign, number in drifted.items()
        if number
    ]


@cache
def _trainings(kind: str) -> PreparedSelect:
    runs = stage_results.c
    latest = (
        sa.select(sa.func.max(runs.id))
        .where(within(runs.campaign, kind), runs.stage == constant(MODEL_STAGE), runs.succeeded)
        .group_by(runs.campaign)
    )
    return PreparedSelect(sa.select(runs.campaign, runs.figures).where(runs.id.in_(latest)))


@cache
def _senders(kind: str) -> PreparedSelect:
    mine = within(sender_turns.c.campaign, kind)
    query = sa.select(sender_turns.c.sender).where(mine).distinct()
    return PreparedSelect(query.order_by("sender"))


@cache
def _sent() -> sa.Select[Any]:
    return (
        sa.select(_SENDS.sender, _SENDS.state, sa.func.count().label("number"))
        .where(_mine(), _SENDS.claimed_at >= sa.bindparam("since"))
        .group_by(_SENDS.sender, _SENDS.state)
    )


@cache
def _harm() -> sa.Select[Any]:
    same = (_SENDS.campaign == events.c.campaign) & (_SENDS.lead_id == events.c.lead_id)
    number = sa.func.count(sa.distinct(events.c.id)).label("number")
    return (
        sa.select(_SENDS.sender, events.c.kind, number)
        .join_from(events, nurture_sends, same)
        .where(
            written_out(events.c.kind, (BOUNCED, COMPLAINED)),
            events.c.happened_at >= sa.bindparam("since"),
            _mine(),
        )
        .group_by(_SENDS.sender, events.c.kind)
    )


def _mine() -> sa.ColumnElement[bool]:
    return _SENDS.sender.in_(sa.bindparam("senders", expanding=True, type_=sa.Text()))
