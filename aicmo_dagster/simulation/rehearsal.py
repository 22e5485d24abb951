"""Several lives of a campaign held together: what to expect, how surely, and what tests can see.

Not here: one life (`life`), or how it is printed (`report`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist, fmean
from typing import Any

import numpy as np

from aicmo_dagster.simulation.funnel import Arm
from aicmo_dagster.simulation.life import Life, Setting, live, notes_on

LEVEL = 0.9
"""The part of outcomes that an interval is to hold."""

LIFT = 0.5
"""The difference between variants, in proportion, that a test's power is told for."""

ALPHA = 0.05

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Expected:
    """A figure of a campaign: the mean over its lives, and the interval it is likely within."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Power:
    """How likely a test of two variants sees a difference.

    Args:
        place: Sequence and step.
        leads: Delivered to each variant, on average.
        rate: Replies per lead.
        power: The chance of seeing the rate of the one be LIFT above the other's.
        smallest: The smallest such difference, in proportion, that is seen in 80 % of cases; none
            where none is.
    """

    place: str
    leads: int
    rate: float
    power: float
    smallest: float | None


@dataclass(frozen=True)
class Rehearsal:
    """What was lived, and in what setting."""

    setting: Setting
    lives: tuple[Life, ...]

    def expected(self) -> dict[str, Expected]:
        """Milestone to what to expect."""
        totals = [life.funnel.totals for life in self.lives]
        return {name: self._expected(name, [t[name] for t in totals]) for name in totals[0]}

    def power(self) -> list[Power]:
        """What each step's variants can tell at this size."""
        steps: dict[tuple[str, str], list[Arm]] = {}
        for life in self.lives:
            for arm in life.funnel.arms:
                steps.setdefault((arm.sequence, arm.step), []).append(arm)
        return [_power_of(f"{name}.{step}", arms) for (name, step), arms in sorted(steps.items())]

    def as_document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        setting = self.setting
        return {
            "campaign": setting.document.campaign.campaign,
            "start": setting.start.isoformat(),
            "days": setting.days,
            "seeds": [life.seed for life in self.lives],
            "behaviour": asdict(setting.behaviour),
            "notes": notes_on(setting),
            "goals": setting.document.campaign.goals.model_dump(exclude_none=True),
            "expected": {name: asdict(each) for name, each in self.expected().items()},
            "power": [asdict(each) for each in self.power()],
            "lives": [asdict(life) for life in self.lives],
        }

    def _expected(self, name: str, counts: Sequence[int]) -> Expected:
        mean = fmean(counts)
        if len(counts) > 1:
            tail = 100 * (1 - LEVEL) / 2
            low, high = np.percentile(counts, [tail, 100 - tail])
            return Expected(round(mean, 1), round(float(low), 1), round(float(high), 1))
        base = self.lives[0].funnel.totals[_OUT_OF.get(name, name)]
        return Expected(mean, *wilson(counts[0], base)) if name in _OUT_OF else _sure(mean)


_OUT_OF = {
    **dict.fromkeys(("replied", "clicked", "opened", "unsubscribed", "complained"), "routed"),
    **dict.fromkeys(("bounced", "handed over"), "routed"),
}
"""What people do, which chance decides, to the leads that may do it."""


def rehearse(setting: Setting, seeds: Sequence[int]) -> Rehearsal:
    """The campaign is lived through once with each of `seeds`."""
    return Rehearsal(setting, tuple(live(setting, seed) for seed in seeds))


def wilson(count: int, out_of: int) -> tuple[float, float]:
    """The interval of a count by chance alone (Wilson, 1927), in counts.

    Args:
        count: What was found.
        out_of: Out of how many.
    """
    if not out_of:
        return 0.0, 0.0
    z, share = _NORMAL.inv_cdf(0.5 + LEVEL / 2), min(count / out_of, 1.0)
    middle = share + z * z / (2 * out_of)
    reach = z * sqrt(share * (1 - share) / out_of + z * z / (4 * out_of * out_of))
    scale = out_of / (1 + z * z / out_of)
    return round(max(middle - reach, 0) * scale, 1), round((middle + reach) * scale, 1)


def power(rate: float, other: float, leads: int) -> float:
    """The chance that a two-sided test at ALPHA tells the two rates apart, `leads` for each.

    By the normal approximation, for one look. Five planned looks by O'Brien and Fleming, as AICMO
    takes them, need about 3 % more leads for as much.
    """
    spread = sqrt((rate * (1 - rate) + other * (1 - other)) / leads) if leads else 0.0
    if not spread:
        return 0.0
    return _NORMAL.cdf(abs(rate - other) / spread - _NORMAL.inv_cdf(1 - ALPHA / 2))


def _power_of(place: str, arms: Sequence[Arm]) -> Power:
    delivered, replied = sum(a.delivered for a in arms), sum(a.replied for a in arms)
    leads, rate = delivered // len(arms), replied / delivered if delivered else 0.0
    seen = power(rate, min(rate * (1 + LIFT), 1.0), leads)
    lifts = (step / 20 for step in range(1, 201))
    enough = (lift for lift in lifts if power(rate, min(rate * (1 + lift), 1.0), leads) >= 0.8)
    return Power(place, leads, round(rate, 4), round(seen, 3), next(enough, None))


def _sure(mean: float) -> Expected:
    return Expected(mean, mean, mean)
