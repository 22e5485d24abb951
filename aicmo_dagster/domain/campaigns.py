"""The campaign document: what a user writes, as models, and the checks that span its parts.

Not here: reading YAML (`documents`), the languages of conditions (`conditions`) and templates
(`templates`), versions and storage (`store.campaigns`).
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    model_validator,
)

from aicmo_dagster.domain.conditions import Condition
from aicmo_dagster.domain.documents import Section, require_mapping, validate
from aicmo_dagster.domain.field_types import (
    Address,
    Blackout,
    Bounds,
    CountryCode,
    Cron,
    Days,
    Demanded,
    HolidayCountry,
    Identifier,
    Key,
    ModelName,
    OneLine,
    OurField,
    Phrase,
    SourcePath,
    TheirColumn,
    Weight,
    Zone,
    is_url,
)
from aicmo_dagster.domain.schemas import SENIORITIES
from aicmo_dagster.domain.scoring.points import ASKED, Points
from aicmo_dagster.errors import BadInput, Problem

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MOST_TAGGED = 31
"""Characters of a name that + and a tag of 32 still fit behind (RFC 5321, section 4.5.3.1.1)."""


class Schedule(Section):
    """Cron expressions of the jobs, in one time zone; on the days of `blackout` nothing starts."""

    harvest: Cron | None = None
    nurture: Cron | None = None
    train: Cron | None = None
    report: Cron | None = None
    full_pipeline: Cron | None = None
    timezone: Zone = "UTC"
    enabled: bool = True
    blackout: list[Blackout] = Field(default=[])


class Outcome(Section):
    """How the source says that a lead was won: a column with a value, or one with an instant."""

    column: str | None = None
    won: str | None = None
    at: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.at is None) == (self.column is None) or (self.column is None) != (
            self.won is None
        ):
            raise ValueError("either 'column' with 'won', or 'at'")
        return self


class CsvSource(Section):
    """Leads from CSV files, at a path or at the URL of an object store."""

    type: Literal["csv"]
    path: SourcePath
    columns: dict[OurField, TheirColumn] = Field(min_length=1)
    missing: list[str] = Field(default=[""])
    outcome: Outcome | None = None
    arrived: str | None = None

    @property
    def is_remote(self) -> bool:
        """Whether `path` is a URL, which every machine reads alike."""
        return is_url(self.path)


class ApolloSource(Section):
    """Leads from Apollo's people search."""

    type: Literal["apollo"]
    search: dict[str, Any] = Field(min_length=1)
    max_leads: PositiveInt


Source = Annotated[CsvSource | ApolloSource, Field(discriminator="type")]


class Enrich(Section):
    """Which providers complete a lead, in which order, for how many credits.

    With `companies`, Apollo is also asked about the companies of leads that lack their fields.
    """

    waterfall: list[Literal["apollo", "dropcontact"]] = Field(min_length=1)
    max_credits: PositiveInt
    fresh_days: PositiveInt = 90
    companies: bool = False


class Fit(Section):
    """Whom the campaign is for; what is not stated does not count."""

    titles: list[Phrase] = Field(default=[])
    seniorities: list[Literal[SENIORITIES]] = Field(default=[])  # type: ignore[valid-type]
    industries: list[Phrase] = Field(default=[])
    employees: Bounds | None = None
    countries: list[CountryCode] = Field(default=[])


class Budget(Section):
    """What tells that a company can pay."""

    annual_revenue: Bounds | None = None
    technologies: list[Phrase] = Field(default=[])


class Scoring(Section):
    """How leads are scored, and from which score on they may qualify.

    `won_by` says what counts as won when a model is trained: the source's `outcome`, a `handoff`
    that sales acknowledged, a person's `reply`. `learn_from` names campaigns with the same columns,
    whose leads are learned from too.
    """

    model: ModelName = "auto"
    threshold: float = Field(default=0, ge=0, le=100)
    fit: Fit = Fit()
    budget: Budget = Budget()
    points: Points | None = None
    horizon_days: Annotated[Days, Field(ge=1)] = 90
    known_at_capture: list[str] = Field(default=[])
    ignore: list[str] = Field(default=[])
    won_by: list[Literal["outcome", "handoff", "reply"]] = Field(default=["outcome"], min_length=1)
    learn_from: list[Key] = Field(default=[])

    @model_validator(mode="after")
    def _points_for_what_is_stated(self) -> Self:
        for name in self.points.rules if self.points else ():
            section, key = ASKED.get(name, ("", ""))
            if section and not getattr(getattr(self, section), key):
                raise ValueError(f"'{section}.{key}' too, since 'points' has a rule {name!r}")
        return self


def _leaf_or_branch(value: Any) -> str:
    return "branch" if isinstance(value, dict | Branch) else "leaf"


class Branch(Section):
    """A node of the decision tree."""

    if_: Condition = Field(alias="if")
    then: "Node"
    else_: "Node" = Field(alias="else")


Node = Annotated[
    Annotated[Literal["qualify", "reject"], Tag("leaf")] | Annotated[Branch, Tag("branch")],
    Discriminator(_leaf_or_branch),
]

Branch.model_rebuild()


class Qualification(Section):
    """Rules that must all hold, then an optional tree that has the last word."""

    rules: list[Condition] = Field(default=[])
    tree: Branch | None = None


class Overlap(Section):
    """How campaigns keep out of each other's way, and colleagues out of one conversation."""

    active_elsewhere: Literal["skip", "allow"] = "skip"
    per_company: PositiveInt | None = None
    cooldown_days: Days = 0
    colleague_replied_days: Days = 30


class Route(Section):
    """One sequence that leads may be routed to.

    `capacity` limits the leads in it at once, `per_day` those that are new on a calendar day of the
    campaign. `prefer` counts for the strategy `best_match` alone.
    """

    sequence: str
    when: Condition | None = None
    weight: Weight = 1
    capacity: PositiveInt | None = None
    per_day: PositiveInt | None = None
    prefer: list[Condition] = Field(default=[])


class Routing(Section):
    """Who goes to which sequence."""

    strategy: Literal["weighted_round_robin", "least_loaded", "best_match"] = "weighted_round_robin"
    overlap: Overlap = Overlap()
    sequences: list[Route] = Field(min_length=1, max_length=60)


class Wait(Section):
    """Local calendar days, or elapsed hours, after the step before."""

    days: Days | None = None
    hours: Annotated[int, Field(ge=0, le=24 * 3650)] | None = None
    if_opened: Days | None = None
    if_clicked: Days | None = None

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if (self.days is None) == (self.hours is None):
            raise ValueError("either 'days' or 'hours'")
        return self


class Experiment(Section):
    """How a step's variants are compared, and over how many delivered leads in all."""

    metric: Literal["reply", "click"] = "reply"
    leads: Annotated[int, Field(ge=100, le=10_000_000)]
    within_days: Annotated[Days, Field(ge=1)] = 7
    mode: Literal["planned_looks", "always_valid"] = "planned_looks"


class Variant(Section):
    """One version of a step's message in an A/B test."""

    id: Identifier
    subject: OneLine | None = None
    body: str | None = None
    weight: Weight = 1


class Step(Section):
    """One message of a sequence. Without a subject it continues the thread of the step before."""

    id: Identifier
    subject: OneLine | None = None
    body: str | None = None
    wait: Wait | None = None
    variants: list[Variant] = Field(default=[])
    test: Experiment | None = None

    @model_validator(mode="after")
    def _variants_to_test(self) -> Self:
        if self.test is not None and len(self.variants) < 2:
            raise ValueError("two 'variants' or more, which is what a 'test' compares")
        return self

    def texts(self) -> list[tuple[str | None, str | None, str | None]]:
        """(variant, subject, body) of each version of the message, the step's own standing in."""
        if not self.variants:
            return [(None, self.subject, self.body)]
        return [(v.id, v.subject or self.subject, v.body or self.body) for v in self.variants]


class Sequence(Section):
    """Messages in order."""

    steps: list[Step] = Field(min_length=1)


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


class Goals(Section):
    """What the campaign is to reach."""

    replies: PositiveInt | None = None
    handoffs: PositiveInt | None = None


class Campaign(Section):
    """A whole campaign document."""

    campaign: Key
    name: OneLine
    owner: Address
    goals: Goals = Goals()
    schedule: Schedule = Schedule()
    sources: list[Source]
    enrich: Enrich | None = None
    scoring: Scoring = Scoring()
    qualification: Qualification = Qualification()
    routing: Routing
    sequences: dict[Identifier, Sequence] = Field(min_length=1)
    nurture: Nurture

    @property
    def zone(self) -> ZoneInfo:
        """The campaign's own time zone."""
        return ZoneInfo(self.schedule.timezone)


def read_campaign(document: object, where: str) -> Campaign:
    """`document` as a campaign.

    Raises:
        BadInput: With every problem of its parts and of what spans them.
    """
    mapping = require_mapping(document, where)
    problems = [*_route_problems(mapping, where), *_sequence_problems(mapping, where)]
    try:
        campaign = validate(Campaign, mapping, where)
    except BadInput as error:
        raise BadInput(*error.problems, *problems) from error
    if problems:
        raise BadInput(*problems)
    return campaign


# What one part says of another is looked up in plain values, so that it works on a broken document
# too: there nothing need have the type that it should have.


def _route_problems(document: dict[str, Any], where: str) -> Iterator[Problem]:
    """Every route names a sequence that is defined, each its own."""
    defined = _mapping(document.get("sequences"))
    seen: set[str] = set()
    for position, route in enumerate(_items(_mapping(document.get("routing")).get("sequences"))):
        name = _mapping(route).get("sequence")
        if not isinstance(name, str):
            continue
        path = f"routing.sequences[{position}].sequence"
        if name not in defined:
            known = ", ".join(map(str, defined)) or "none yet"
            expected = f"a sequence that 'sequences' defines: {known}"
            yield Problem(where, path, repr(name), expected)
        if name in seen:
            expected = "each sequence once; join two conditions with 'any'"
            yield Problem(where, path, f"{name!r} again", expected)
        seen.add(name)


def _sequence_problems(document: dict[str, Any], where: str) -> Iterator[Problem]:
    for name, sequence in _mapping(document.get("sequences")).items():
        steps = [_mapping(step) for step in _items(_mapping(sequence).get("steps"))]
        expected = "an id that no other step of the sequence has"
        for position in _repeated(steps):
            path = f"sequences.{name}.steps[{position}].id"
            yield Problem(where, path, repr(steps[position]["id"]), expected)
        for position, step in enumerate(steps):
            path = f"sequences.{name}.steps[{position}]"
            yield from _step_problems(step, path, where, first=position == 0)


def _step_problems(
    step: dict[str, Any], path: str, where: str, *, first: bool
) -> Iterator[Problem]:
    """A step's variants have distinct ids; every message has a body, of the first a subject."""
    variants = [_mapping(variant) for variant in _items(step.get("variants"))]
    for position in _repeated(variants):
        expected = "an id that no other variant of the step has"
        at = f"{path}.variants[{position}].id"
        yield Problem(where, at, repr(variants[position]["id"]), expected)
    places = {f"{path}.variants[{i}]": part for i, part in enumerate(variants)} or {path: step}
    for place, part in places.items():
        if not (part.get("body") or step.get("body")):
            yield Problem(where, place, "no body", "a 'body': text, or a .j2 file")
        if first and not (part.get("subject") or step.get("subject")):
            yield Problem(where, place, "no subject", "a 'subject', which the first step needs")


def _repeated(parts: list[dict[str, Any]]) -> list[int]:
    """The positions of those whose id stands before them already."""
    ids = [part.get("id") for part in parts]
    return [i for i, name in enumerate(ids) if isinstance(name, str) and name in ids[:i]]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
