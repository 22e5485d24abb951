"""What recipients do with a message, drawn from rates that anyone may change.

Everything is drawn from the seed and the names of things, so that the same letter always meets the
same answer, in whatever order it is asked for, and after a crash too. Not here: who the recipients
are (`market`), or the messages that come back (`answers`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from math import exp, log
from random import Random
from types import MappingProxyType
from typing import Literal

from aicmo_dagster.errors import BadInput, Problem

Kind = Literal[
    "open", "click", "reply", "objection", "out_of_office", "bounce", "complaint", "unsubscribe"
]

PERSON, PROXY = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0", "Mozilla/5.0"
"""What a browser calls itself, and an image proxy."""


@dataclass(frozen=True)
class Behaviour:
    """Rates and pace of recipients; rates are probabilities from 0 to 1, each a message's.

    Args:
        opens: A person opens it.
        clicks: A person clicks one of its links.
        replies: A person answers.
        stops: Of answers, those that ask to be left alone.
        away: An automatic answer says that somebody is away.
        unsubscribes: A person uses the unsubscribe link.
        complains: A person calls it spam.
        dead: Of addresses, those that nobody has.
        told_at_once: Of dead addresses, those that the server refuses; the others bounce later.
        greylists: Of addresses, those whose server puts the first attempt off.
        proxies: Of people, those whose pictures are fetched by a proxy, whether they look or not.
        scanners: Of recipient domains, those whose gateway follows every link.
        later: What a follow-up has of the rates of the message before it.
        pull: How much a latent fit matters: somebody of the best fit does e**pull times as often
            what somebody of the worst does.
        hours_to_answer: The median from arrival to an open, click or answer.
    """

    opens: float = 0.35
    clicks: float = 0.03
    replies: float = 0.034
    stops: float = 0.1
    away: float = 0.04
    unsubscribes: float = 0.004
    complains: float = 0.0005
    dead: float = 0.033
    told_at_once: float = 0.6
    greylists: float = 0.02
    proxies: float = 0.4
    scanners: float = 0.25
    later: float = 0.8
    pull: float = 2.0
    hours_to_answer: float = 4.0

    def __post_init__(self) -> None:
        """Probabilities lie between 0 and 1, the other figures are not negative."""
        for each in fields(self):
            value, bound = getattr(self, each.name), _bound(each.name)
            if not 0 <= value <= bound:
                expected = "a number from 0 to 1" if bound == 1 else "a number from 0 on"
                raise BadInput(Problem("behaviour", each.name, repr(value), expected))


SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "opens": "27 to 48 % in cold-mail reports of 2026, proxies included (saleshandy.com)",
        "clicks": "3 % is the rate that the test statistics of AICMO were measured at",
        "replies": "3.43 % on average over 700,000 senders (Instantly, 2026)",
        "stops": "assumed; no published figure was found",
        "away": "assumed; no published figure was found",
        "unsubscribes": "0.38 % in cold-mail reports of 2026 (saleshandy.com)",
        "complains": "half of the 0.1 % that Google asks bulk senders to stay under",
        "dead": "3.3 % in cold-mail reports of 2026 (saleshandy.com)",
        "told_at_once": "assumed; no published figure was found",
        "greylists": "assumed; no published figure was found",
        "proxies": "assumed; Apple's and Google's proxies fetch a large part of pictures",
        "scanners": "assumed; shares of machine clicks from 5 to 75 % are published",
        "later": "assumed: a first follow-up is reported to add 49 to 66 % of the first's replies",
        "pull": "assumed: replies of the best campaigns are thrice the average",
        "hours_to_answer": "assumed; most answers come within a day",
    }
)
"""Where each default is from."""

_SCAN_SECONDS = 43.0
"""The median from hand-over to a scanner's burst (craft-campaign issue 546, 836 clusters)."""

_FACTORS = ("pull", "hours_to_answer")


@dataclass(frozen=True)
class Letter:
    """A message that arrived, and what of ours it carries.

    Args:
        message_id: With angle brackets.
        recipient: The address it went to.
        sender: The address it is from.
        arrived_at: When it was handed over.
        number: How many the recipient had before from this sender.
        pixel: The token of its picture; empty if it has none.
        links: The tokens of its links.
        unsubscribe: The token of its unsubscribe link.
    """

    message_id: str
    recipient: str
    sender: str
    arrived_at: datetime
    number: int
    pixel: str
    links: tuple[str, ...]
    unsubscribe: str


@dataclass(frozen=True)
class Reaction:
    """Something that a recipient, or a machine of theirs, does.

    Args:
        at: When.
        kind: What.
        key: What makes it this one and no other.
        letter: About which message.
        token: Of the link or picture, where there is one.
        agent: What the client calls itself.
        client: The client's address.
        returns_on: Of an absence: the first instant back.
    """

    at: datetime
    kind: Kind
    key: str
    letter: Letter
    token: str = ""
    agent: str = PERSON
    client: str = "203.0.113.7"
    returns_on: datetime | None = None


def chance(seed: int, *names: object) -> Random:
    """Chance that is the same whenever it is asked for under the same names."""
    return Random("\x1f".join(map(str, (seed, *names))))


def is_dead(behaviour: Behaviour, seed: int, address: str) -> bool:
    """Whether nobody has the address."""
    return chance(seed, "dead", address).random() < behaviour.dead


def refuses_at_once(behaviour: Behaviour, seed: int, address: str) -> bool:
    """Whether the server of a dead address refuses it, and does not bounce later."""
    return chance(seed, "at once", address).random() < behaviour.told_at_once


def greylists(behaviour: Behaviour, seed: int, address: str) -> bool:
    """Whether the server of the address puts a first attempt off."""
    return chance(seed, "greylisted", address).random() < behaviour.greylists


def lift(behaviour: Behaviour, fit: float) -> float:
    """What a latent fit from 0 to 1 does to what people do; 1 on average over a uniform fit."""
    if not behaviour.pull:
        return 1.0
    return exp(behaviour.pull * fit) * behaviour.pull / (exp(behaviour.pull) - 1)


def reactions(behaviour: Behaviour, seed: int, letter: Letter, fit: float) -> list[Reaction]:
    """Everything that is ever done about `letter`, by somebody whose latent fit is `fit`."""
    drawn = _Drawn(behaviour, letter, chance(seed, letter.message_id))
    if is_dead(behaviour, seed, letter.recipient):
        return [drawn.reaction("bounce", minutes=drawn.random.uniform(1, 240))]
    domain = letter.recipient.rpartition("@")[2]
    found = []
    if chance(seed, "scanner", domain).random() < behaviour.scanners:
        found += drawn.scan()
    if chance(seed, "proxy", letter.recipient).random() < behaviour.proxies:
        found += drawn.proxied()
    return found + drawn.person(lift(behaviour, fit) * behaviour.later**letter.number)


def with_rates(behaviour: Behaviour, rates: Mapping[str, float]) -> Behaviour:
    """`behaviour` with some of its figures replaced.

    Raises:
        BadInput: If there is no such figure, or it is out of its range.
    """
    known = [each.name for each in fields(Behaviour)]
    for name in rates:
        if name not in known:
            raise BadInput(Problem("behaviour", name, "", f"one of: {', '.join(known)}"))
    return replace(behaviour, **rates)


def _bound(name: str) -> float:
    return float("inf") if name in _FACTORS else 1.0


@dataclass
class _Drawn:
    """What one letter meets, drawn in a fixed order."""

    behaviour: Behaviour
    letter: Letter
    random: Random

    def reaction(self, kind: Kind, minutes: float, token: str = "", **more: object) -> Reaction:
        at = self.letter.arrived_at + timedelta(minutes=minutes)
        at = at.replace(microsecond=0)
        key = f"{kind}:{self.letter.message_id}:{token}:{more.get('client', '')}"
        return Reaction(at, kind, key, self.letter, token, **more)  # type: ignore[arg-type]

    def scan(self) -> list[Reaction]:
        """A gateway looks at the picture and at every link, the unsubscribe page left alone."""
        start = self.random.lognormvariate(log(_SCAN_SECONDS), 0.8) / 60
        client = f"198.51.100.{self.random.randint(1, 250)}"
        links = [
            self.reaction("click", start + position / 100, token, client=client)
            for position, token in enumerate(self.letter.links)
        ]
        return links + self._looked(start, client=client)

    def proxied(self) -> list[Reaction]:
        """A proxy fetches the picture, whoever looks."""
        minutes = self.random.uniform(5, 120)
        return self._looked(minutes, agent=PROXY, client="192.0.2.9")

    def person(self, factor: float) -> list[Reaction]:
        """What a person does; a click or an answer comes after a look."""
        rates, found = self.behaviour, list[Reaction]()
        looked = self._after(0)
        opens, clicks, answers, objects, leaves, complains, away = (
            self.random.random() for _ in range(7)
        )
        if opens < rates.opens * factor:
            found += self._looked(looked)
        if clicks < rates.clicks * factor and self.letter.links:
            token = self.random.choice(self.letter.links)
            found.append(self.reaction("click", looked + 1, token))
        if away < rates.away:
            found.append(self._absence())
        if answers < rates.replies * factor:
            kind: Kind = "objection" if objects < rates.stops else "reply"
            found.append(self.reaction(kind, self._after(looked)))
        if leaves < rates.unsubscribes:
            found.append(self.reaction("unsubscribe", looked + 2, self.letter.unsubscribe))
        if complains < rates.complains:
            found.append(self.reaction("complaint", looked + 3))
        return found

    def _looked(self, minutes: float, **more: str) -> list[Reaction]:
        pixel = self.letter.pixel
        return [self.reaction("open", minutes, pixel, **more)] if pixel else []

    def _absence(self) -> Reaction:
        days = self.random.randint(1, 14) if self.random.random() < 0.7 else None
        at = self.letter.arrived_at
        returns = at + timedelta(days=days) if days else None
        return self.reaction("out_of_office", minutes=1, returns_on=returns)

    def _after(self, minutes: float) -> float:
        """Minutes after these, by a log-normal with the median that was asked for."""
        return minutes + 60 * self.random.lognormvariate(log(self.behaviour.hours_to_answer), 1.2)
