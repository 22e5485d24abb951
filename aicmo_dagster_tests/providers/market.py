"""The people whom the stand-in's providers know: invented, the same for the same seed.

The first of them are the awkward ones, by fixed ids; each other is drawn.
"""

import random
from dataclasses import dataclass

LOCKED_EMAIL = "email_not_unlocked@domain.com"
FIRST_NAMES = ("Zoë", "Tomás", "Ifeoma", "明霞", "Søren", "Maëlle", "Nour", "Ines", "نور", "Bjørk")
LAST_NAMES = (
    *("Lindqvist", "Ó Briain", "Adeyemi-Strand", "欧阳"),
    *("Ångström-Nuñez", "D\u2019Angelo", "חן"),
)
TITLES = ("VP Revenue Operations", "Owner", "Head of Data 🚀", "Procurement Lead", "CTO")
APOLLO = ("verified", "verified", "verified", "extrapolated", "unavailable")
DROPCONTACT = ("nominative@pro", "nominative@pro", "catch-all@pro", "", "")


def person_id(number: int) -> str:
    """Apollo's id of that person of the market."""
    return f"66f0c1a2b3d4e5f6{number:08x}"


LOCKED, NO_COMPANY, HUGE, NFD, SYNTHETIC, GUESSED, TWIN = map(person_id, range(7))
"""Locked address, no organisation nor title, 400 former jobs, a name in NFD, a match that Apollo
makes up, an extrapolated address, and the id under which person 7 is known a second time."""

SPECIALS = 7


@dataclass(frozen=True)
class Person:
    """Somebody.

    Args:
        id: Apollo's.
        email: The true address.
        apollo: What Apollo says of it; `unavailable` if it does not have it.
        dropcontact: What Dropcontact says of it; empty if it does not have it.
    """

    id: str
    first_name: str
    last_name: str
    title: str | None
    company: str
    domain: str
    email: str
    linkedin: str
    apollo: str
    dropcontact: str


def market(size: int, seed: int = 7) -> list[Person]:
    """`size` people, no two of whom share anything that identifies them."""
    chance = random.Random(seed)
    people = [_person(number, chance) for number in range(size)]
    return [_special(person) for person in people]


def _person(number: int, chance: random.Random) -> Person:
    slug = f"p{number}"
    company, domain = f"Werft {number} AS", f"werft-{number}.example"
    return Person(
        id=person_id(number),
        first_name=chance.choice(FIRST_NAMES),
        last_name=f"{chance.choice(LAST_NAMES)} {chr(ord('A') + number % 26)}",
        title=chance.choice(TITLES),
        company=company,
        domain=domain,
        email=f"{slug}@{domain}",
        linkedin=f"http://www.linkedin.com/in/{slug}-example",
        apollo=chance.choice(APOLLO),
        dropcontact=chance.choice(DROPCONTACT),
    )


def _special(person: Person) -> Person:
    changes: dict[str, dict[str, str | None]] = {
        LOCKED: {"apollo": "verified"},
        NO_COMPANY: {"title": None},
        HUGE: {"apollo": "verified"},
        NFD: {"first_name": "Zoe\u0308", "last_name": "O\u200b\u2019Brien"},
        GUESSED: {"apollo": "extrapolated"},
    }
    return Person(**{**vars(person), **changes.get(person.id, {})})
