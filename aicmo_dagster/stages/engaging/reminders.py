"""What a reminder of a handoff says, as mail and as webhook: enough to take the lead up at once.

Not here: when it is sent (`escalate`).
"""

import json
from typing import Any

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.mail.notices import notice
from aicmo_dagster.store.escalations import Escalation

_CONTACT = ("title", "email", "phone", "linkedin_url")


def reminder_mail(
    escalation: Escalation, handoff: dict[str, Any], campaign: Campaign, to: str
) -> bytes:
    """The reminder as a message to the escalation owner."""
    sender = campaign.nurture.sender
    lead = _lead(handoff)
    name = _name(lead)
    since = f"{handoff['created_at']:%Y-%m-%d %H:%M} UTC"
    known = [str(lead[field]) for field in _CONTACT if lead.get(field)]
    lines = [
        f"{name} was handed to sales on {since} and nobody has taken it up.",
        "",
        f"Campaign: {campaign.name}",
        f"Why: {handoff['reason']}",
        *known,
        "",
        "Whoever takes it up, and then no more of these are sent, says so by:",
        f"  aicmo handoff ack {handoff['key']}",
    ]
    return notice(
        sender_name=sender.name,
        sender=sender.address,
        to=to,
        subject=f"Waits for an owner: {name}",
        text="\n".join(lines) + "\n",
        key=escalation.key,
        date=escalation.created_at,
    )


def reminder_document(
    escalation: Escalation, handoff: dict[str, Any], campaign: Campaign
) -> dict[str, Any]:
    """The reminder as a webhook's document."""
    return {
        "type": "lead.escalated",
        "timestamp": escalation.created_at.isoformat(),
        "data": {
            "campaign": campaign.campaign,
            "campaign_name": campaign.name,
            "level": escalation.level,
            "handoff": handoff["key"],
            "handed_over_at": handoff["created_at"].isoformat(),
            "reason": handoff["reason"],
            "lead": _lead(handoff),
        },
    }


def _lead(handoff: dict[str, Any]) -> dict[str, Any]:
    """The lead as it was handed over."""
    told: dict[str, Any] = json.loads(handoff["document"]).get("data", {})
    return told.get("lead") or {"lead_id": handoff["lead_id"]}


def _name(lead: dict[str, Any]) -> str:
    named = " ".join(filter(None, (lead.get("first_name"), lead.get("last_name"))))
    known = [each for each in (named, lead.get("company")) if each]
    return ", ".join(known) or lead.get("email") or f"lead {lead['lead_id']}"
