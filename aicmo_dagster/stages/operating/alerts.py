"""Incidents told to whoever runs the campaigns: a webhook, a Slack-compatible hook, or mail.

Not here: what is wrong (`incidents`), or what a notice says (`domain.incidents`).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import quote, urlsplit

from aicmo_dagster.domain.incidents import Incident, Notice, notice_of
from aicmo_dagster.errors import AicmoError, BadInput, Problem
from aicmo_dagster.handoff.delivery import Outcome, next_wait
from aicmo_dagster.handoff.slack import SlackHook
from aicmo_dagster.handoff.webhooks import Webhook
from aicmo_dagster.mail.notices import send_notice
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.incidents import anything_to_tell, claim_untold, note_told, note_untold

MOST = 50
"""Notices in one go; what is left is due the next time."""

LEASE = timedelta(minutes=5)
"""For so long a notice is nobody else's, who might have died over it after that."""

_SHAPES = "https://…, slack+https://… (a Slack-compatible hook) or mailto:ADDRESS"

Clock = Callable[[], datetime]


class Channel(Protocol):
    """Takes notices, one at a time."""

    def tell(self, notice: Notice) -> Outcome:
        """What came of it."""


def is_anything_to_tell(workspace: Workspace, now: datetime) -> bool:
    """Whether a notice is due, and there is somebody to tell."""
    if workspace.settings.alert_url is None:
        return False
    with workspace.database.read() as connection:
        return anything_to_tell(connection, now)


def tell_incidents(workspace: Workspace, clock: Clock) -> Report:
    """Every notice that is due was tried once: it has arrived, is due later, or is given up.

    At least once: after a crash between the other side's answer and our record of it, the same is
    told again under the same key.
    """
    channel = open_channel(workspace, clock)
    tried, arrived, reasons = 0, 0, dict[str, int]()
    while tried < MOST:
        with workspace.database.write() as connection:
            untold = claim_untold(connection, clock(), clock() + LEASE)
        if untold is None:
            break
        notice = notice_of(untold.incident, link_of(workspace, untold.incident))
        outcome = _told(channel, notice)
        _note(workspace, untold.incident, untold.attempts, outcome, clock())
        tried += 1
        arrived += outcome.state == "delivered"
        if outcome.reason:
            reasons[outcome.reason] = reasons.get(outcome.reason, 0) + 1
    return Report("", "incidents", tried, arrived, reasons)


def open_channel(workspace: Workspace, clock: Clock) -> Channel:
    """Where AICMO_ALERT_URL says that incidents are told.

    Raises:
        BadInput: If it cannot be read; the message does not quote it.
    """
    settings = workspace.settings
    url = settings.alert_url or ""
    scheme, _, rest = url.partition(":")
    private = settings.allow_private_urls
    if scheme == "mailto" and "@" in rest:
        return _Mail(workspace, rest, clock)
    try:
        named = urlsplit(url.removeprefix("slack+")).hostname
    except ValueError:
        named = None
    if scheme in ("slack+http", "slack+https") and named:
        return SlackHook(url.removeprefix("slack+"), allow_private=private)
    if scheme in ("http", "https") and named:
        secret = settings.webhook_secret()
        return _Hook(Webhook(url, secret, allow_private=private, clock=clock))
    raise BadInput(Problem("AICMO_ALERT_URL", "", "something else", _SHAPES))


def link_of(workspace: Workspace, incident: Incident) -> str:
    """Where the web UI shows what it is about."""
    fault, base = incident.fault, workspace.settings.dagster_url
    if fault.run_id:
        return f"{base}/runs/{fault.run_id}"
    if fault.campaign:
        asset = fault.subject if fault.subject in ("raw_leads", "score_model") else "nurture_sends"
        return f"{base}/assets/{asset}?view=partitions&partition={quote(fault.campaign)}"
    return f"{base}/runs"


class _Hook:
    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    def tell(self, notice: Notice) -> Outcome:
        return self._webhook.deliver(notice.key, notice.document)


class _Mail:
    def __init__(self, workspace: Workspace, address: str, clock: Clock) -> None:
        self._settings = workspace.settings
        self._address = address
        self._clock = clock

    def tell(self, notice: Notice) -> Outcome:
        # From oneself to oneself: an address that the mail server is sure to let us use.
        send_notice(
            self._settings.smtp_url,
            self._settings.outbox,
            sender=self._address,
            recipient=self._address,
            key=notice.key,
            subject=f"AICMO: {notice.title}",
            text=notice.text,
            date=self._clock(),
        )
        return Outcome("delivered")


def _told(channel: Channel, notice: Notice) -> Outcome:
    try:
        return channel.tell(notice)
    except AicmoError as error:  # a server that is down now may be back the next time
        return Outcome("failed", str(error))


def _note(
    workspace: Workspace, incident: Incident, attempts: int, outcome: Outcome, now: datetime
) -> None:
    wait = next_wait(incident.notice_key, attempts, outcome.wait)
    with workspace.database.write() as connection:
        if outcome.state == "delivered":
            note_told(connection, incident, now)
            return
        again_at = now + wait if wait and outcome.state == "failed" else None
        note_untold(connection, incident, outcome.reason, again_at)
