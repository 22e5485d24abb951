"""What must be true of a stage's outcome for a campaign, each claim with its figures.

Counts only; nothing that names a lead.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from aicmo_dagster.domain.nurture.ramp import BOUNCES_BACK, COMPLAINTS_HALT, TRAILING, health
from aicmo_dagster.domain.tokens import address_key, domain_key
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.assurances import (
    recipients_since,
    sends_since,
    suppressed_since,
    unknown_before,
)
from aicmo_dagster.store.frames import count_rows, read_frame
from aicmo_dagster.store.harvests import reject_counts
from aicmo_dagster.store.ledger import state_counts
from aicmo_dagster.store.pacing import record_of

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LOOKED_BACK = timedelta(days=2)
"""How far back the claims about mail look: each tick checks, so that nothing is missed."""

MOST_REJECTED = 0.2
"""The share of records above which a source is suspect."""


@dataclass(frozen=True)
class Finding:
    """Whether a claim holds, what to say where it does not, and the figures behind it."""

    holds: bool
    text: str
    figures: dict[str, float] = field(default_factory=dict)


def few_records_are_rejected(workspace: Workspace, key: str) -> Finding:
    """At most a fifth of the records were rejected."""
    with workspace.database.read() as connection:
        rejected = sum(reject_counts(connection, key).values())
        leads = count_rows(connection, "raw_leads", key)
    share = rejected / (rejected + leads) if rejected else 0.0
    text = (
        f"{rejected} records rejected beside {leads} leads: see `rejects` for file, row and reason"
    )
    return Finding(share <= MOST_REJECTED, text, {"rejected": rejected, "rejected_share": share})


def every_lead_is_scored(workspace: Workspace, key: str) -> Finding:
    """There are as many scored leads as raw leads."""
    with workspace.database.read() as connection:
        raw = count_rows(connection, "raw_leads", key)
        scored = count_rows(connection, "scored_leads", key)
    text = f"{raw} raw leads and {scored} scored: materialise scored_leads again"
    return Finding(raw == scored, text, {"raw": raw, "scored": scored})


def some_leads_qualify(workspace: Workspace, key: str) -> Finding:
    """Neither nobody nor everybody qualifies: the rules would tell nothing apart."""
    with workspace.database.read() as connection:
        scored = count_rows(connection, "scored_leads", key)
        qualified = count_rows(connection, "qualified_leads", key)
    share = qualified / scored if scored else 0.0
    text = f"{qualified} of {scored} leads qualify: look at the threshold, the rules and the tree"
    return Finding(scored == 0 or 0 < qualified < scored, text, {"qualified_share": share})


def capacity_is_kept(workspace: Workspace, key: str) -> Finding:
    """No sequence holds more leads than its capacity."""
    routes = workspace.campaign(key).campaign.routing.sequences
    with workspace.database.read() as connection:
        routed = read_frame(connection, "routed_leads", key, ["sequence"])
    load = routed["sequence"].value_counts()
    beyond = [
        route.sequence
        for route in routes
        if route.capacity is not None and load.get(route.sequence, 0) > route.capacity
    ]
    return Finding(not beyond, f"over capacity: {', '.join(beyond)}", {"routed": len(routed)})


def no_send_is_in_doubt(workspace: Workspace, key: str) -> Finding:
    """Of every send it is known whether it went out."""
    with workspace.database.read() as connection:
        states = state_counts(connection, key)
    unknown = states.get("unknown", 0)
    text = f"{unknown} sends may or may not have arrived; they are presumed sent and never repeated"
    return Finding(unknown == 0, text, {"unknown": unknown, "accepted": states.get("accepted", 0)})


def nobody_suppressed_is_mailed(workspace: Workspace, key: str, now: datetime) -> Finding:
    """No message of the last two days went to an address or domain suppressed before its claim."""
    sender = workspace.campaign(key).campaign.nurture.sender.address
    secret = workspace.settings.secret_key()
    with workspace.database.read() as connection:
        sent = recipients_since(connection, key, sender, now - LOOKED_BACK)
        keys = [
            [address_key(secret, address) for address in sent["email"]],
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
