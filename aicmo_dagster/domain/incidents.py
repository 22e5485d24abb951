"""What is wrong, and how it is told: once when it begins, and once when it is over.

Not here: finding out (`operating.incidents`), telling it (`operating.alerts`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

RUN_FAILED = "run_failed"
LATE = "late"
SENDING_STOPPED = "sending_stopped"
BUDGET_SPENT = "budget_spent"
DRIFT = "drift"

TITLES = {
    RUN_FAILED: "a run failed",
    LATE: "late by its schedule",
    SENDING_STOPPED: "sending stopped",
    BUDGET_SPENT: "the credits are spent",
    DRIFT: "leads have drifted from those the model learned from",
}
"""Kind of incident to what it is in words."""


@dataclass(frozen=True)
class Fault:
    """Something that is wrong now; as long as it is found, its incident is the same one.

    Args:
        kind: One of `TITLES`.
        campaign: Whose it is; empty if it concerns all.
        subject: The stage, job or sender that it is about.
        reason: Why, free of personal data; the words may change while the fault stays.
        run_id: The run in which it showed, or empty.
    """

    kind: str
    campaign: str
    subject: str
    reason: str
    run_id: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it this fault and no other."""
        return self.kind, self.campaign, self.subject


@dataclass(frozen=True)
class Incident:
    """A fault from the time it was found to the time it was found no more."""

    number: int
    fault: Fault
    opened_at: datetime
    closed_at: datetime | None

    @property
    def notice_key(self) -> str:
        """What makes a notice of it this one and no other, however often it is sent."""
        return f"incident-{self.number}-{'closed' if self.closed_at else 'opened'}"


@dataclass(frozen=True)
class Notice:
    """A few words to whoever runs the campaigns.

    Args:
        key: The same for the same notice.
        title: One line.
        text: All of it in plain text, the title included.
        document: The same for programs.
    """

    key: str
    title: str
    text: str
    document: dict[str, Any]


def notice_of(incident: Incident, link: str) -> Notice:
    """What is told of the incident now, with a link to where to look."""
    fault, closed = incident.fault, incident.closed_at
    whose = fault.campaign or "all campaigns"
    what = TITLES[fault.kind]
    title = f"Over: {whose}: {what}" if closed else f"{whose}: {what}"
    since = f"since {incident.opened_at:%Y-%m-%d %H:%M} UTC"
    until = f", until {closed:%Y-%m-%d %H:%M} UTC" if closed else ""
    about = f"{fault.subject}: {fault.reason}" if fault.subject else fault.reason
    document = {
        "type": "incident.closed" if closed else "incident.opened",
        "timestamp": (closed or incident.opened_at).isoformat(),
        "data": {
            "incident": incident.number,
            "kind": fault.kind,
            "campaign": fault.campaign or None,
            "subject": fault.subject,
            "reason": fault.reason,
            "run": fault.run_id or None,
            "opened_at": incident.opened_at.isoformat(),
            "closed_at": closed and closed.isoformat(),
            "link": link,
        },
    }
    text = f"{title}\n{about}\n{since}{until}\n{link}"
    return Notice(incident.notice_key, title, text, document)
