"""When each lead of a campaign came how far, and how often recipients did what.

Not here: single leads (`leads`), or single events (`events`).
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.store.events import events_of_kind
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.responses import (
    BOUNCED,
    CLICKED,
    COMPLAINED,
    OPENED,
    REPLIED,
    UNSUBSCRIBED,
    responses,
)
from aicmo_dagster.store.tables import (
    FRAME_TABLES,
    UtcInstant,
    decisions,
    events,
    handoffs,
    nurture_sends,
)

MILESTONES = (
    *("harvested", "qualified", "routed", "sent", "opened", "clicked", "replied", "bounced"),
    *("unsubscribed", "complained", "handed over"),
)
"""What a timeline tells of, in the order of a funnel."""

_RAW, _ROUTED = FRAME_TABLES["raw_leads"].c, FRAME_TABLES["routed_leads"].c
_SENDS, _EVENTS, _DECISIONS = nurture_sends.c, events.c, decisions.c
_KINDS = {
    "replied": REPLIED,
    "bounced": BOUNCED,
    "unsubscribed": UNSUBSCRIBED,
    "complained": COMPLAINED,
}
_SEEN = {"opened": OPENED, "clicked": CLICKED}


def timeline(connection: sa.Connection, campaign: str) -> pd.DataFrame:
    """milestone, lead_id and at: a row a lead, but for `sent`, which has one a message.

    Of what a lead did several times the first counts; opens and clicks by machines do not.
    """
    parts = [
        _told("harvested", _RAW.lead_id, _RAW.first_seen_at, _RAW.campaign == campaign),
        _told("routed", _ROUTED.lead_id, _ROUTED.routed_at, _ROUTED.campaign == campaign),
        _first(
            "qualified",
            sa.select(_DECISIONS.lead_id, _DECISIONS.decided_at.label("at")).where(
                _DECISIONS.campaign == campaign,
                _DECISIONS.stage == "qualified_leads",
                _DECISIONS.outcome == "qualified",
            ),
        ),
        _told(
            "sent",
            _SENDS.lead_id,
            _SENDS.sent_at,
            (_SENDS.campaign == campaign) & _SENDS.state.in_(("accepted", "unknown")),
        ),
        _told(
            "bounced",
            _SENDS.lead_id,
            _SENDS.claimed_at,
            (_SENDS.campaign == campaign) & (_SENDS.state == "rejected"),
        ),
        _told(
            "handed over",
            handoffs.c.lead_id,
            handoffs.c.created_at,
            handoffs.c.campaign == campaign,
        ),
    ]
    for milestone, kind in _KINDS.items():
        done = sa.select(_EVENTS.lead_id, _EVENTS.happened_at.label("at"))
        mine = (_EVENTS.campaign == campaign) & (_EVENTS.kind == kind)
        parts.append(_first(milestone, done.where(mine)))
    for milestone, kind in _SEEN.items():
        seen = responses(campaign, [kind]).subquery()
        parts.append(_first(milestone, sa.select(seen.c.lead_id, seen.c.happened_at.label("at"))))
    return fetch_frame(connection, sa.select(sa.union_all(*parts).subquery()))


def _told(
    milestone: str,
    lead_id: sa.ColumnElement[str],
    at: sa.ColumnElement[Any],
    where: sa.ColumnElement[bool],
) -> sa.Select[Any]:
    name = sa.literal(milestone, sa.Text()).label("milestone")
    return sa.select(name, lead_id.label("lead_id"), at.label("at")).where(where)


def _first(milestone: str, done: sa.Select[Any]) -> sa.Select[Any]:
    every = done.subquery()
    first = sa.func.min(every.c.at, type_=UtcInstant()).label("at")
    name = sa.literal(milestone, sa.Text()).label("milestone")
    return sa.select(name, every.c.lead_id, first).group_by(every.c.lead_id)


@dataclass(frozen=True)
class Tally:
    """What a campaign's recipients did, in counts.

    Args:
        leads: Written to, or tried to.
        messages: Sent.
        answers: A person's replies, those that ask to stop among them.
        objections: Replies that ask to stop.
        absences: Automatic answers of people who are away.
        unsubscribed: Leads that used the link.
        complained: Leads that complained.
        dead: Leads whose address bounced or was refused.
        opens: Messages that a person is taken to have opened.
        clicks: Messages in which a person is taken to have clicked.
    """

    leads: int
    messages: int
    answers: int
    objections: int
    absences: int
    unsubscribed: int
    complained: int
    dead: int
    opens: int
    clicks: int


def tally(connection: sa.Connection, campaign: str) -> Tally:
    """The counts of a campaign; an unsubscription by reply counts as an answer alone."""
    told = timeline(connection, campaign)
    leads = {name: set(told.loc[told["milestone"] == name, "lead_id"]) for name in MILESTONES}
    replies = events_of_kind(connection, campaign, [REPLIED])
    objecting = replies["detail"].str.contains('"asks_to_stop": true', regex=False)
    asked = set(replies.loc[objecting, "lead_id"])
    seen = fetch_frame(connection, responses(campaign, [OPENED, CLICKED]))
    messages = seen.drop_duplicates(["lead_id", "step", "kind"])["kind"].value_counts()
    return Tally(
        leads=len(leads["sent"] | leads["bounced"]),
        messages=int((told["milestone"] == "sent").sum()),
        answers=len(replies),
        objections=int(objecting.sum()),
        absences=len(events_of_kind(connection, campaign, ["out_of_office"])),
        unsubscribed=len(leads["unsubscribed"] - asked),
        complained=len(leads["complained"]),
        dead=len(leads["bounced"]),
        opens=int(messages.get(OPENED, 0)),
        clicks=int(messages.get(CLICKED, 0)),
    )
