"""What happened in a campaign since some instant, in counts.

Not here: where its leads are (`stages.summary`), or each event (`events`).
"""

from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.responses import BOUNCED, COMPLAINED, REPLIED, UNSUBSCRIBED
from aicmo_dagster.store.tables import events, handoffs, nurture_sends

_TOLD = {
    REPLIED: "replies",
    BOUNCED: "bounces",
    COMPLAINED: "complaints",
    UNSUBSCRIBED: "unsubscribed",
}


def tally_since(connection: sa.Connection, campaign: str, since: datetime | None) -> dict[str, int]:
    """Mails sent, what came back, and leads handed over; from the beginning without `since`."""
    sends, seen, handed = nurture_sends.c, events.c, handoffs.c
    accepted = [sends.campaign == campaign, sends.state == "accepted"]
    happened = [seen.campaign == campaign, seen.kind.in_(_TOLD)]
    made = [handed.campaign == campaign]
    if since is not None:
        accepted.append(sends.sent_at > since)
        happened.append(seen.happened_at > since)
        made.append(handed.created_at > since)
    count = sa.func.count()
    kinds = sa.select(seen.kind, count).where(*happened).group_by(seen.kind)
    counts: dict[str, int] = dict(connection.execute(kinds).all())
    return {
        "sent": connection.scalar(sa.select(count).where(*accepted)) or 0,
        **{name: counts.get(kind, 0) for kind, name in _TOLD.items()},
        "handed over": connection.scalar(sa.select(count).where(*made)) or 0,
    }
