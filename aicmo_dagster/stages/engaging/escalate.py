"""Escalation: handoffs that nobody took up in time are brought to the owners the campaign names.

Each level is sent once. That a mail is about to leave is committed before it does, so that a crash
leaves one in doubt and none doubled; a webhook may come again under its key. Not here: what is said
(`reminders`), or the handoffs themselves (`hand_over`).
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.sections.nurture import Escalate
from aicmo_dagster.domain.tokens import message_id
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.handoff.delivery import next_wait
from aicmo_dagster.handoff.webhooks import Webhook
from aicmo_dagster.mail.delivery import Transport, open_transport
from aicmo_dagster.mail.parcels import Parcel
from aicmo_dagster.mail.replies import Delivery
from aicmo_dagster.stages.engaging.reminders import reminder_document, reminder_mail
from aicmo_dagster.stages.nurturing.fence import Fence
from aicmo_dagster.stages.nurturing.letters import open_signer
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import escalations, handoffs
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.environments import count_claim
from aicmo_dagster.store.escalations import MAIL, WEBHOOK, Escalation, Level
from aicmo_dagster.store.workers import has_ended, this_worker

MOST = 200
"""Reminders in one go; what is left is due the next time."""

UNREACHABLE = timedelta(minutes=15)
"""Until a mail is tried again that could not even be handed over."""


def plan(workspace: Workspace, key: str, now: datetime) -> int:
    """Each handoff of the campaign that waits for an owner has its reminders; how many are new."""
    campaign = workspace.campaign(key).campaign
    host = campaign.nurture.sender.address.rpartition("@")[2]
    name = partial(_key, workspace.settings.secret_key(), key, host)
    with workspace.database.write() as connection:
        take_turn(connection, f"handoffs of {key}")
        return escalations.plan_escalations(connection, key, _levels(campaign), name, now)


def deliver(workspace: Workspace, clock: Callable[[], datetime]) -> Report:
    """Every reminder whose time has come was tried once: sent, due later, dead or in doubt.

    Where nothing may be sent from here, or the mail server is away, they wait and the reason says
    so.
    """
    with workspace.database.read() as connection:
        doubtful = escalations.left_behind(connection, has_ended, to_settle=False)
        due = escalations.due_escalations(connection, clock(), MOST)
    run = _Run(workspace, clock)
    if doubtful or due:
        try:
            run.settle()
            run.send(due)
        except AicmoError as error:
            run.put_off(due, str(error))
    figures: dict[str, float] = dict(run.states)
    sent = run.states[escalations.SENT]
    return Report("", "escalations", len(due), sent, dict(run.reasons), figures)


def _levels(campaign: Campaign) -> list[Level]:
    found = []
    for number, rule in enumerate(campaign.nurture.escalate, start=1):
        after = timedelta(days=rule.after_days_without_owner_action)
        found += [Level(number, MAIL, after)] if rule.to else []
        found += [Level(number, WEBHOOK, after)] if rule.url else []
    return found


def _key(secret: bytes, key: str, host: str, lead_id: str, level: Level) -> str:
    """What the reminder is known by at the other side, whenever it is made."""
    name = f"escalation/{level.level}"  # which no step can be called
    if level.channel == MAIL:
        return message_id(secret, key, lead_id, name, host)
    named = f"{name}\x1f{key}\x1f{lead_id}".encode()
    return f"msg_{hmac.new(secret, named, hashlib.sha256).hexdigest()[:32]}"


@dataclass
class _Run:
    """One pass over the reminders that are due; the mails' book."""

    workspace: Workspace
    clock: Callable[[], datetime]
    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    _mails: dict[str, Escalation] = field(default_factory=dict)
    _worker: str = field(default_factory=this_worker)
    _transport: str = ""

    def __post_init__(self) -> None:
        settings = self.workspace.settings
        self._fence = Fence(self.workspace)
        self._open = lambda: open_transport(settings.smtp_url, settings.outbox)

    def settle(self) -> None:
        """Mails that ended workers left behind are known to be sent, are due again, or unknown."""
        transport = self._open()
        try:
            with self.workspace.database.write(durable=True) as connection:
                for each, name in escalations.left_behind(connection, has_ended):
                    asked = name == transport.name
                    arrived = transport.was_delivered(each.key) if asked else None
                    if arrived is False:
                        escalations.try_again(connection, each, self.clock(), None)
                        continue
                    state = escalations.SENT if arrived else escalations.UNKNOWN
                    escalations.finish(connection, each, state, self.clock())
                    self.states[state] += 1
        finally:
            transport.close()

    def send(self, due: Sequence[Escalation]) -> None:
        """Each of `due` is tried once."""
        self._fence.check(self.clock())
        by_sender: dict[str, list[tuple[Escalation, dict[str, Any], Campaign]]] = {}
        for each in due:
            try:
                campaign = self.workspace.campaign(each.campaign).campaign
            except AicmoError as error:  # one campaign's document does not hold up the others
                self.put_off([each], str(error))
                continue
            with self.workspace.database.read() as connection:
                handoff = handoffs.handoff_of_lead(connection, each.campaign, each.lead_id)
            taken_up = handoff is None or handoff["acknowledged_at"] is not None
            if handoff is None or taken_up or each.level > len(campaign.nurture.escalate):
                self._finish(each, escalations.DROPPED, None)
            elif each.channel == WEBHOOK:
                self._post(each, handoff, campaign)
            else:
                sender = campaign.nurture.sender.address
                by_sender.setdefault(sender, []).append((each, handoff, campaign))
        for sender, mails in by_sender.items():
            try:
                self._mail(sender, mails)
            except AicmoError as error:
                self.put_off([each for each, _, _ in mails], str(error))

    def write(
        self, results: Sequence[tuple[Parcel, Delivery]], attempts: Sequence[Parcel]
    ) -> set[str]:
        """Results and the beginning of `attempts` are committed; tells which may be made."""
        mails, now = self._mails, self.clock()
        with self.workspace.database.write(durable=True) as connection:
            for parcel, delivery in results:
                self._record(connection, mails[parcel.message_id], delivery, now)
            going = [mails[parcel.message_id] for parcel in attempts]
            allowed = escalations.begin_mail(
                connection, going, worker=self._worker, transport=self._transport, now=now
            )
            claims = count_claim(connection) if allowed else 0
        if claims:
            self._fence.note(claims)
        return allowed

    def _mail(
        self, sender: str, mails: Iterable[tuple[Escalation, dict[str, Any], Campaign]]
    ) -> None:
        signer = open_signer(self.workspace, sender)
        parcels = []
        for each, handoff, campaign in mails:
            to = _rule(each, campaign).to
            if to is None:
                self._finish(each, escalations.DROPPED, None)
                continue
            content = reminder_mail(each, handoff, campaign, to)
            if signer is not None:
                content = signer.signed(content, int(each.created_at.timestamp()))
            parcels.append(Parcel(sender, to, each.key, content))
            self._mails[each.key] = each
        transport: Transport = self._open()
        self._transport = transport.name
        try:
            transport.deliver(parcels, self)
        except AicmoError as error:
            self.put_off([self._mails[parcel.message_id] for parcel in parcels], str(error))
        finally:
            transport.close()

    def _record(self, connection: Any, each: Escalation, delivery: Delivery, now: datetime) -> None:
        """What came of a mail: one that was refused for now is tried again for days."""
        if delivery.state in ("accepted", "rejected", "unknown"):
            known = {"accepted": escalations.SENT, "rejected": escalations.DEAD}
            state = known.get(delivery.state, escalations.UNKNOWN)
            error = None if state == escalations.SENT else delivery.reply
            escalations.finish(connection, each, state, now, error)
        else:
            wait = next_wait(each.key, each.attempts + 1, None)
            state = "due_later" if wait else escalations.DEAD
            if wait:
                escalations.try_again(connection, each, now + wait, delivery.reply)
            else:
                escalations.finish(connection, each, state, now, delivery.reply)
        self.states[state] += 1
        if state != escalations.SENT:
            self.reasons[delivery.reply] += 1

    def put_off(self, reminders: Iterable[Escalation], reason: str) -> None:
        """Those of `reminders` that were not tried wait for a while."""
        now = self.clock()
        with self.workspace.database.write(durable=True) as connection:
            waiting = {each.key for each in escalations.due_escalations(connection, now, MOST)}
            for each in reminders:
                if each.key in waiting:
                    escalations.try_again(connection, each, now + UNREACHABLE, reason)
                    self.states["due_later"] += 1
                    self.reasons[reason] += 1

    def _post(self, each: Escalation, handoff: dict[str, Any], campaign: Campaign) -> None:
        settings, url = self.workspace.settings, _rule(each, campaign).url
        if url is None:
            self._finish(each, escalations.DROPPED, None)
            return
        with self.workspace.database.write(durable=True) as connection:
            if not escalations.begin_webhook(connection, each, self.clock()):
                return
        private = settings.allow_private_urls
        hook = Webhook(url, settings.webhook_secret(), allow_private=private, clock=self.clock)
        outcome = hook.deliver(each.key, reminder_document(each, handoff, campaign))
        wait = next_wait(each.key, each.attempts + 1, outcome.wait)
        if outcome.state == "delivered":
            self._finish(each, escalations.SENT, None)
        elif outcome.state == "failed" and wait:
            with self.workspace.database.write(durable=True) as connection:
                escalations.try_again(connection, each, self.clock() + wait, outcome.reason)
            self.states["due_later"] += 1
            self.reasons[outcome.reason] += 1
        else:
            self._finish(each, escalations.DEAD, outcome.reason)

    def _finish(self, each: Escalation, state: str, error: str | None) -> None:
        with self.workspace.database.write(durable=True) as connection:
            escalations.finish(connection, each, state, self.clock(), error)
        self.states[state] += 1
        if error:
            self.reasons[error] += 1


def _rule(each: Escalation, campaign: Campaign) -> Escalate:
    return campaign.nurture.escalate[each.level - 1]
