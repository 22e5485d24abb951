"""A sender's ramp: more mails a day as long as they are welcome, fewer when they are not.

Bulk senders are held to a complaint rate under 0.1 %, and never 0.3 % (Google's sender guidelines);
published ramps hold or step back as bounces go up. Not here: the caps (`caps`), or counting
(`store.pacing`).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

DAY = timedelta(days=1)
JUDGE_AGAIN = timedelta(hours=1)
TRAILING = timedelta(days=7)
"""What a sender is judged by."""
IDLE = timedelta(days=30)
"""After so long without mail, receivers have forgotten a sender, which begins its ramp again."""

COMPLAINTS_HOLD, COMPLAINTS_HALT = 0.001, 0.003
BOUNCES_HOLD, BOUNCES_BACK = 0.02, 0.05
FEWEST_COMPLAINTS, FEWEST_BOUNCES = 2, 3
"""Fewer are nobody's rate: one complaint about 50 mails would be 2 %."""
BACK = 2
"""Levels that a sender goes back."""

Health = Literal["good", "hold", "back", "halt"]


@dataclass(frozen=True)
class Record:
    """A sender's last days: mails sent, those that bounced, and complaints."""

    sent: int
    bounced: int = 0
    complained: int = 0


@dataclass(frozen=True)
class Pace:
    """Where a sender is on its ramp.

    Args:
        level: Steps up from the start.
        level_since: When the level last was settled.
        health: What its last days say: rise, hold, go back, or send nothing at all.
        judged_at: When that was said.
    """

    level: int
    level_since: datetime
    health: Health
    judged_at: datetime


def first_pace(first_sent_at: datetime | None, now: datetime) -> Pace:
    """The pace of a sender that none is known of: a level for each day since its first mail."""
    level = (now - first_sent_at) // DAY if first_sent_at else 0
    return Pace(max(level, 0), now, "good", now)


def health(record: Record) -> Health:
    """What a sender's last days say."""
    if record.sent == 0:
        return "good"
    complaints, bounces = record.complained / record.sent, record.bounced / record.sent
    many_complaints = record.complained >= FEWEST_COMPLAINTS
    many_bounces = record.bounced >= FEWEST_BOUNCES
    if many_complaints and complaints >= COMPLAINTS_HALT:
        return "halt"
    if many_bounces and bounces >= BOUNCES_BACK:
        return "back"
    if many_complaints and complaints >= COMPLAINTS_HOLD:
        return "hold"
    return "hold" if many_bounces and bounces >= BOUNCES_HOLD else "good"


def next_pace(pace: Pace, record: Record, *, last_sent_at: datetime | None, now: datetime) -> Pace:
    """The sender's pace from now on.

    Args:
        pace: As it was.
        record: The sender's last days.
        last_sent_at: When the sender last sent a mail: a day without any earns nothing.
        now: The instant of judging.
    """
    found = health(record)
    judged = replace(pace, health=found, judged_at=now)
    if last_sent_at is not None and now - last_sent_at > IDLE:
        return replace(judged, level=0, level_since=now)
    worse = found in ("back", "halt")
    if worse and (pace.health != found or now - pace.level_since >= DAY):
        return replace(judged, level=max(pace.level - BACK, 0), level_since=now)
    if worse or now - pace.level_since < DAY:
        return judged
    sent = last_sent_at is not None and last_sent_at >= pace.level_since
    risen = pace.level + (1 if found == "good" and sent else 0)
    return replace(judged, level=risen, level_since=now)
