"""How many mails a sender may still send. Not here: counting what was sent (`store.ledger`)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from aicmo_dagster.domain.campaigns import Caps

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@dataclass
class Allowance:
    """What the caps still allow at one instant; used up as sends are claimed.

    Args:
        sender: Mails that the sender may still send; None where nothing limits it.
        per_domain: Mails an hour to one recipient domain; None where nothing limits it.
        sent_by_domain: Mails of the last hour by recipient domain, counted on as sends are claimed.
    """

    sender: int | None
    per_domain: int | None
    sent_by_domain: dict[str, int]

    def spent(self) -> bool:
        """Whether the sender may send nothing more now."""
        return self.sender is not None and self.sender <= 0

    def take(self, domain: str) -> bool:
        """Whether one more mail to `domain` is allowed; if so it is counted."""
        sent = self.sent_by_domain.get(domain, 0)
        if self.spent() or (self.per_domain is not None and sent >= self.per_domain):
            return False
        self.sent_by_domain[domain] = sent + 1
        if self.sender is not None:
            self.sender -= 1
        return True


def allowance(
    caps: Caps,
    *,
    sent_last_day: int,
    first_sent_at: datetime | None,
    sent_by_domain: dict[str, int],
    now: datetime,
) -> Allowance:
    """What `caps` still allow.

    Args:
        caps: The campaign's limits.
        sent_last_day: Mails of this sender in the last 24 hours, over all campaigns.
        first_sent_at: When this sender sent its first mail, for the ramp.
        sent_by_domain: Mails of this sender in the last hour, by recipient domain.
        now: The instant asked about.
    """
    limits = []
    if caps.per_sender_per_day is not None:
        limits.append(caps.per_sender_per_day)
    if caps.ramp is not None:
        days = (now - first_sent_at) // DAY if first_sent_at else 0
        limits.append(caps.ramp.start + caps.ramp.step * max(days, 0))
    sender = min(limits) - sent_last_day if limits else None
    return Allowance(sender, caps.per_domain_per_hour, dict(sent_by_domain))
