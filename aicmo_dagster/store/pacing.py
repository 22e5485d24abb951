"""What a sender has sent and may still send, in the one place that all workers share.

Mails are counted in the ledger itself, so that nothing has to be kept in step with it, and only for
limits that are set, which bound the count. Not here: the limits (`domain.nurture.caps`), the ramp
(`domain.nurture.ramp`), claiming (`ledger`).
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.nurture.caps import (
    DAY,
    HOUR,
    Allowance,
    Spent,
    allowance,
    day_limit,
)
from aicmo_dagster.domain.nurture.mailboxes import provider_by_name
from aicmo_dagster.domain.nurture.ramp import (
    JUDGE_AGAIN,
    TRAILING,
    Pace,
    Record,
    first_pace,
    next_pace,
)
from aicmo_dagster.store.index_conditions import written_out
from aicmo_dagster.store.responses import BOUNCED, COMPLAINED
from aicmo_dagster.store.tables import (
    campaigns,
    events,
    mailbox_providers,
    nurture_sends,
    pauses,
    sender_paces,
    sender_turns,
)
from aicmo_dagster.store.upserts import put_row

ASKING = timedelta(days=2)
"""A campaign that has not asked for so long gets no share kept: nobody runs it."""

KNOWN_FOR = timedelta(days=30)
"""How long a domain's provider is believed to be the same."""

SPENT = ("claimed", "attempting", "accepted", "unknown")
"""States that count against the caps: sent, or possibly sent."""

_SENDS = nurture_sends.c


def read_allowance(
    connection: sa.Connection, campaign: Campaign, domains: Collection[str], now: datetime
) -> Allowance:
    """What the caps allow the campaign now; call it within the claim, on the sender's turn.

    Args:
        connection: From `Database.write`.
        campaign: The campaign that asks; that it did is kept, for a fair share.
        domains: Recipient domains of the sends that are to be claimed.
        now: The instant of asking.
    """
    caps, key = campaign.nurture.caps, campaign.campaign
    sender = campaign.nurture.sender.address
    put_row(connection, sender_turns, sender=sender, campaign=key, asked_at=now)
    pace = _judged_pace(connection, sender, now)
    limit = day_limit(caps, pace.level)
    by_domain = caps.per_domain_per_hour or caps.per_provider_per_hour
    counted = limit is not None or caps.per_sender_per_hour or caps.per_campaign_per_day
    spent = Spent(
        day=_sent_by(connection, sender, _SENDS.campaign, now, DAY) if counted else {},
        hour=sum(_sent_by(connection, sender, _SENDS.campaign, now, HOUR).values())
        if caps.per_sender_per_hour
        else 0,
        domains=_sent_by(connection, sender, _SENDS.recipient_domain, now, HOUR)
        if by_domain
        else {},
    )
    return allowance(
        caps,
        spent,
        campaign=key,
        level=pace.level,
        halted=pace.health == "halt",
        waiting=None if limit is None else _waiting(connection, sender, limit, now),
        provider_of=_providers(connection, {*domains, *spent.domains})
        if caps.per_provider_per_hour
        else {},
    )


def pace_of(connection: sa.Connection, sender: str) -> Pace | None:
    """Where the sender is on its ramp, as it was last judged; none before its first claim."""
    row = connection.execute(_PACE, {"sender": sender}).one_or_none()
    return Pace(row.level, row.level_since, row.health, row.judged_at) if row else None


_PACE = sa.select(sender_paces).where(sender_paces.c.sender == sa.bindparam("sender"))


def sent_within_a_day(connection: sa.Connection, sender: str, now: datetime) -> int:
    """Mails of the sender in the 24 hours before `now`, sent or possibly sent, of all campaigns."""
    return sum(_sent_by(connection, sender, _SENDS.campaign, now, DAY).values())


def room_again_at(connection: sa.Connection, campaign: Campaign, now: datetime) -> datetime | None:
    """The earliest instant at which a limit that holds the campaign back may let more out.

    That is when the sender's oldest mail of the last day, or hour, leaves its window, or when the
    sender's pace may change. None where no such limit is set.
    """
    caps, sender = campaign.nurture.caps, campaign.nurture.sender.address
    instants = []
    windows = {
        DAY: caps.per_sender_per_day or caps.per_campaign_per_day or caps.ramp,
        HOUR: caps.per_sender_per_hour,
    }
    for window in (length for length, limit in windows.items() if limit):
        since = now - window
        values = {"sender": sender, "since": since, "claimed_since": since - HOUR}
        oldest = connection.scalar(_OLDEST, values)
        instants += [] if oldest is None else [oldest + window]
    if (pace := pace_of(connection, sender)) is not None:
        if pace.health == "halt":
            instants.append(pace.judged_at + JUDGE_AGAIN)
        elif caps.ramp:
            instants.append(max(pace.level_since + DAY, pace.judged_at + JUDGE_AGAIN))
    return min((at for at in instants if at > now), default=None)


def record_of(connection: sa.Connection, sender: str, since: datetime) -> Record:
    """The sender's mails from `since` on, those that bounced or were refused, and complaints."""
    values = {"sender": sender, "since": since}
    states: dict[str, int] = dict(connection.execute(_STATES, values).all())
    told: dict[str, int] = dict(connection.execute(_HARM, values).all())
    refused = states.get("rejected", 0)
    sent = states.get("accepted", 0) + states.get("unknown", 0) + refused
    return Record(sent, told.get(BOUNCED, 0) + refused, told.get(COMPLAINED, 0))


_STATES = (
    sa.select(_SENDS.state, sa.func.count())
    .where(_SENDS.sender == sa.bindparam("sender"), _SENDS.claimed_at >= sa.bindparam("since"))
    .group_by(_SENDS.state)
)
_HARM = (
    sa.select(events.c.kind, sa.func.count())
    .where(
        written_out(events.c.kind, (BOUNCED, COMPLAINED)),
        events.c.happened_at >= sa.bindparam("since"),
        sa.exists().where(
            _SENDS.campaign == events.c.campaign,
            _SENDS.lead_id == events.c.lead_id,
            _SENDS.sender == sa.bindparam("sender"),
        ),
    )
    .group_by(events.c.kind)
)


def domains_to_ask_about(
    connection: sa.Connection, campaign: str, now: datetime, limit: int
) -> list[str]:
    """Recipient domains of the sends of the next day whose provider is not known, or no longer."""
    known = sa.select(mailbox_providers.c.domain).where(
        mailbox_providers.c.asked_at > now - KNOWN_FOR
    )
    query = (
        sa.select(_SENDS.recipient_domain)
        .where(
            _SENDS.campaign == campaign,
            written_out(_SENDS.state, ("planned", "deferred")),
            _SENDS.priority.in_((0, 1)),  # so that the index serves
            _SENDS.due_at <= now + DAY,
            _SENDS.recipient_domain.not_in(known),
        )
        .distinct()
        .limit(limit)
    )
    return list(connection.scalars(query))


def know_providers(
    connection: sa.Connection, providers: Iterable[tuple[str, str]], now: datetime
) -> None:
    """Each domain has its provider."""
    for domain, provider in providers:
        put_row(connection, mailbox_providers, domain=domain, provider=provider, asked_at=now)


def _sent_by(
    connection: sa.Connection,
    sender: str,
    column: sa.Column[str],
    now: datetime,
    window: timedelta,
) -> dict[str, int]:
    """Mails of the sender within `window`, sent or possibly sent, by `column`."""
    # An hour more than asked for: a claim may be sent some time after it was made.
    since = now - window
    values = {"sender": sender, "since": since, "claimed_since": since - HOUR}
    return dict(connection.execute(_SENT_BY[column.name], values).all())


_WITHIN = (
    _SENDS.sender == sa.bindparam("sender"),
    _SENDS.claimed_at > sa.bindparam("claimed_since"),
    _SENDS.state.in_(SPENT),
)
_SENT_BY = {
    column.name: sa.select(column, sa.func.count())
    .where(
        *_WITHIN,
        sa.func.coalesce(_SENDS.sent_at, _SENDS.claimed_at, type_=_SENDS.sent_at.type)
        > sa.bindparam("since"),
    )
    .group_by(column)
    for column in (_SENDS.campaign, _SENDS.recipient_domain)
}
_OLDEST = sa.select(sa.func.min(_SENDS.sent_at)).where(
    *_WITHIN, _SENDS.sent_at > sa.bindparam("since")
)


def _waiting(connection: sa.Connection, sender: str, limit: int, now: datetime) -> dict[str, int]:
    """Sends that are due, up to `limit`, of each campaign that still asks."""
    asking = connection.scalars(_ASKING, {"sender": sender, "since": now - ASKING}).all()
    asked = {"now": now, "limit": limit}
    return {key: connection.scalar(_DUE, asked | {"campaign": key}) or 0 for key in asking}


_ASKING = (
    sa.select(sender_turns.c.campaign)
    .join(campaigns, campaigns.c.campaign == sender_turns.c.campaign)
    .where(
        sender_turns.c.sender == sa.bindparam("sender"),
        sender_turns.c.asked_at > sa.bindparam("since"),
        campaigns.c.state == "active",
        ~sa.exists().where(
            pauses.c.campaign == campaigns.c.campaign,
            pauses.c.sequence.is_(None),
            pauses.c.resumed_at.is_(None),
        ),
    )
)
_DUE = sa.select(sa.func.count()).select_from(
    sa.select(sa.literal(1))
    .where(
        _SENDS.campaign == sa.bindparam("campaign"),
        written_out(_SENDS.state, ("planned", "deferred")),
        _SENDS.priority.in_((0, 1)),  # so that the index serves
        _SENDS.due_at <= sa.bindparam("now"),
    )
    .limit(sa.bindparam("limit", type_=sa.Integer()))
    .subquery()
)


def _providers(connection: sa.Connection, domains: Collection[str]) -> dict[str, str]:
    named = mailbox_providers.c
    query = sa.select(named.domain, named.provider).where(named.domain.in_(domains))
    known = dict(connection.execute(query).all())
    return {domain: known.get(domain, provider_by_name(domain)) for domain in domains}


def _judged_pace(connection: sa.Connection, sender: str, now: datetime) -> Pace:
    """The sender's pace, judged anew if it is time."""
    pace = pace_of(connection, sender)
    if pace is None:
        first = connection.scalar(_FIRST, {"sender": sender})
        pace = first_pace(first, now)
    elif now - pace.judged_at < JUDGE_AGAIN:
        return pace
    else:
        pace = next_pace(
            pace,
            record_of(connection, sender, now - TRAILING),
            last_sent_at=connection.scalar(_LAST, {"sender": sender}),
            now=now,
        )
    put_row(connection, sender_paces, sender=sender, **vars(pace))
    return pace


_FIRST, _LAST = (
    sa.select(which(_SENDS.sent_at)).where(
        _SENDS.sender == sa.bindparam("sender"), _SENDS.sent_at.is_not(None)
    )
    for which in (sa.func.min, sa.func.max)
)
