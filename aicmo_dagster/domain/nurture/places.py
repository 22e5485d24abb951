"""Where a lead is, as far as time is concerned: its IANA zone, and the days nobody works there.

A zone that is told counts first. Else the country's, where it has but one; else the zone of the
country that is named after the lead's city; else the campaign's own. Not here: windows (`timing`).
"""

import unicodedata
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
import pytz

from aicmo_dagster.domain.campaigns import Campaign


@dataclass(frozen=True)
class Place:
    """What a window needs to know of a lead.

    Args:
        zone: The IANA zone its clock shows.
        calendar: The country whose public holidays are closed; None where none are.
    """

    zone: ZoneInfo
    calendar: str | None = None


def place_of(
    campaign: Campaign, timezone: object, country: object = None, city: object = None
) -> Place:
    """The place that a lead's window is in; what is no text, such as NA, counts as unknown."""
    told = [value if isinstance(value, str) else None for value in (timezone, country, city)]
    window = campaign.nurture.window
    own = known_zone(*told) if window.timezone == "lead" else None
    calendar = told[1] if window.holidays == "lead" else window.holidays
    return Place(ZoneInfo(own) if own else campaign.zone, calendar)


@lru_cache(maxsize=65_536)
def known_zone(timezone: str | None, country: str | None, city: str | None) -> str | None:
    """The name of the zone that is certain from what is told; None where it is not."""
    if timezone is not None and _exists(timezone):
        return timezone
    zones = pytz.country_timezones.get(country, []) if country else []
    if len(zones) == 1:
        return zones[0]
    wanted = _spelled(city) if city else None
    named = [zone for zone in zones if _spelled(zone.rpartition("/")[2]) == wanted]
    return named[0] if len(named) == 1 else None


def is_holiday(calendar: str | None, day: date) -> bool:
    """Whether `day` is a public holiday all over the country; never where none are known."""
    return calendar is not None and day in _holidays(calendar)


@cache
def has_calendar(country: str) -> bool:
    """Whether the public holidays of a country are known."""
    return country in holidays.list_supported_countries(include_aliases=False)


@cache
def _holidays(country: str) -> holidays.HolidayBase | frozenset[date]:
    return holidays.country_holidays(country) if has_calendar(country) else frozenset()


@cache
def _exists(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    return True


def _spelled(name: str) -> str:
    """`name` as zones spell cities: without accents, in one case, its words joined by '_'."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "_".join(plain.casefold().replace("-", " ").replace("_", " ").split())
