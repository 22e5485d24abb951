"""Inbound mail: each message is handled once, and what it proves has its consequences.

Only a message that quotes a name of ours (`mail.inbound.traces`) suppresses anyone: an address can
be forged. Not here: what a message is (`mail.inbound.recognition`).
"""

import hashlib
from collections import Counter
from datetime import datetime, time, timedelta
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.domain.links import read_click_token, read_open_token, read_unsubscribe_token
from aicmo_dagster.domain.tokens import address_key, normal_address
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.mail.inbound.bounces import Bounce
from aicmo_dagster.mail.inbound.mailboxes import open_mailbox
from aicmo_dagster.mail.inbound.recognition import Inbound, recognise
from aicmo_dagster.stages.engaging.record import addresses_of, unsubscribe
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import load_campaign
from aicmo_dagster.store.erasures import was_erased
from aicmo_dagster.store.events import add_event, instants_of
from aicmo_dagster.store.handoffs import colleagues_everywhere
from aicmo_dagster.store.inbound import (
    begin_message,
    describe_message,
    move_cursor,
    read_cursor,
)
from aicmo_dagster.store.interruptions import hold_back
from aicmo_dagster.store.recipients import (
    Recipient,
    recipient,
    recipient_of_message,
    recipients_at,
)
from aicmo_dagster.store.suppressions import suppress

MOST_MESSAGES = 500
"""Handled in one go; what is left is there the next time."""

SOFT_BOUNCES, SOFT_SPAN = 3, timedelta(days=7)
"""A lead whose address fails softly this often over at least this long is given up."""

_REFUSALS = (ValueError, sa.exc.DataError, sa.exc.IntegrityError)
"""What the database says to a value that it can never hold."""

_EVENT_OF = {"sender": "blocked", "message": "refused", "delayed": "delayed"}
"""Failures that cost the lead nothing."""


def listen(workspace: Workspace, now: datetime, limit: int = MOST_MESSAGES) -> Report:
    """What arrived since the last time is handled, up to `limit` messages.

    Raises:
        AicmoError: If AICMO_INBOUND_URL is not set, or the mailbox cannot be read.
    """
    url = workspace.settings.inbound_url
    if url is None:
        raise AicmoError("AICMO_INBOUND_URL is not set; name the mailbox that replies arrive in")
    mailbox = open_mailbox(url)
    with workspace.database.read() as connection:
        cursor = read_cursor(connection, mailbox.name)
    kinds, reasons = Counter[str](), Counter[str]()
    for arrived in mailbox.arrived(cursor, limit):
        kind, reason = handle(workspace, arrived.content, now, mailbox.name, arrived.cursor)
        kinds[kind] += 1
        reasons[f"{kind}: {reason}"] += 1
    total = sum(kinds.values())
    figures: dict[str, float] = dict(kinds)
    return Report("", "inbound_messages", total, total, dict(reasons.most_common()), figures)


def handle(
    workspace: Workspace, content: bytes, now: datetime, mailbox: str, cursor: str
) -> tuple[str, str]:
    """The message has its consequences and the cursor stands after it, in one transaction.

    Returns:
        What the message was, and what followed from it.
    """
    inbound = _recognised(content, now)
    told = (hashlib.sha256(content).hexdigest(), now, mailbox, cursor)
    if inbound is None:
        return _handled(workspace, None, "it cannot be taken to pieces", *told)
    try:
        return _handled(workspace, inbound, "", *told)
    except _REFUSALS as error:  # so it would be the next time, and the mail behind it would wait
        return _handled(workspace, None, f"it was refused ({type(error).__name__})", *told)


def _handled(
    workspace: Workspace,
    inbound: Inbound | None,
    fault: str,
    key: str,
    now: datetime,
    mailbox: str,
    cursor: str,
) -> tuple[str, str]:
    """As `handle`; a message that is not `inbound` was not understood, for the reason `fault`."""
    with workspace.database.write(durable=True) as connection:
        move_cursor(connection, mailbox, cursor, now)
        if not begin_message(connection, key, now):
            return "repeated", "it was handled before"
        if inbound is None:
            describe_message(connection, key, "unreadable", fault)
            return "unreadable", fault
        handling = _Handling(connection, workspace.settings.secret_key(), key, inbound, now)
        reason = handling.act()
        lead = handling.lead
        describe_message(
            connection,
            key,
            inbound.kind,
            reason,
            lead.campaign if lead else None,
            lead.lead_id if lead else None,
        )
    return inbound.kind, reason


def _recognised(content: bytes, now: datetime) -> Inbound | None:
    try:
        return recognise(content, now.date())
    except Exception:  # whatever anyone sends us must not keep the next message from being read
        return None


class _Handling:
    """One message and what follows from it, within one transaction."""

    def __init__(
        self,
        connection: sa.Connection,
        secret_key: bytes,
        key: str,
        inbound: Inbound,
        now: datetime,
    ) -> None:
        self._connection = connection
        self._secret_key = secret_key
        self._key = key
        self._inbound = inbound
        self._now = now
        self.lead = self._proven()

    def act(self) -> str:
        """What follows is done; says what that was, without a name."""
        if self.lead is None:
            return self._act_without_proof()
        if was_erased(self._connection, self._secret_key, self.lead.lead_id):
            self.lead = None
            return "the lead was erased: nothing follows"
        if self._is_our_own(self.lead):
            return "our own message: nothing follows"
        return self._act_on(self.lead)

    def _act_on(self, lead: Recipient) -> str:
        kind = self._inbound.kind
        if kind == "bounce":
            return self._bounced(lead)
        if kind == "complaint":
            self._event(lead, "complaint", {"feedback": self._inbound.feedback})
            return self._suppress(lead, "complained")
        if kind == "objection":
            return self._objected(lead)
        if kind == "out_of_office":
            return self._away(lead)
        self._event(lead, kind, {"matched_by": "reference", "text": self._inbound.text})
        if kind != "reply":
            return "recorded"
        return f"recorded, {self._spare_colleagues(lead)} colleagues spared for a while"

    def _proven(self) -> Recipient | None:
        """The lead whose message is quoted."""
        found = recipient_of_message(self._connection, self._inbound.traces.message_ids)
        if found:
            return found
        for token in self._inbound.traces.tokens:
            for read in (read_click_token, read_unsubscribe_token, read_open_token):
                place = read(self._secret_key, token)
                if place:
                    named = (place.campaign, place.lead_id, place.step)
                    return recipient(self._connection, *named)
        return None

    def _act_without_proof(self) -> str:
        """A person's words count where they seem to come from; nobody is suppressed by them."""
        kind = self._inbound.kind
        if kind in ("bounce", "complaint") or not self._inbound.sender:
            return "nothing of ours is quoted: nothing follows"
        leads = recipients_at(self._connection, self._inbound.sender)
        if not leads:
            return "from nobody we wrote to: nothing follows"
        detail = {"matched_by": "address", "text": self._inbound.text}
        for lead in leads:
            if kind == "objection":
                self._event(lead, "reply", detail | {"asks_to_stop": True})
            else:
                self._event(lead, kind, detail)
        return "matched by address alone: recorded, nobody is suppressed"

    def _bounced(self, lead: Recipient) -> str:
        bounce = self._about(lead)
        detail = {"failure": bounce.failure, "status": bounce.status}
        if bounce.failure in _EVENT_OF:
            self._event(lead, _EVENT_OF[bounce.failure], detail)
            return f"{bounce.failure}: recorded"
        if bounce.failure == "soft":
            self._event(lead, "soft_bounce", detail)
            if not self._failed_too_often(lead):
                return "soft: recorded"
        moved = lead.address and address_key(self._secret_key, lead.address) not in lead.sent_to
        # An address that is the lead's no more is suppressed, and the lead written to at its own.
        self._event(lead, "former_bounce" if moved and lead.sent_to else "bounce", detail)
        return self._suppress(lead, f"bounced ({bounce.failure.replace('_', ' ')})")

    def _about(self, lead: Recipient) -> Bounce:
        """The failure of the address written to, else the first: the lead may be forwarded."""
        bounces, theirs = self._inbound.bounces, set(addresses_of(self._secret_key, lead))
        named = ((b, normal_address(b.address or "")) for b in bounces)
        own = (b for b, address in named if address_key(self._secret_key, address) in theirs)
        return next(own, bounces[0])

    def _failed_too_often(self, lead: Recipient) -> bool:
        times = instants_of(self._connection, lead.campaign, lead.lead_id, "soft_bounce")
        return len(times) >= SOFT_BOUNCES and times[-1] - times[0] >= SOFT_SPAN

    def _spare_colleagues(self, lead: Recipient) -> int:
        """Colleagues of who replied get nothing for as long as their campaigns say; how many."""
        everywhere = colleagues_everywhere(self._connection, lead.campaign, lead.lead_id)
        spared = 0
        for campaign, leads in everywhere.items():
            try:
                routing = load_campaign(self._connection, campaign).campaign.routing
            except AicmoError:  # a document of another version must not keep mail from being read
                continue
            days = routing.overlap.colleague_replied_days
            if days:
                until, reason = self._now + timedelta(days=days), "a colleague replied"
                hold_back(self._connection, campaign, leads, until, reason)
                spared += len(leads)
        return spared

    def _objected(self, lead: Recipient) -> str:
        self._event(lead, "reply", {"matched_by": "reference", "asks_to_stop": True})
        unsubscribe(
            self._connection,
            self._secret_key,
            lead.campaign,
            lead.lead_id,
            scope="everything",
            now=self._now,
        )
        return "unsubscribed in words: suppressed"

    def _away(self, lead: Recipient) -> str:
        back = self._inbound.returns_on
        detail = {"returns_on": back.isoformat() if back else None}
        self._event(lead, "out_of_office", detail)
        if back is None:
            return "away: recorded"
        # At noon UTC the day has begun in all of the Americas.
        until = datetime.combine(back, time(12), self._now.tzinfo)
        moved = hold_back(
            self._connection, lead.campaign, [lead.lead_id], until, "waits for its return"
        )
        return f"away until a day it names: {moved} sends put off"

    def _suppress(self, lead: Recipient, reason: str) -> str:
        for key in addresses_of(self._secret_key, lead):
            suppress(self._connection, "address", key, reason, "inbound mail", self._now)
        return f"{reason}: suppressed"

    def _event(self, lead: Recipient, kind: str, detail: dict[str, Any]) -> None:
        key = f"{kind}:{self._key}:{lead.campaign}:{lead.lead_id}"
        add_event(
            self._connection,
            lead.campaign,
            lead.lead_id,
            kind,
            key,
            self._now,
            step=lead.step,
            detail=detail,
        )

    def _is_our_own(self, lead: Recipient) -> bool:
        """Whether the campaign's sender wrote it: a copy of an answer to the lead."""
        try:
            sender = load_campaign(self._connection, lead.campaign).campaign.nurture.sender
        except AicmoError:  # a document of another version must not keep mail from being handled
            return False
        ours = {each.lower() for each in (sender.address, sender.reply_to) if each}
        return self._inbound.kind != "bounce" and self._inbound.sender in ours
