"""Verdicts on events, human or machine: replaced whenever their lead is judged again.

Not here: the rules (`domain.nurture.engagement`), or the events themselves (`events`).
"""

from datetime import datetime

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.store.events import JUDGED
from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.loading import bulk_insert
from aicmo_dagster.store.tables import campaigns, engagement, events, nurture_sends

_EVENTS, _VERDICTS, _SENDS = events.c, engagement.c, nurture_sends.c
_TRAITS = ("id", "lead_id", "kind", "step", "happened_at", "link", "method", "agent")


def unjudged(
    connection: sa.Connection, campaign: str, rules_version: int, *, everyone: bool = False
) -> pd.DataFrame:
    """Events of leads that must be judged: of whom one is new, pending, or judged by other rules.

    Args:
        connection: A transaction.
        campaign: The campaign.
        rules_version: The rules that verdicts must be by.
        everyone: All leads, whatever is known.

    Returns:
        id, lead_id, kind, step, happened_at, link, method, agent and client, which is an address or
        what is left of it.
    """
    client = sa.func.coalesce(_EVENTS.client, _EVENTS.client_network).label("client")
    statement = sa.select(*(_EVENTS[name] for name in _TRAITS), client).where(
        _EVENTS.campaign == campaign, _EVENTS.kind.in_(JUDGED)
    )
    if not everyone:
        statement = statement.where(_EVENTS.lead_id.in_(_open_leads(campaign, rules_version)))
    return fetch_frame(connection, statement.order_by(_EVENTS.id))


def replace_verdicts(
    connection: sa.Connection, campaign: str, verdicts: pd.DataFrame, rules_version: int
) -> None:
    """The events of `verdicts`, from `engagement.judge`, are judged so, whatever was said before.

    By event and not by lead, whose id another merge may have changed meanwhile.
    """
    judged = verdicts["id"].tolist()
    for start in range(0, len(judged), 10_000):
        chosen = _VERDICTS.event_id.in_(judged[start : start + 10_000])
        connection.execute(sa.delete(engagement).where(chosen))
    if len(verdicts):
        frame = verdicts.rename(columns={"id": "event_id"})
        bulk_insert(connection, engagement, frame, campaign=campaign, rules_version=rules_version)


def read_verdicts(connection: sa.Connection, campaign: str) -> pd.DataFrame:
    """Every verdict: the event's id, lead_id, kind, step, happened_at; verdict and rule."""
    names = ("lead_id", "kind", "step", "happened_at", "verdict", "rule")
    statement = sa.select(_VERDICTS.event_id.label("id"), *(_VERDICTS[name] for name in names))
    return fetch_frame(
        connection, statement.where(_VERDICTS.campaign == campaign).order_by(_VERDICTS.event_id)
    )


def verdicts_of_lead(
    connection: sa.Connection, campaign: str, lead_id: str
) -> dict[int, tuple[str, str]]:
    """Event to (verdict, rule), for the lead's events that were judged."""
    statement = sa.select(_VERDICTS.event_id, _VERDICTS.verdict, _VERDICTS.rule).where(
        _VERDICTS.campaign == campaign, _VERDICTS.lead_id == lead_id
    )
    return {row.event_id: (row.verdict, row.rule) for row in connection.execute(statement)}


def any_ripe(connection: sa.Connection, rules_version: int, before: datetime) -> bool:
    """Whether a verdict of an active campaign is by other rules, or waits on since `before`."""
    waits = (_VERDICTS.verdict == "pending") & (_VERDICTS.happened_at <= before)
    outdated = _VERDICTS.rules_version != rules_version
    active = sa.select(campaigns.c.campaign).where(campaigns.c.state == "active")
    query = sa.select(_VERDICTS.event_id).where(waits | outdated, _VERDICTS.campaign.in_(active))
    return connection.execute(query.limit(1)).first() is not None


def handed_over(connection: sa.Connection, campaign: str) -> pd.DataFrame:
    """When each send of the campaign left: lead_id, step, sent_at."""
    statement = sa.select(_SENDS.lead_id, _SENDS.step, _SENDS.sent_at).where(
        _SENDS.campaign == campaign, _SENDS.sent_at.is_not(None)
    )
    return fetch_frame(connection, statement)


def _open_leads(campaign: str, rules_version: int) -> sa.Select[tuple[str]]:
    same = (_VERDICTS.event_id == _EVENTS.id) & (_VERDICTS.campaign == _EVENTS.campaign)
    settled = (_VERDICTS.verdict != "pending") & (_VERDICTS.rules_version == rules_version)
    return (
        sa.select(_EVENTS.lead_id)
        .join_from(events, engagement, same & settled, isouter=True)
        .where(
            _EVENTS.campaign == campaign,
            _EVENTS.kind.in_(JUDGED),
            _VERDICTS.event_id.is_(None),
        )
        .distinct()
    )
