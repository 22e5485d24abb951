"""When a wait is over, in the light of what the lead did so far.

Days are calendar days where the lead is, hours are elapsed hours. A click counts before an opening,
and both before neither. Not here: windows (`timing`), or what counts as a click.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from aicmo_dagster.domain.nurture.places import Place
from aicmo_dagster.domain.nurture.timing import days_later
from aicmo_dagster.domain.sections.sequences import Wait


@dataclass(frozen=True)
class WaitEnd:
    """When to send.

    Args:
        at: The step is due from here on, as far as one knows now.
        look_at: When to look again, since the wait may end before `at`; None where it cannot.
    """

    at: datetime
    look_at: datetime | None = None


def wait_end(
    wait: Wait | None,
    since: datetime,
    place: Place,
    now: datetime,
    *,
    opened: bool = False,
    clicked: bool = False,
) -> WaitEnd:
    """The end of `wait`, which began at `since`.

    A wait that depends on what the lead does is held to be its longest until it is over.
    """
    if wait is None:
        return WaitEnd(since)
    if wait.if_opened is None and wait.if_clicked is None:
        return WaitEnd(_base_end(wait, since, place))
    ends = _ends(wait, since, place)
    valid = _valid(wait, opened=opened, clicked=clicked)
    if ends[valid] <= now:
        return WaitEnd(ends[valid])
    last = max(ends.values())
    looks = [end for end in ends.values() if now < end < last]
    return WaitEnd(last, min(looks, default=None))


def _valid(wait: Wait, *, opened: bool, clicked: bool) -> str:
    if clicked and wait.if_clicked is not None:
        return "clicked"
    # Who clicked has seen the message, whether or not its picture was loaded.
    return "opened" if (opened or clicked) and wait.if_opened is not None else "neither"


def _ends(wait: Wait, since: datetime, place: Place) -> dict[str, datetime]:
    ends = {"neither": _base_end(wait, since, place)}
    for name, days in (("opened", wait.if_opened), ("clicked", wait.if_clicked)):
        if days is not None:
            ends[name] = days_later(since, days, place.zone)
    return ends


def _base_end(wait: Wait, since: datetime, place: Place) -> datetime:
    if wait.hours is not None:
        return since + timedelta(hours=wait.hours)
    return days_later(since, wait.days or 0, place.zone)
