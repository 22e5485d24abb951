"""A rehearsal as text: tables, a plot, and in words what stands in the way.

Not here: the figures (`rehearsal`).
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from aicmo_dagster.simulation.life import notes_on
from aicmo_dagster.simulation.rehearsal import LEVEL, LIFT, Expected, Rehearsal

SHOWN = ("routed", "sent", "opened", "clicked", "replied", "bounced", "handed over")
"""The columns of the days."""

_BLOCKS = " ▁▂▃▄▅▆▇█"


def lines(rehearsal: Rehearsal) -> Iterator[str]:
    """The whole report."""
    setting, first = rehearsal.setting, rehearsal.lives[0]
    key, lives = setting.document.campaign.campaign, len(rehearsal.lives)
    yield (
        f"{key}: {setting.days} days from {setting.start:%Y-%m-%d}, "
        f"{lives} {'life' if lives == 1 else 'lives'}, seed {first.seed}"
    )
    yield from (f"  note: {note}" for note in notes_on(setting))
    yield ""
    yield from _days(first.funnel.days)
    yield ""
    yield from _plots(first.funnel.days)
    yield ""
    yield f"expected, with {LEVEL:.0%} intervals" + (
        " over the lives" if lives > 1 else " by chance alone; --seeds shows the lives' own"
    )
    for name, each in rehearsal.expected().items():
        yield f"  {name:<14}{_interval(each)}"
    yield from _obstacles(rehearsal)


def side_by_side(rehearsals: Sequence[Rehearsal], names: Sequence[str]) -> Iterator[str]:
    """What each of the documents would come to, and the difference to the first."""
    first, second = (each.expected() for each in rehearsals)
    width = max(map(len, names), default=0) + 4
    yield f"  {'':<14}{names[0]:>{width + 12}}{names[1]:>{width + 12}}{'change':>10}"
    for name, each in first.items():
        other = second[name]
        change = f"{other.mean - each.mean:+.0f}"
        cells = f"{_interval(each):>{width + 12}}{_interval(other):>{width + 12}}"
        yield f"  {name:<14}{cells}{change:>10}"


def _days(days: dict[str, list[int]]) -> Iterator[str]:
    yield "  day" + "".join(f"{name:>13}" for name in SHOWN)
    for number, counts in enumerate(zip(*(days[name] for name in SHOWN), strict=True)):
        if any(counts):
            yield f"{number + 1:>5}" + "".join(f"{count or '·':>13}" for count in counts)


def _plots(days: dict[str, list[int]]) -> Iterator[str]:
    """A bar a day of what was sent, and of replies and handoffs so far."""
    for name, counts in (
        ("sent", days["sent"]),
        ("replied so far", list(accumulate(days["replied"]))),
        ("handed so far", list(accumulate(days["handed over"]))),
    ):
        most = max(counts, default=0)
        bars = (_BLOCKS[-(-8 * count // most) if most else 0] for count in counts)
        yield f"  {name:<16}|{''.join(bars)}| most {most}"


def _obstacles(rehearsal: Rehearsal) -> Iterator[str]:
    """What keeps leads and sends waiting, tests from telling, and goals from being reached."""
    funnel = rehearsal.lives[0].funnel
    if funnel.held:
        yield "sends that were due and waited, the most at once"
        yield from (f"  {count:>6} {reason}" for reason, count in funnel.held.items())
    if funnel.unrouted:
        yield "qualified and in no sequence at the end"
        yield from (f"  {count:>6} {reason}" for reason, count in funnel.unrouted.items())
    if funnel.full:
        yield "full when leads were routed"
        yield from (f"  {name}: {count} times" for name, count in funnel.full.items())
    if funnel.hours_to_first is not None:
        median, late = funnel.hours_to_first
        yield f"from routing to the first message: median {median:g} h, one in ten over {late:g} h"
    for each in rehearsal.power():
        smallest = "none" if each.smallest is None else f"{each.smallest:.0%}"
        yield (
            f"test of {each.place}: {each.leads} leads a variant, {each.rate:.1%} reply; sees "
            f"{LIFT:.0%} more with {each.power:.0%} chance; smallest seen in 80 %: {smallest}"
        )
    for provider, count in rehearsal.lives[0].credits.items():
        yield f"credits at {provider}: {count}"
    yield from _goals(rehearsal)


def _goals(rehearsal: Rehearsal) -> Iterator[str]:
    goals, expected = rehearsal.setting.document.campaign.goals, rehearsal.expected()
    for name, goal in (("replied", goals.replies), ("handed over", goals.handoffs)):
        if goal is not None:
            each = expected[name]
            words = "within reach" if each.high >= goal else "out of reach"
            sure = "reached" if each.low >= goal else words
            yield f"goal of {goal} {name}: {sure} ({_interval(each)})"


def _interval(each: Expected) -> str:
    if each.low == each.high == each.mean:
        return f"{each.mean:g}"
    return f"{each.mean:g} ({each.low:g} to {each.high:g})"
