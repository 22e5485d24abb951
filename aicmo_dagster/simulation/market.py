"""The market: invented companies and people, the same for a seed, with the dirt of real lists.

A part of it is whom the campaign is for; the rest is anybody. Not here: what people do when they
get a letter (`behaviour`).
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.sections.scoring import Fit
from aicmo_dagster.domain.sections.sources import Enrich
from aicmo_dagster.simulation.behaviour import chance

FIELDS = (
    *("email", "first_name", "last_name", "title", "company", "domain", "industry", "employees"),
    *("annual_revenue", "technologies", "country", "city", "linkedin_url", "visits"),
)
"""The columns of a market's list; those that conditions name as `custom.` come after them."""

ADDRESS_FOUND = {"apollo": 0.6, "dropcontact": 0.45}
"""How often a provider finds an address: assumed, about what vendors of waterfalls publish."""

NOISE = 0.4
"""What of a latent fit no field of a lead tells; a perfect score would explain the rest."""

_NAMES = (
    *(("Ingrid", "Solberg"), ("Søren", "Ångström"), ("Zoë", "D'Angelo"), ("Tomás", "Ó Briain")),
    *(("Ifeoma", "Adeyemi-Strand"), ("明霞", "欧阳"), ("さくら", "田中"), ("Олена", "Шевченко")),
    *(("نور", "الحسن"), ("Νίκος", "Παπαδόπουλος"), ("अर्जुन", "शर्मा"), ("Bo", "de la Cruz")),
    *(("Maëlle", "Lefèvre"), ("Björn", "Þórsson"), ("Łukasz", "Wójcik"), ("Jana", "Nováková")),
)
_TITLES = (
    *("Owner", "CTO", "Head of Data", "Procurement Lead", "VP Sales", "Account Executive"),
    *("Office Manager", "Software Engineer", "Director of Finance", "Marketing Intern"),
)
_RANKS = ("Head of", "VP", "Director of", "Chief Officer,", "Manager of")
_INDUSTRIES = ("software", "shipping", "retail", "construction", "health care", "energy")
_PLACES = (("NO", "Bergen"), ("SE", "Malmö"), ("DE", "Köln"), ("US", "Austin"), ("JP", "大阪"))
_TOOLS = ("hubspot", "salesforce", "excel", "sap", "pipedrive")


@dataclass(frozen=True)
class Dirt:
    """What is wrong with lists.

    Args:
        broken: Of rows, those whose address is none.
        absent: Of rows, those without one.
        repeated: Of rows, those that come twice, spelled otherwise.
        on_target: Of companies, those whom the campaign is for.
    """

    broken: float = 0.02
    absent: float = 0.05
    repeated: float = 0.04
    on_target: float = 0.5


DIRT = Dirt()


@dataclass
class Market:
    """People for one campaign.

    Args:
        campaign: Whom they are for.
        size: Rows of the list, those that come twice not counted.
        seed: Of all chance.
        dirt: What is wrong with the list.
        unlisted: Whether addresses are unknown before a provider is asked, as Apollo's are.
        credits: What each provider was paid, a credit for each address it found.
    """

    campaign: Campaign
    size: int
    seed: int
    dirt: Dirt = DIRT
    unlisted: bool = False
    credits: Counter[str] = field(default_factory=Counter)

    def write(self, path: Path) -> None:
        """The list as a CSV file; what a provider's address costs is counted."""
        custom = custom_values(self.campaign)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*FIELDS, *custom])
            for number in range(self.size):
                drawn = chance(self.seed, "person", number)
                row = self._person(number, drawn)
                given = [_custom(values, drawn) for values in custom.values()]
                writer.writerow([*(row[name] for name in FIELDS), *given])
                if drawn.random() < self.dirt.repeated:
                    again = {**row, "email": str(row["email"]).upper(), "city": ""}
                    writer.writerow([*(again[name] for name in FIELDS), *given])

    def _person(self, number: int, drawn: Random) -> dict[str, object]:
        firm = drawn.randrange(max(self.size * 2 // 3, 1))
        first, last = drawn.choice(_NAMES)
        domain = f"firm-{firm}.example"
        name = f"{last} {chr(65 + number % 26)}"
        theirs = chance(self.seed, "firm", firm)
        target = theirs.random() < self.dirt.on_target
        return {
            **self._company(firm, theirs, target=target),
            "email": self._address(f"p{number}@{domain}", drawn),
            "first_name": drawn.choice((first, f"{first} ", first.upper())),
            "last_name": name,
            "title": _title(self.campaign.scoring.fit, drawn) if target else drawn.choice(_TITLES),
            "domain": domain,
            "linkedin_url": f"https://www.linkedin.com/in/p{number}-example",
            "visits": drawn.choice(("", "", "0", "1", "3", "8")),
        }

    def _company(self, firm: int, drawn: Random, *, target: bool) -> dict[str, object]:
        fit = self.campaign.scoring.fit
        country, city = drawn.choice(_PLACES)
        low, high = fit.employees or (None, None)
        size = drawn.randint(int(low or 1), int(high or 5000)) if target else drawn.randint(1, 9000)
        industries = fit.industries if target and fit.industries else _INDUSTRIES
        if target and fit.countries:
            country, city = drawn.choice(fit.countries), ""
        return {
            "company": f"{drawn.choice(('Nordvik', 'Ærø', '山川', 'Müller', 'Acme'))} {firm}",
            "industry": drawn.choice(industries),
            "employees": drawn.choice((f"{size}", f"{size:,}", "")),
            "annual_revenue": drawn.choice((str(size * 120_000), "")),
            "technologies": ", ".join(drawn.sample(_TOOLS, 2)),
            "country": country,
            "city": city,
        }

    def _address(self, address: str, drawn: Random) -> str:
        luck = drawn.random()
        if self.unlisted or luck < self.dirt.absent:
            return self._found(address, drawn)
        if luck < self.dirt.absent + self.dirt.broken:
            return drawn.choice(("n/a", "unknown@", "see card"))
        return drawn.choice((address, address, f" {address}", address.title()))

    def _found(self, address: str, drawn: Random) -> str:
        """What the waterfall finds, as long as it may spend."""
        enrich = self.campaign.enrich
        for provider in enrich.waterfall if enrich else ():
            if self._may_spend(enrich) and drawn.random() < ADDRESS_FOUND[provider]:
                self.credits[provider] += 1
                return address
        return ""

    def _may_spend(self, enrich: Enrich | None) -> bool:
        return enrich is not None and self.credits.total() < enrich.max_credits


def latent_fits(leads: pd.DataFrame, fit: Fit, seed: int) -> dict[str, float]:
    """Address to latent fit, 0 to 1: how far the lead is whom the campaign is for, and chance.

    Args:
        leads: A `RawLeads` frame.
        fit: Whom the campaign is for; where it says nothing, all is chance.
        seed: Of all chance.
    """
    share = _share_met(leads, fit)
    found = {}
    for address, met in zip(leads["email"], share, strict=True):
        if isinstance(address, str):
            luck = chance(seed, "fit", address).random()
            found[address] = (1 - NOISE) * met + NOISE * luck if met == met else luck
    return found


def custom_values(campaign: Campaign) -> dict[str, list[str]]:
    """Custom column to the values that conditions of the document compare it with."""
    found: dict[str, list[str]] = {}
    for named, value in _compared(campaign.model_dump(mode="json", by_alias=True)):
        if named.startswith("custom."):
            values = value if isinstance(value, list) else [value]
            told = [str(each) for each in values if each is not None]
            found.setdefault(named.removeprefix("custom."), []).extend(told)
    return found


def _compared(part: Any) -> Iterator[tuple[str, Any]]:
    """(field, value) of every comparison within `part`."""
    if isinstance(part, Mapping):
        if isinstance(part.get("field"), str):
            yield part["field"], part.get("value")
        for value in part.values():
            yield from _compared(value)
    elif isinstance(part, list):
        for value in part:
            yield from _compared(value)


def _custom(values: list[str], drawn: Random) -> str:
    return drawn.choice(values) if values and drawn.random() < 0.1 else ""


def _title(fit: Fit, drawn: Random) -> str:
    if not fit.titles:
        return drawn.choice(_TITLES)
    return f"{drawn.choice(_RANKS)} {drawn.choice(fit.titles)}"


def _share_met(leads: pd.DataFrame, fit: Fit) -> pd.Series:
    """Of what `fit` states, the share that each lead meets; NaN where it states nothing."""
    parts = [
        leads["title"].fillna("").map(_contains(fit.titles)) if fit.titles else None,
        leads["seniority"].isin(fit.seniorities) if fit.seniorities else None,
        leads["industry"].fillna("").map(_contains(fit.industries)) if fit.industries else None,
        leads["country"].isin(fit.countries) if fit.countries else None,
        _within(leads["employees"], fit.employees) if fit.employees else None,
    ]
    stated = [part.astype("float64") for part in parts if part is not None]
    if not stated:
        return pd.Series(float("nan"), index=leads.index)
    return sum(stated[1:], stated[0]) / len(stated)


def _contains(phrases: list[str]) -> Callable[[str], bool]:
    lowered = [phrase.lower() for phrase in phrases]
    return lambda text: any(phrase in text.lower() for phrase in lowered)


def _within(values: pd.Series, bounds: list[float | None]) -> pd.Series:
    low, high = bounds
    known = values.astype("float64")
    return (known >= (low or 0)) & (known <= (high if high is not None else float("inf")))
