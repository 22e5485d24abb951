"""What single fields of the campaign document hold: types that say what was expected instead.

Not here: the sections they stand in (`campaigns`).
"""

import re
from datetime import UTC, date, datetime
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

import pycountry
from cronsim import CronSim, CronSimError
from email_validator import EmailNotValidError, validate_email
from holidays import list_supported_countries
from pydantic import AfterValidator, Field, NonNegativeFloat

from aicmo_dagster.domain.documents import nearest
from aicmo_dagster.domain.schemas import dtypes
from aicmo_dagster.domain.templates import row_template

FURNISHED = frozenset(
    {
        *("lead_id", "address_kind", "domain", "source", "sources", "origins", "custom"),
        *("won", "won_at", "first_seen_at", "last_seen_at"),
    }
)
"""Columns of `raw_leads` that intake furnishes; `domain` may be mapped all the same."""


def _cron(expression: str) -> str:
    """A five-field cron expression that fires at some instant."""
    expected = "a five-field cron expression that fires at some instant"
    if len(expression.split()) != 5:
        raise ValueError(expected)
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        raise ValueError(expected) from error
    return expression


@cache
def _zones() -> frozenset[str]:
    # A walk over the folders of the time zone database, 0.1 s.
    return frozenset(available_timezones() - {"localtime", "Factory"})


def _blackout(text: str) -> str:
    """A day, or an ISO 8601 interval of days."""
    first, _, last = text.partition("/")
    try:
        in_order = date.fromisoformat(first) <= date.fromisoformat(last or first)
    except ValueError:
        in_order = False
    if not in_order:
        raise ValueError("a day such as 2026-12-24, or days such as 2026-12-24/2027-01-01")
    return text


def _zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("an IANA time zone, such as Europe/Oslo")
    return name


def _address(text: str) -> str:
    try:
        found = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError("an e-mail address") from error
    # Message ids carry the domain, and headers are ASCII.
    return f"{found.local_part}@{found.ascii_domain}"


def _country(code: str) -> str:
    if pycountry.countries.get(alpha_2=code) is None:
        raise ValueError("an ISO 3166-1 alpha-2 country code in capitals, such as NO")
    return code


def _holiday_country(code: str) -> str:
    if code not in list_supported_countries(include_aliases=False):
        raise ValueError("a country whose public holidays are known, such as NO")
    return code


def _one_line(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("one line of printable text, since it becomes a mail header")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("some text, since the law demands it in each message")
    return text


def _rising(bounds: list[float | None]) -> list[float | None]:
    lower, upper = bounds
    if lower is not None and upper is not None and lower > upper:
        raise ValueError("the lower bound first")
    return bounds


def _model_name(name: str) -> str:
    if name not in ("auto", "scorecard") and not re.fullmatch(r"[0-9a-f]{4,64}", name):
        raise ValueError("'auto', 'scorecard' or a version that 'aicmo model list' shows")
    return name


def _our_field(name: str) -> str:
    allowed = [field for field in dtypes("raw_leads") if field not in FURNISHED - {"domain"}]
    if name not in allowed:
        raise ValueError(nearest(name, allowed))
    return name


def is_url(path: str) -> bool:
    """Whether `path` is a URL, and no file of this machine."""
    return "://" in path


def _source_path(path: str) -> str:
    authorities = [link.partition("://")[2].partition("/")[0] for link in path.split("::")]
    if any("@" in authority for authority in authorities):
        raise ValueError("a URL without user or password, which belong into the environment")
    return path


def _their_column(text: str) -> str:
    if "{{" in text:
        row_template(text)
    return text


Cron = Annotated[str, AfterValidator(_cron)]
Zone = Annotated[str, AfterValidator(_zone)]
Blackout = Annotated[str, AfterValidator(_blackout)]
Address = Annotated[str, AfterValidator(_address)]
CountryCode = Annotated[str, AfterValidator(_country)]
HolidayCountry = Annotated[str, AfterValidator(_holiday_country)]
OneLine = Annotated[str, AfterValidator(_one_line), Field(min_length=1)]
Key = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$")]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")]
Demanded = Annotated[str, AfterValidator(_not_blank)]
Phrase = Annotated[str, Field(min_length=1)]
Bounds = Annotated[
    list[NonNegativeFloat | None], Field(min_length=2, max_length=2), AfterValidator(_rising)
]
ModelName = Annotated[str, AfterValidator(_model_name)]
OurField = Annotated[str, AfterValidator(_our_field)]
SourcePath = Annotated[str, AfterValidator(_source_path), Field(min_length=1)]
TheirColumn = Annotated[str, AfterValidator(_their_column), Field(min_length=1)]
Weight = Annotated[int, Field(ge=1, le=1000)]
Days = Annotated[int, Field(ge=0, le=3650)]
