"""What befalls a life: when it is drawn from the seed, and what it does to the world around.

Not here: the life that it befalls (`enduring`), or what must hold in the end (`invariants`).
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing.context import BaseContext
from typing import Any

from aicmo_dagster.simulation.clock import VirtualClock
from aicmo_dagster_tests.providers.wire import Fault
from aicmo_dagster_tests.simulation.postal import MOODS

KINDS = ("kill", "mail", "provider", "database", "disk", "forward", "back")

MONTH = ("kill",) * 5 + ("mail",) * 4 + ("provider",) * 3 + ("database",) * 2 + ("disk",) * 2
MONTH += ("forward", "back")
"""What befalls a whole month, in an order that is drawn."""

FORWARD, BACK = timedelta(days=3), timedelta(hours=-2)
SHORT = timedelta(hours=15)
SLOW = 0.3
"""Seconds that a client waits for a provider's answer; one that hangs takes twice as long."""


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong.

    Args:
        kind: One of KINDS.
        at: From when on, by the clock of the life.
        lasts: How long, by that clock.
        killed: Whether the process is killed meanwhile, too.
    """

    kind: str
    at: datetime
    lasts: timedelta
    killed: bool


def drawn_troubles(
    draw: random.Random, kinds: Sequence[str], start: datetime, end: datetime
) -> list[Trouble]:
    """Each of `kinds` once, in any order, at random moments; a provider is down from the start."""
    others = [kind for kind in kinds if kind != "provider"]
    draw.shuffle(others)
    ordered = ["provider"] * (len(kinds) - len(others))
    ordered = [*ordered[:1], *others]
    for _ in range(len(kinds) - len(ordered)):
        ordered.insert(draw.randint(1, len(ordered)), "provider")
    span = (end - start) / max(len(ordered), 1)
    moments = [start + span * (n + draw.random() / 5) for n in range(len(ordered))]
    moments[0] = start
    return [
        Trouble(kind, at, _length(kind, span) * draw.uniform(0.4, 0.8), draw.random() < 0.3)
        for kind, at in zip(ordered, moments, strict=True)
    ]


def _length(kind: str, span: timedelta) -> timedelta:
    """Whatever needs a disk is tried again every minute, which costs real time."""
    return min(span, SHORT) if kind == "disk" else span


def provider_faults(draw: random.Random) -> Iterator[Fault]:
    """A provider that goes down after a few calls, and one answer that is lost once it is paid."""
    yield Fault("bulk_match", nth=(draw.randint(1, 3),), drop_after_charge=True)
    first = draw.randint(1, 8)
    down = tuple(range(first, first + draw.randint(3, 60)))
    how = draw.choice(["refuses", "hangs", "cuts", "garbles"])
    if how == "hangs":  # each call costs real time
        yield Fault("/", nth=down[:3], delay=2 * SLOW)
    elif how == "cuts":
        yield Fault("/", nth=down, reset=True)
    elif how == "garbles":
        yield Fault("/", nth=down, status=502, body_kind="html")
    else:
        yield Fault("/", nth=down, status=503)


@dataclass(frozen=True)
class Conditions:
    """What the processes of a life share: how the mail server is, and how wrong the clock goes."""

    mood: Any
    shift: Any

    @classmethod
    def of(cls, processes: BaseContext) -> "Conditions":
        """Everything is well."""
        return cls(processes.Value("i", 0), processes.Value("d", 0.0))

    def mail_is(self, mood: str) -> None:
        """The mail server is so from now on."""
        self.mood.value = MOODS.index(mood)

    def mail(self) -> str:
        """How the mail server is."""
        return MOODS[self.mood.value]


@dataclass
class UnsteadyClock(VirtualClock):
    """A clock that is set, forward or back, between two turns of the world."""

    conditions: Conditions | None = None

    def jump(self, instant: datetime) -> None:
        """It is `instant`, or whatever it has been set to."""
        super().jump(instant)
        shift = self.conditions.shift if self.conditions else None
        if shift is not None and shift.value:
            self.instant += timedelta(seconds=shift.value)
            shift.value = 0.0
