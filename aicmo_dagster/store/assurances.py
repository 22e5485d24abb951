"""What the ledger must be able to prove of itself, read back independently of how it came about.

Not here: the claims (`nurturing.mail_claims`).
"""

from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any

import pandas as pd
import sqlalchemy as sa

from aicmo_dagster.store.fetching import fetch_frame
from aicmo_dagster.store.index_conditions import written_out
from aicmo_dagster.store.pacing import SPENT
from aicmo_dagster.store.tables import (
    FRAME_TABLES,
    agenda,
    nurture_sends,
    suppressions,
)

_SENDS = nurture_sends.c
_RAW = FRAME_TABLES["raw_leads"].c


def sends_since(connection: sa.Connection, sender: str, since: datetime) -> pd.DataFrame:
    """Mails of the sender, sent or possibly sent: campaign, recipient_domain, at; oldest first."""
    at = sa.func.coalesce(_SENDS.sent_at, _SENDS.claimed_at, type_=_SENDS.sent_at.type)
    query = (
        sa.select(_SENDS.campaign, _SENDS.recipient_domain, at.label("at"))
        .where(_SENDS.sender == sender, _SENDS.claimed_at >= since, _SENDS.state.in_(SPENT))
        .order_by(at)
    )
    return fetch_frame(connection, query)


def recipients_since(
    connection: sa.Connection, campaign: str, sender: str, since: datetime
) -> pd.DataFrame:
    """Whom the campaign has written to: address_key, email, recipient_domain, claimed_at.

    The first is missing for mail that went out before it was kept; `email` is the lead's present
    one.
    """
    names = (_SENDS.address_key, _RAW.email, _SENDS.recipient_domain, _SENDS.claimed_at)
    query = sa.select(*names).join_from(
        nurture_sends,
        FRAME_TABLES["raw_leads"],
        (_RAW.campaign == _SENDS.campaign) & (_RAW.lead_id == _SENDS.lead_id),
    )
    mine = (_SENDS.campaign == campaign, _SENDS.sender == sender, _SENDS.claimed_at >= since)
    return fetch_frame(
        connection, query.where(*mine, _SENDS.state == "accepted", _RAW.email.is_not(None))
    )


def suppressed_since(connection: sa.Connection, keys: list[str]) -> dict[str, datetime]:
    """Those of `keys` that get no mail, and since when."""
    found: dict[str, datetime] = {}
    for start in range(0, len(keys), 10_000):  # SQLite takes no more than 32,766 in a statement
        chunk = suppressions.c.key.in_(keys[start : start + 10_000])
        query = sa.select(suppressions.c.key, suppressions.c.since).where(chunk)
        found |= dict(connection.execute(query).all())
    return found


def unknown_before(connection: sa.Connection, campaign: str, before: datetime) -> int:
    """Sends of which it has not been known since `before` whether they went out."""
    query = sa.select(sa.func.count()).where(
        _SENDS.campaign == campaign, _SENDS.state == "unknown", _SENDS.claimed_at < before
    )
    return connection.scalar(query) or 0


def due_by_day(
    connection: sa.Connection, campaign: str, begin: datetime, days: int
) -> dict[str, list[int]]:
    """Waiting sends by sender and day from `begin` on; what was due before counts on the first."""
    bounds = {f"at_{number}": begin + timedelta(days=number) for number in range(1, days + 1)}
    rows = connection.execute(_due_by_day(days), {"of_campaign": campaign, **bounds})
    return {sender: [int(count) for count in counts] for sender, *counts in rows}


@cache
def _due_by_day(days: int) -> sa.Select[Any]:
    """The statement of `due_by_day`, which takes as long to make as to execute."""
    bounds = [
        sa.bindparam(f"at_{number}", type_=_SENDS.due_at.type) for number in range(1, days + 1)
    ]
    columns = [
        sa.func.sum(sa.case(((_SENDS.due_at >= low) & (_SENDS.due_at < high), 1), else_=0))
        for low, high in pairwise(bounds)
    ]
    first = sa.func.sum(sa.case((_SENDS.due_at < bounds[0], 1), else_=0))
    return (
        sa.select(_SENDS.sender, first, *columns)
        .where(
            _SENDS.campaign == sa.bindparam("of_campaign"),
            written_out(_SENDS.state, ("planned", "deferred")),
            _SENDS.priority.in_((0, 1)),  # so that the index serves
            _SENDS.due_at < bounds[-1],
        )
        .group_by(_SENDS.sender)
        .order_by(_SENDS.sender)
    )


def exits(connection: sa.Connection, campaign: str) -> dict[str, int]:
    """Leads that have left their sequence, by reason, most frequent first."""
    count = sa.func.count()
    query = (
        sa.select(agenda.c.reason, count)
        .where(agenda.c.campaign == campaign, agenda.c.state == "exited")
        .group_by(agenda.c.reason)
        .order_by(count.desc(), agenda.c.reason)
    )
    return dict(connection.execute(query).all())
