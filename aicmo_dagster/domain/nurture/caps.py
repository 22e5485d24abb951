"""How many mails a sender may still send, and to whom. Not here: counting them (`store.pacing`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from aicmo_dagster.domain.sections.nurture import Caps

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)

SENDER, SENDER_HOUR = "the sender's cap is reached", "the sender's cap for this hour is reached"
CAMPAIGN = "the campaign's cap is reached"
OTHERS = "other campaigns of the sender have their turn"
DOMAIN, PROVIDER = "the domain's cap is reached", "the mailbox provider's cap is reached"
HALTED = "the sender is halted: too many complaints"


@dataclass(frozen=True)
class Spent:
    """What a sender has sent, or may have: mails by campaign, and by recipient domain.

    Args:
        day: Of the last 24 hours, by campaign.
        hour: Of the last hour, over all campaigns.
        domains: Of the last hour, by recipient domain.
    """

    day: Mapping[str, int] = field(default_factory=dict)
    hour: int = 0
    domains: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Allowance:
    """What the caps still allow at one instant; used up as sends are claimed.

    Args:
        left: Mails that may still be sent, by the reason why there may be no more.
        per_domain: Mails an hour to one recipient domain; None where nothing limits it.
        per_provider: Mails an hour to one mailbox provider; None where nothing limits it.
        provider_of: Recipient domain to its mailbox provider; a domain left out is its own.
        domains: Mails of the last hour by recipient domain, counted on as sends are claimed.
    """

    left: dict[str, int]
    per_domain: int | None = None
    per_provider: int | None = None
    provider_of: Mapping[str, str] = field(default_factory=dict)
    domains: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._providers: dict[str, int] = {}
        for domain, sent in self.domains.items():
            self._count(self._provider(domain), sent)

    def reached(self) -> str | None:
        """The cap that lets nothing more out now, whoever it is to; None while there is none."""
        for reason, left in self.left.items():
            if left <= 0:
                return reason
        return None

    def refusal(self, domain: str) -> str | None:
        """The cap that keeps one more mail to `domain` back; None if it may go."""
        if reached := self.reached():
            return reached
        if self.per_domain is not None and self.domains.get(domain, 0) >= self.per_domain:
            return DOMAIN
        if self.per_provider is not None:
            sent = self._providers.get(self._provider(domain), 0)
            return PROVIDER if sent >= self.per_provider else None
        return None

    def take(self, domain: str) -> bool:
        """Whether one more mail to `domain` is allowed; if so it is counted."""
        if self.refusal(domain):
            return False
        self.domains[domain] = self.domains.get(domain, 0) + 1
        self._count(self._provider(domain), 1)
        self.left = {reason: left - 1 for reason, left in self.left.items()}
        return True

    def _provider(self, domain: str) -> str:
        return self.provider_of.get(domain, domain)

    def _count(self, provider: str, mails: int) -> None:
        self._providers[provider] = self._providers.get(provider, 0) + mails


def day_limit(caps: Caps, level: int) -> int | None:
    """Mails a sender may send in 24 hours at `level` of its ramp; None where nothing limits it."""
    limits = [] if caps.per_sender_per_day is None else [caps.per_sender_per_day]
    if caps.ramp is not None:
        limits.append(caps.ramp.start + caps.ramp.step * max(level, 0))
    return min(limits, default=None)


def allowance(
    caps: Caps,
    spent: Spent,
    *,
    campaign: str,
    level: int = 0,
    halted: bool = False,
    waiting: Mapping[str, int] | None = None,
    provider_of: Mapping[str, str] | None = None,
) -> Allowance:
    """What `caps` still allow `campaign`.

    Args:
        caps: The campaign's limits.
        spent: What its sender has sent.
        campaign: The campaign that asks.
        level: Where the sender is on its ramp.
        halted: Whether the sender must send nothing at all.
        waiting: Sends that are due now, by campaign of the sender, for a fair share of what is
            left; only the asking campaign's counts where it is not given.
        provider_of: Recipient domain to its mailbox provider.
    """
    left = {HALTED: 0} if halted else {}
    limit = day_limit(caps, level)
    if limit is not None:
        left[SENDER] = limit - sum(spent.day.values())
        if waiting is not None and len(waiting) > 1:
            left[OTHERS] = fair_share(limit, spent.day, waiting, campaign)
    if caps.per_sender_per_hour is not None:
        left[SENDER_HOUR] = caps.per_sender_per_hour - spent.hour
    if caps.per_campaign_per_day is not None:
        left[CAMPAIGN] = caps.per_campaign_per_day - spent.day.get(campaign, 0)
    return Allowance(
        left,
        caps.per_domain_per_hour,
        caps.per_provider_per_hour,
        provider_of or {},
        dict(spent.domains),
    )


def projected(due: Sequence[int], limit: int | None, spent: int = 0) -> list[int]:
    """Mails to expect on each day if so many fall due and `limit` may go; the rest goes on.

    Args:
        due: Mails by day, from today on.
        limit: A day's most; None where nothing limits it.
        spent: How much of today's is used up.
    """
    expected, left = [], 0
    for day, count in enumerate(due):
        left += count
        room = left if limit is None else max(limit - (0 if day else spent), 0)
        expected.append(min(left, room))
        left -= expected[-1]
    return expected


def fair_share(
    limit: int, spent: Mapping[str, int], waiting: Mapping[str, int], campaign: str
) -> int:
    """What `campaign` may still send if all campaigns share `limit` evenly (max-min fairness).

    Nobody is kept from what the others do not want. A share that is no whole number is rounded up,
    so that nothing of the limit is left over.
    """
    wants = {name: spent.get(name, 0) + count for name, count in waiting.items()}
    left, share = limit, max(wants.values())
    for position, want in enumerate(sorted(wants.values())):
        sharers = len(wants) - position
        if want * sharers > left:
            share = -(-left // sharers)
            break
        left -= want
    return min(wants[campaign], share) - spent.get(campaign, 0)
