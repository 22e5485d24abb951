"""The section `nurture`: who sends, when and how much, and who hears of interest.

Not here: the messages (`sequences`), or planning them (`domain.nurture`).
"""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, model_validator

from aicmo_dagster.domain.documents import Section
from aicmo_dagster.domain.field_types import Address, Demanded, HolidayCountry, OneLine

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

MOST_TAGGED = 31
"""Characters of a name that + and a tag of 32 still fit behind (RFC 5321, section 4.5.3.1.1)."""


class Sender(Section):
    """Who the mail is from."""

    name: OneLine
    address: Address
    reply_to: Address | None = None
    postal_address: Demanded


class Window(Section):
    """When mail may go out: weekdays and wall-clock hours in the lead's zone or the campaign's."""

    days: list[Literal[WEEKDAYS]] = Field(default=list(WEEKDAYS[:5]), min_length=1)  # type: ignore[valid-type]
    hours: str = Field(
        default="09:00-17:00",
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
    )
    timezone: Literal["lead", "campaign"] = "lead"
    holidays: Literal["lead"] | HolidayCountry | None = None
    jitter_minutes: Annotated[int, Field(ge=0, le=1440)] = 60

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> Self:
        opens, closes = self.hours.split("-")
        if opens >= closes:
            raise ValueError("hours that open before they close")
        return self


class Ramp(Section):
    """Mails on a sender's first day, and how many more after each day on which it sent."""

    start: PositiveInt
    step: int = Field(ge=0)


class Caps(Section):
    """Limits on sending; one that is not given does not apply."""

    per_sender_per_day: PositiveInt | None = None
    per_sender_per_hour: PositiveInt | None = None
    per_domain_per_hour: PositiveInt | None = None
    per_provider_per_hour: PositiveInt | None = None
    per_campaign_per_day: PositiveInt | None = None
    ramp: Ramp | None = None


class Interest(Section):
    """What counts as real interest."""

    replied: bool | None = None
    clicks: PositiveInt | None = None


class Graduate(Section):
    """When a lead is handed to sales, where to, and whether its colleagues then pause."""

    when: Interest = Interest()
    to: Literal["webhook", "hubspot", "csv"]
    url: str | None = None
    pause_colleagues: bool = False

    @model_validator(mode="after")
    def _webhook_has_a_url(self) -> Self:
        if self.to == "webhook" and not (self.url or "").startswith(("http://", "https://")):
            raise ValueError("a 'url' that starts with https:// for a webhook")
        return self


class Escalate(Section):
    """Who hears of a handoff that nobody took up, by mail, by webhook or by both."""

    after_days_without_owner_action: PositiveInt
    to: Address | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _somebody_hears(self) -> Self:
        if self.to is None and self.url is None:
            raise ValueError("'to', an address, or 'url', a webhook, or both")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("a 'url' that starts with https://")
        return self


def _levels(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _later_each(levels: list[Escalate]) -> list[Escalate]:
    days = [level.after_days_without_owner_action for level in levels]
    if any(later <= earlier for earlier, later in pairwise(days)):
        raise ValueError("levels in order, each after more days than the one before")
    return levels


Levels = Annotated[list[Escalate], BeforeValidator(_levels), AfterValidator(_later_each)]
"""One level of escalation, or several in order."""


class Track(Section):
    """What is asked of messages that were sent; it holds at once, for leads under way too.

    With `replies`, the address that replies go to carries a tag, NAME+TAG@: only where the mail
    server delivers that to NAME@. Where it is the sender's own, the envelope's carries it too.
    """

    opens: bool = True
    clicks: bool = True
    replies: bool = False


class Nurture(Section):
    """How mail is sent."""

    sender: Sender
    track: Track = Track()
    window: Window = Window()
    caps: Caps = Caps()
    graduate: Graduate | None = None
    escalate: Levels = Field(default=[])

    @model_validator(mode="after")
    def _replies_can_be_tagged(self) -> Self:
        address = self.sender.reply_to or self.sender.address
        name, _, host = address.rpartition("@")
        own = host.lower() == self.sender.address.rpartition("@")[2].lower()
        if self.track.replies and (not own or "+" in name or len(name) > MOST_TAGGED):
            raise ValueError(
                "for 'track.replies' an address to reply to that is in the sender's domain and "
                f"has a name of at most {MOST_TAGGED} characters without '+'"
            )
        return self
