"""The campaign document: what a user writes, as models, and the checks that span its parts.

Not here: reading YAML (`documents`), the language of conditions (`conditions`), templates (`templates`),
versions and storage (`store.campaigns`).
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

import pycountry
from cronsim import CronSim, CronSimError
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveInt, model_validator

from aicmo_dagster.domain.conditions import Condition
from aicmo_dagster.domain.documents import Section, validate
from aicmo_dagster.domain.schemas import SENIORITIES, dtypes
from aicmo_dagster.errors import BadInput, Problem

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FURNISHED = frozenset(
    {"lead_id", "domain", "source", "custom", "won", "won_at", "first_seen_at", "last_seen_at"}
)
"""Columns of `raw_leads` that intake furnishes; `domain` may be mapped all the same."""


def _cron(expression: str) -> str:
    """A five-field cron expression that fires at some instant."""
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        raise ValueError("a five-field cron expression that fires at some instant") from error
    return expression


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("an IANA time zone, such as Europe/Oslo")
    return name


def _address(text: str) -> str:
    try:
        return validate_email(text, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise ValueError("an e-mail address") from error


def _country(code: str) -> str:
    if pycountry.countries.get(alpha_2=code) is None:
        raise ValueError("an ISO 3166-1 alpha-2 country code in capitals, such as NO")
    return code


def _one_line(text: str) -> str:
    if any(mark in text for mark in "\r\n"):
        raise ValueError("one line, since it becomes a mail header")
    return text


Cron = Annotated[str, AfterValidator(_cron)]
Zone = Annotated[str, AfterValidator(_zone)]
Address = Annotated[str, AfterValidator(_address)]
CountryCode = Annotated[str, AfterValidator(_country)]
OneLine = Annotated[str, AfterValidator(_one_line), Field(min_length=1)]
Key = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$")]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")]
Bounds = Annotated[list[NonNegativeFloat | None], Field(min_length=2, max_length=2)]


class Schedule(Section):
    """Cron expressions of the stages and jobs, in one time zone."""

    harvest: Cron | None = None
    nurture: Cron | None = None
    train: Cron | None = None
    report: Cron | None = None
    full_pipeline: Cron | None = None
    timezone: Zone = "UTC"


class Outcome(Section):
    """How the source says that a lead was won: a column with a value, or a column with an instant."""

    column: str | None = None
    won: str | None = None
    at: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.at is None) == (self.column is None) or (self.column is None) != (self.won is None):
            raise ValueError("either 'column' with 'won', or 'at'")
        return self


class CsvSource(Section):
    """Leads from CSV files."""

    type: Literal["csv"]
    path: str = Field(min_length=1)
    columns: dict[str, str] = Field(min_length=1)
    missing: list[str] = Field(default=[""])
    outcome: Outcome | None = None
    arrived: str | None = None

    @model_validator(mode="after")
    def _maps_our_fields(self) -> Self:
        allowed = [name for name in dtypes("raw_leads") if name not in FURNISHED - {"domain"}]
        unknown = [name for name in self.columns if name not in allowed]
        if unknown:
            raise ValueError(
                f"our fields on the left of 'columns', not {', '.join(unknown)}; "
                f"ours are {', '.join(allowed)}"
            )
        return self


class ApolloSource(Section):
    """Leads from Apollo's people search."""

    type: Literal["apollo"]
    search: dict[str, Any] = Field(min_length=1)
    max_leads: PositiveInt


Source = Annotated[CsvSource | ApolloSource, Field(discriminator="type")]


class Enrich(Section):
    """Which providers complete a lead, in which order, for how many credits."""

    waterfall: list[Literal["apollo", "dropcontact"]] = Field(min_length=1)
    max_credits: PositiveInt


class Fit(Section):
    """Whom the campaign is for; what is not stated does not count."""

    titles: list[str] = []
    seniorities: list[Literal[SENIORITIES]] = []  # type: ignore[valid-type]
    industries: list[str] = []
    employees: Bounds | None = None
    countries: list[CountryCode] = []


class Budget(Section):
    """What tells that a company can pay."""

    annual_revenue: Bounds | None = None
    technologies: list[str] = []


class Scoring(Section):
    """How leads are scored, and from which score on they may qualify."""

    model: str = "auto"
    threshold: float = Field(default=0, ge=0, le=100)
    fit: Fit = Fit()
    budget: Budget = Budget()
    horizon_days: PositiveInt = 90
    known_at_capture: list[str] = []
    ignore: list[str] = []


class Branch(Section):
    """A node of the decision tree."""

    if_: Condition = Field(alias="if")
    then: "Literal['qualify', 'reject'] | Branch"
    else_: "Literal['qualify', 'reject'] | Branch" = Field(alias="else")


class Qualification(Section):
    """Rules that must all hold, then an optional tree that has the last word."""

    rules: list[Condition] = []
    tree: Branch | None = None


class Overlap(Section):
    """How campaigns keep out of each other's way."""

    active_elsewhere: Literal["skip", "allow"] = "skip"
    per_company: PositiveInt | None = None
    cooldown_days: int = Field(default=0, ge=0)


class Route(Section):
    """One sequence that leads may be routed to."""

    sequence: str
    when: Condition | None = None
    weight: PositiveInt = 1
    capacity: PositiveInt | None = None


class Routing(Section):
    """Who goes to which sequence."""

    strategy: Literal["weighted_round_robin", "least_loaded", "best_match"] = "weighted_round_robin"
    overlap: Overlap = Overlap()
    sequences: list[Route] = Field(min_length=1)


class Wait(Section):
    """Local calendar days, or elapsed hours, after the step before."""

    days: int | None = Field(default=None, ge=0)
    hours: int | None = Field(default=None, ge=0)
    if_opened: int | None = Field(default=None, ge=0)
    if_clicked: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if (self.days is None) == (self.hours is None):
            raise ValueError("either 'days' or 'hours'")
        return self


class Variant(Section):
    """One version of a step's message in an A/B test."""

    id: Identifier
    subject: OneLine | None = None
    body: str | None = None
    weight: PositiveInt = 1


class Step(Section):
    """One message of a sequence. Without a subject it continues the thread of the step before."""

    id: Identifier
    subject: OneLine | None = None
    body: str | None = None
    wait: Wait | None = None
    variants: list[Variant] = []

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
    postal_address: str = Field(min_length=1)


class Window(Section):
    """When mail may go out: weekdays and wall-clock hours in the lead's zone or the campaign's."""

    days: list[Literal[WEEKDAYS]] = Field(default=list(WEEKDAYS[:5]), min_length=1)  # type: ignore[valid-type]
    hours: str = Field(default="09:00-17:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$")
    timezone: Literal["lead", "campaign"] = "lead"

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> Self:
        opens, closes = self.hours.split("-")
        if opens >= closes:
            raise ValueError("hours that open before they close")
        return self


class Ramp(Section):
    """Mails on a sender's first day, and how many more each following day."""

    start: PositiveInt
    step: int = Field(ge=0)


class Caps(Section):
    """Limits on sending; one that is not given does not apply."""

    per_sender_per_day: PositiveInt | None = None
    per_domain_per_hour: PositiveInt | None = None
    ramp: Ramp | None = None


class Interest(Section):
    """What counts as real interest."""

    replied: bool | None = None
    clicks: PositiveInt | None = None


class Graduate(Section):
    """When a lead is handed to sales, and where to."""

    when: Interest
    to: Literal["webhook", "hubspot", "csv"]
    url: str | None = None


class Escalate(Section):
    """Who hears of a handoff that nobody took up."""

    after_days_without_owner_action: PositiveInt
    to: Address


class Nurture(Section):
    """How mail is sent."""

    sender: Sender
    window: Window = Window()
    caps: Caps = Caps()
    graduate: Graduate | None = None
    escalate: Escalate | None = None


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
    sources: list[Source] = Field(min_length=1)
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


def read_campaign(document: dict[str, Any], where: str) -> Campaign:
    """`document` as a campaign.

    Raises:
        BadInput: With every problem of its parts and of what spans them.
    """
    problems = list(_spanning_problems(document, where))
    try:
        campaign = validate(Campaign, document, where)
    except BadInput as error:
        raise BadInput(*error.problems, *problems) from error
    if problems:
        raise BadInput(*problems)
    return campaign


def _spanning_problems(document: dict[str, Any], where: str) -> list[Problem]:
    """What one part says of another. Looks at plain values, so that it works on a broken document too."""
    sequences = _mapping(document.get("sequences"))
    routes = _items(_mapping(document.get("routing")).get("sequences"))
    problems = []
    for position, route in enumerate(routes):
        name = _mapping(route).get("sequence")
        if isinstance(name, str) and name not in sequences:
            path = f"routing.sequences[{position}].sequence"
            defined = ", ".join(map(str, sequences)) or "none yet"
            problems.append(
                Problem(where, path, repr(name), f"a sequence that 'sequences' defines: {defined}")
            )
    for name, sequence in sequences.items():
        problems += _step_problems(name, _items(_mapping(sequence).get("steps")), where)
    return problems


def _step_problems(sequence: str, steps: list[Any], where: str) -> list[Problem]:
    """Steps have distinct ids and distinct variants; every message has a body; the first a subject."""
    problems: list[Problem] = []
    seen: set[object] = set()
    for position, step in enumerate(map(_mapping, steps)):
        path = f"sequences.{sequence}.steps[{position}]"
        if step.get("id") in seen:
            expected = "an id that no other step of the sequence has"
            problems.append(Problem(where, f"{path}.id", repr(step.get("id")), expected))
        seen.add(step.get("id"))
        variants = [_mapping(variant) for variant in _items(step.get("variants"))]
        ids = [variant.get("id") for variant in variants]
        if len(ids) != len(set(map(str, ids))):
            expected = "variants with distinct ids"
            problems.append(Problem(where, f"{path}.variants", "an id given twice", expected))
        for part, key in ((variant, "variants") for variant in variants or [step]):
            if not (part.get("body") or step.get("body")):
                at = f"{path}.{key}" if variants else path
                problems.append(Problem(where, at, "no body", "a 'body': text, or a .j2 file"))
            if position == 0 and not (part.get("subject") or step.get("subject")):
                expected = "a 'subject', which the first step needs"
                problems.append(Problem(where, path, "no subject", expected))
    return problems


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
