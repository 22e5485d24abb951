"""What must be true of the mail that went out of late, each claim with its figures.

Counts only; nothing that names a lead. Not here: claims about one stage's outcome (`claims`).
"""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from aicmo_dagster.domain.nurture.ramp import BOUNCES_BACK, COMPLAINTS_HALT, TRAILING, health
from aicmo_dagster.domain.tokens import address_key, domain_key
from aicmo_dagster.stages.claims import Finding
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.assurances import (
    recipients_since,
    sends_since,
    suppressed_since,
    unknown_before,
)
from aicmo_dagster.store.pacing import record_of

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LOOKED_BACK = timedelta(days=2)
"""How far back these claims look: each tick checks, so that nothing is missed."""


def nobody_suppressed_is_mailed(workspace: Workspace, key: str, now: datetime) -> Finding:
    """No message of the last two days went to an address or domain suppressed before its claim."""
    sender = workspace.campaign(key).campaign.nurture.sender.address
    secret = workspace.settings.secret_key()
    with workspace.database.read() as connection:
        sent = recipients_since(connection, key, sender, now - LOOKED_BACK)
        keys = [
            [
                kept if isinstance(kept, str) else address_key(secret, address)
                for kept, address in zip(sent["address_key"], sent["email"], strict=True)
            ],
            [domain_key(secret, domain) for domain in sent["recipient_domain"]],
        ]
        since = suppressed_since(connection, [key for told in keys for key in told])
    hit = np.zeros(len(sent), dtype=bool)
    for told in keys:
        begun = pd.to_datetime(pd.Series([since.get(key) for key in told]), utc=True)
        hit |= (begun < pd.to_datetime(sent["claimed_at"], utc=True)).to_numpy(dtype=bool)
    text = f"{hit.sum()} of {len(sent)} messages went to suppressed recipients: stop the campaign"
    return Finding(not hit.any(), text, {"mailed": len(sent), "suppressed": int(hit.sum())})


def caps_are_kept(workspace: Workspace, key: str, now: datetime) -> Finding:
    """In no 24 hours and no hour of the last two days did more go out than the caps allow."""
    nurture = workspace.campaign(key).campaign.nurture
    caps = nurture.caps
    with workspace.database.read() as connection:
        sent = sends_since(connection, nurture.sender.address, now - LOOKED_BACK)
    mine = sent[sent["campaign"] == key]
    by_domain = [_most_within(part, HOUR) for _, part in sent.groupby("recipient_domain")]
    most = {
        "per_sender_per_day": (caps.per_sender_per_day, _most_within(sent, DAY)),
        "per_sender_per_hour": (caps.per_sender_per_hour, _most_within(sent, HOUR)),
        "per_campaign_per_day": (caps.per_campaign_per_day, _most_within(mine, DAY)),
        "per_domain_per_hour": (caps.per_domain_per_hour, max(by_domain, default=0)),
    }
    beyond = [
        f"{name}: {found} where {limit} are allowed"
        for name, (limit, found) in most.items()
        if limit is not None and found > limit
    ]
    figures: dict[str, float] = {f"most_{name}": found for name, (_, found) in most.items()}
    return Finding(not beyond, "; ".join(beyond), figures)


def nothing_stays_unknown(workspace: Workspace, key: str, now: datetime) -> Finding:
    """Of no send older than a day is it unknown whether it went out."""
    with workspace.database.read() as connection:
        count = unknown_before(connection, key, now - DAY)
    text = (
        f"{count} sends have been in doubt for more than a day: look for their Message-IDs at the "
        "mail server; they are presumed sent until then"
    )
    return Finding(count == 0, text, {"unknown_for_a_day": count})


def bounces_and_complaints_are_few(workspace: Workspace, key: str, now: datetime) -> Finding:
    """Of the sender's mails of a week, under 5 % bounced and under 0.3 % were complained about."""
    sender = workspace.campaign(key).campaign.nurture.sender.address
    with workspace.database.read() as connection:
        record = record_of(connection, sender, now - TRAILING)
    bounces = record.bounced / record.sent if record.sent else 0.0
    complaints = record.complained / record.sent if record.sent else 0.0
    text = (
        f"{record.bounced} bounces (ceiling {BOUNCES_BACK:.0%}) and {record.complained} complaints "
        f"(ceiling {COMPLAINTS_HALT:.1%}) about {record.sent} mails: the sender slows down or halts"
    )
    holds = health(record) not in ("back", "halt")
    return Finding(holds, text, {"bounce_rate": bounces, "complaint_rate": complaints})


def _most_within(sent: pd.DataFrame, window: timedelta) -> int:
    """The most mails within any `window`, by the column `at`, which must be sorted."""
    at = sent["at"].to_numpy(dtype="datetime64[us]")
    if not len(at):
        return 0
    # Those at or before the instant a window earlier are outside of it.
    begin = np.searchsorted(at, at - np.timedelta64(window), side="right")
    return int((np.arange(1, len(at) + 1) - begin).max())
