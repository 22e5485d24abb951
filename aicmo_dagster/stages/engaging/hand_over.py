"""Handoffs delivered: those that are due are tried, the others wait for their time.

Not here: whom to hand over (`engaging.graduate`), the destinations (`handoff`).
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.handoff.csv_files import CsvFile
from aicmo_dagster.handoff.delivery import Destination, Outcome, next_wait
from aicmo_dagster.handoff.hubspot import HubSpot
from aicmo_dagster.handoff.webhooks import Webhook
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.handoffs import (
    Handoff,
    claim_due,
    record_delivery,
    record_failure,
)

BATCH = 20
MOST = 1_000
"""Attempts in one go; what is left is due the next time."""


def deliver_handoffs(workspace: Workspace, clock: Callable[[], datetime]) -> Report:
    """Every handoff that is due was tried once: it is delivered, due later, or dead.

    At least once: after a crash between the other side's answer and our record of it, the same is
    delivered again under the same key.
    """
    destinations: dict[tuple[str, str], Destination] = {}
    states, reasons = Counter[str](), Counter[str]()
    while sum(states.values()) < MOST:
        with workspace.database.write(durable=True) as connection:
            claimed = claim_due(connection, clock(), BATCH)
        if not claimed:
            break
        for handoff in claimed:
            state, reason = _deliver(workspace, handoff, destinations, clock)
            states[state] += 1
            reasons.update([reason] if reason else [])
    figures: dict[str, float] = dict(states)
    total = sum(states.values())
    return Report("", "sales_handoffs", total, states["delivered"], dict(reasons), figures)


def _deliver(
    workspace: Workspace,
    handoff: Handoff,
    destinations: dict[tuple[str, str], Destination],
    clock: Callable[[], datetime],
) -> tuple[str, str]:
    """One attempt, recorded: what the handoff is now, and why it is not delivered."""
    at = (handoff.campaign, handoff.destination)
    try:
        if at not in destinations:
            destinations[at] = open_destination(workspace, *at, clock)
        outcome = destinations[at].deliver(handoff.key, handoff.document)
    except AicmoError as error:  # what is not set up now may be the next time
        outcome = Outcome("failed", str(error))
    now = clock()
    wait = next_wait(handoff.key, handoff.attempts, outcome.wait)
    with workspace.database.write(durable=True) as connection:
        if outcome.state == "delivered":
            record_delivery(connection, handoff, now)
            return "delivered", ""
        again_at = now + wait if wait and outcome.state == "failed" else None
        record_failure(connection, handoff, outcome.reason, again_at)
    return ("due_later" if again_at else "dead"), outcome.reason


def open_destination(
    workspace: Workspace, key: str, kind: str, clock: Callable[[], datetime]
) -> Destination:
    """Where the campaign `key` hands leads over to.

    Raises:
        AicmoError: If something that it needs is not set.
    """
    settings = workspace.settings
    rule = workspace.campaign(key).campaign.nurture.graduate
    private = settings.allow_private_urls
    if kind == "csv":
        return CsvFile(settings.home / "handoffs" / f"{key}.csv")
    if kind == "hubspot":
        if settings.hubspot.api_key is None:
            raise AicmoError("AICMO_HUBSPOT_API_KEY is not set; make a private app at HubSpot")
        return HubSpot(settings.hubspot.url, settings.hubspot.api_key, allow_private=private)
    if rule is None or not rule.url:
        raise AicmoError(f"campaign '{key}' names no webhook any more; set nurture.graduate.url")
    return Webhook(rule.url, settings.webhook_secret(), allow_private=private, clock=clock)
