"""Graduation: leads of real interest leave their sequence and are handed to sales, once.

Not here: what real interest is (`domain.nurture.graduation`), or delivering (`engaging.hand_over`).
"""

import hashlib
import hmac
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from aicmo_dagster.domain.nurture.engagement import HUMAN
from aicmo_dagster.domain.nurture.graduation import Graduation, graduates
from aicmo_dagster.domain.sections.nurture import Graduate
from aicmo_dagster.domain.tokens import address_key, domain_key
from aicmo_dagster.stages.report import Report, counted
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import StoredCampaign
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.decisions import record_decisions
from aicmo_dagster.store.events import events_of_kind, events_of_lead
from aicmo_dagster.store.handoffs import add_handoff, colleagues, handed_leads
from aicmo_dagster.store.interruptions import cancel_waiting
from aicmo_dagster.store.leads import read_leads, read_score
from aicmo_dagster.store.ledger import sends_of_lead
from aicmo_dagster.store.overrides import active_overrides, add_override
from aicmo_dagster.store.suppressions import suppressed
from aicmo_dagster.store.verdicts import read_verdicts, verdicts_of_lead
from aicmo_dagster.store.webhooks import Occurrence, announce

UNWANTED = ("unsubscribe", "complaint", "bounce")
"""After these nobody is handed to sales, whatever was clicked."""

_MOST_EVENTS = 100
_LEAD_FIELDS = (
    *("lead_id", "email", "first_name", "last_name", "title", "seniority", "department", "phone"),
    *("linkedin_url", "company", "domain", "industry", "employees", "annual_revenue", "country"),
    *("region", "city", "timezone", "source", "custom"),
)
_TEXT = pd.ArrowDtype(pa.string())


def graduate(workspace: Workspace, key: str, now: datetime) -> Report:
    """Who fulfils the campaign's condition is handed over; nobody is so twice, or taken back."""
    stored = workspace.campaign(key)
    rule = stored.campaign.nurture.graduate
    if rule is None or stored.state != "active":
        return Report(key, "sales_handoffs", 0, 0)
    with workspace.database.write() as connection:
        take_turn(connection, f"handoffs of {key}")
        found = _found(connection, key, rule)
        handing = _Handing(workspace, connection, stored, rule, now)
        done, left = handing.hand_over(found)
        total = len(handed_leads(connection, key))
    figures = {"newly_handed_over": len(done), "colleagues_paused": handing.paused}
    return Report(key, "sales_handoffs", len(found), total, counted(left.values()), dict(figures))


def _found(connection: sa.Connection, key: str, rule: Graduate) -> list[Graduation]:
    """Everyone who fulfils the condition by what is settled now."""
    verdicts = read_verdicts(connection, key)
    clicks = verdicts[(verdicts["kind"] == "click") & (verdicts["verdict"] == HUMAN)]
    replies = events_of_kind(connection, key, ["reply"])
    # An address can be forged, and a person who asks to be left alone is not interested.
    proven = replies["detail"].str.contains('"matched_by": "reference"', regex=False)
    against = replies["detail"].str.contains('"asks_to_stop": true', regex=False)
    return graduates(replies[proven & ~against], clicks, rule.when)


class _Handing:
    """Handing over within one transaction."""

    def __init__(
        self,
        workspace: Workspace,
        connection: sa.Connection,
        stored: StoredCampaign,
        rule: Graduate,
        now: datetime,
    ) -> None:
        self._connection = connection
        self._secret_key = workspace.settings.secret_key()
        self._key = stored.campaign.campaign
        self._stored = stored
        self._rule = rule
        self._now = now
        self.paused = 0

    def hand_over(self, found: list[Graduation]) -> tuple[list[str], dict[str, str]]:
        """Hands over whom nothing forbids: those leads, and the reasons of the others."""
        leads = read_leads(self._connection, self._key, [each.lead_id for each in found])
        left = self._forbidden(leads)
        left |= {each.lead_id: "it is gone" for each in found if each.lead_id not in leads}
        handed = handed_leads(self._connection, self._key)
        left |= dict.fromkeys(handed.intersection(leads), "handed over before")
        chosen = [each for each in found if each.lead_id not in left]
        for each in chosen:
            self._hand_over(each, leads[each.lead_id])
        self._decide(chosen)
        return [each.lead_id for each in chosen], left

    def _forbidden(self, leads: dict[str, dict[str, Any]]) -> dict[str, str]:
        """Leads that object, whose address is suppressed, or that a person has rejected."""
        events = events_of_kind(self._connection, self._key, UNWANTED)
        reasons = dict.fromkeys(set(events["lead_id"]).intersection(leads), "it objects or bounced")
        keys = {
            lead_id: {
                address_key(self._secret_key, lead["email"]),
                domain_key(self._secret_key, lead["email"].rpartition("@")[2]),
            }
            for lead_id, lead in leads.items()
            if lead["email"]
        }
        hit = suppressed(self._connection, [key for pair in keys.values() for key in pair])
        reasons |= {lead_id: "suppressed" for lead_id, pair in keys.items() if pair & hit}
        overridden = active_overrides(self._connection, self._key, self._now)
        rejected = overridden.loc[overridden["action"] == "reject", "lead_id"]
        return reasons | dict.fromkeys(set(rejected).intersection(leads), "rejected by an override")

    def _hand_over(self, each: Graduation, lead: dict[str, Any]) -> None:
        add_handoff(
            self._connection,
            self._key,
            each.lead_id,
            self._rule.to,
            self._message_key(each.lead_id),
            each.reason,
            self._document(each, lead),
            self._now,
        )
        data = {"campaign": self._key, "lead_id": each.lead_id, "to": self._rule.to}
        told = Occurrence(f"{self._key}/{each.lead_id}", data, (self._key,), each.lead_id)
        announce(self._connection, "lead.handed_off", [told], self._now)
        cancel_waiting(self._connection, self._key, [each.lead_id], "handed to sales")
        if self._rule.pause_colleagues:
            self._pause(each.lead_id)

    def _pause(self, lead_id: str) -> None:
        overridden = active_overrides(self._connection, self._key, self._now)
        paused = set(overridden.loc[overridden["action"] == "pause", "lead_id"])
        for other in colleagues(self._connection, self._key, lead_id):
            if other not in paused:
                reason = "a colleague was handed to sales"
                add_override(
                    self._connection, self._key, other, "pause", reason, "graduation", self._now
                )
                self.paused += 1

    def _decide(self, chosen: list[Graduation]) -> None:
        if not chosen:
            return
        frame = pd.DataFrame(
            {
                "lead_id": [each.lead_id for each in chosen],
                "outcome": "handed over",
                "reason": [each.reason for each in chosen],
                "decided_by": "graduation",
            }
        ).astype(_TEXT)
        record_decisions(
            self._connection,
            self._key,
            "sales_handoffs",
            frame,
            now=self._now,
            campaign_version=self._stored.version,
            inputs={"to": self._rule.to},
        )

    def _message_key(self, lead_id: str) -> str:
        """The idempotency key of the handoff; one has the same at every attempt."""
        named = f"handoff\x1f{self._key}\x1f{lead_id}".encode()
        return f"msg_{hmac.new(self._secret_key, named, hashlib.sha256).hexdigest()[:32]}"

    def _document(self, each: Graduation, lead: dict[str, Any]) -> dict[str, Any]:
        """What sales gets: the lead, its score and reasons, what it received and did."""
        score = read_score(self._connection, self._key, each.lead_id) or {}
        return {
            "type": "lead.graduated",
            "timestamp": self._now.isoformat(),
            "data": {
                "campaign": self._key,
                "campaign_name": self._stored.campaign.name,
                "reason": each.reason,
                "lead": {name: lead[name] for name in _LEAD_FIELDS},
                "score": {
                    n: score[n] for n in ("score", "scale", "model", "contributions") if score
                },
                "received": self._received(each.lead_id),
                "did": self._did(each),
            },
        }

    def _received(self, lead_id: str) -> list[dict[str, Any]]:
        return [
            {
                "step": row["step"],
                "variant": row["variant"],
                "sent_at": row["sent_at"].isoformat(),
                "message_id": row["message_id"],
            }
            for row in sends_of_lead(self._connection, self._key, lead_id)
            if row["sent_at"]
        ]

    def _did(self, each: Graduation) -> list[dict[str, Any]]:
        """The lead's events but for those of machines; the evidence is marked."""
        verdicts = verdicts_of_lead(self._connection, self._key, each.lead_id)
        events = events_of_lead(self._connection, self._key, each.lead_id)
        told = [
            {
                "kind": row["kind"],
                "step": row["step"],
                "at": row["happened_at"].isoformat(),
                "evidence": row["id"] in each.evidence,
                "text": row["detail"].get("text"),
            }
            for row in events
            if verdicts.get(row["id"], (HUMAN,))[0] == HUMAN
        ]
        return told[-_MOST_EVENTS:]
