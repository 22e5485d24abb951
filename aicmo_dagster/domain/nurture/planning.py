"""The next step of every lead in a sequence, and the instant it is due.

Pure: history and clock are arguments. Not here: claiming and sending (`store.ledger`, `mail`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pandas as pd

from aicmo_dagster.domain.campaigns import Campaign, Step
from aicmo_dagster.domain.nurture.timing import days_later, next_opening
from aicmo_dagster.domain.schemas import typed

DEADLINE = timedelta(days=30)
"""A send that is later than this is dropped, and says so."""


@dataclass(frozen=True)
class Progress:
    """How far a lead is: its last send, if there was one."""

    step: str
    state: str
    sent_at: datetime | None


def plan(
    leads: pd.DataFrame,
    progress: Mapping[str, Progress],
    versions: Mapping[int, Campaign],
    *,
    name_message: Callable[[str, str], str],
    now: datetime,
) -> pd.DataFrame:
    """The sends that are newly due to be planned, as a `NurtureSends` frame in state `planned`.

    A lead's first step is planned at once, each later one when the step before was accepted.
    Everyone follows the version of the campaign document they were routed by.

    Args:
        leads: Routed leads with lead_id, sequence, campaign_version, seed, email, timezone.
        progress: Lead to its last send; leads without one are absent.
        versions: The campaign document by version.
        name_message: Message-ID of (lead_id, step).
        now: The instant of planning.
    """
    wanted = ["lead_id", "sequence", "campaign_version", "seed", "email", "timezone"]
    openings = _Openings()
    sends = []
    for row in leads[wanted].to_dict("records"):
        lead = SimpleNamespace(**{str(name): value for name, value in row.items()})
        campaign = versions[lead.campaign_version]
        done = progress.get(lead.lead_id)
        step = next_step(campaign.sequences[lead.sequence].steps, done)
        if step is None:
            continue
        earliest = _earliest(step, done, lead_zone(campaign, lead.timezone), now)
        sends.append(
            {
                "lead_id": lead.lead_id,
                "sequence": lead.sequence,
                "step": step.id,
                "variant": variant(step, lead.seed),
                "campaign_version": lead.campaign_version,
                "message_id": name_message(lead.lead_id, step.id),
                "recipient_domain": lead.email.rpartition("@")[2],
                "state": "planned",
                "due_at": openings.next(campaign, lead.timezone, earliest),
            }
        )
    return typed("nurture_sends", dict(pd.DataFrame(sends))) if sends else _nothing()


def next_step(steps: list[Step], done: Progress | None) -> Step | None:
    """The step after the last accepted one; none while one is under way, or at the end."""
    if done is None:
        return steps[0]
    if done.state != "accepted":
        return None
    position = next((i for i, step in enumerate(steps) if step.id == done.step), len(steps))
    return steps[position + 1] if position + 1 < len(steps) else None


def lead_zone(campaign: Campaign, timezone: str | None) -> ZoneInfo:
    """The zone that a lead's window is in: its own where known and wanted, else the campaign's."""
    own = campaign.nurture.window.timezone == "lead" and isinstance(timezone, str)
    return ZoneInfo(str(timezone)) if own else campaign.zone


def variant(step: Step, seed: int) -> str | None:
    """The variant that `seed` (0-9999) falls to, by weight."""
    total = sum(option.weight for option in step.variants)
    reached = 0
    for option in step.variants:
        reached += option.weight
        if seed * total < reached * 10_000:
            return option.id
    return None


def _earliest(step: Step, done: Progress | None, zone: ZoneInfo, now: datetime) -> datetime:
    """Not before the wait after the last send is over."""
    if done is None or done.sent_at is None or step.wait is None:
        return now
    if step.wait.hours is not None:
        return max(now, done.sent_at + timedelta(hours=step.wait.hours))
    return max(now, days_later(done.sent_at, step.wait.days or 0, zone))


class _Openings:
    """Next openings, looked up once for each zone and instant."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, datetime], datetime] = {}

    def next(self, campaign: Campaign, timezone: str | None, earliest: datetime) -> datetime:
        zone = lead_zone(campaign, timezone)
        key = (id(campaign), zone.key, earliest)
        if key not in self._known:
            self._known[key] = next_opening(campaign.nurture.window, zone, earliest)
        return self._known[key]


def _nothing() -> pd.DataFrame:
    return typed("nurture_sends", {"lead_id": []})
