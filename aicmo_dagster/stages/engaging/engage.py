"""Everything that follows from engagement, over all active campaigns. Not here: each part of it."""

from collections.abc import Callable
from datetime import datetime

from aicmo_dagster.domain.nurture.engagement import RULES_VERSION, Tuning
from aicmo_dagster.stages.engaging import escalate
from aicmo_dagster.stages.engaging.graduate import graduate
from aicmo_dagster.stages.engaging.hand_over import deliver_handoffs
from aicmo_dagster.stages.engaging.judge import judge_engagement
from aicmo_dagster.stages.engaging.record import WHOLE, cut_old_clients, replay
from aicmo_dagster.stages.operating.webhooks import deliver_webhooks
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import list_campaigns
from aicmo_dagster.store.escalations import any_escalation_due
from aicmo_dagster.store.events import newest_event, whole_clients
from aicmo_dagster.store.handoffs import any_due
from aicmo_dagster.store.verdicts import any_ripe
from aicmo_dagster.store.webhooks import any_due as any_to_tell


def engage(
    workspace: Workspace, clock: Callable[[], datetime]
) -> tuple[list[Report], dict[str, Exception]]:
    """Every active campaign's events are judged, its graduates handed over, handoffs delivered.

    Whoever subscribed to events is told of them, handoffs that nobody took up in time are
    escalated, and clients' addresses that have served their time are cut, too.

    Returns:
        The reports, and the errors of campaigns that failed: they stop no other.
    """
    reports: list[Report] = []
    failures: dict[str, Exception] = {}
    with workspace.database.read() as connection:
        active = [each.key for each in list_campaigns(connection) if each.state == "active"]
    for key in active:
        try:
            reports.append(judge_engagement(workspace, key, clock()))
            reports.append(graduate(workspace, key, clock()))
            escalate.plan(workspace, key, clock())
        except Exception as error:  # the boundary: whatever it is, the next campaign has its turn
            failures[key] = error
    reports.append(deliver_handoffs(workspace, clock))
    reports.append(escalate.deliver(workspace, clock))
    deliver_webhooks(workspace, clock)
    cut_old_clients(workspace, clock())
    return reports, failures


def mark(workspace: Workspace, now: datetime) -> str | None:
    """What changes with every event; nothing where something waits that time alone makes due."""
    replay(workspace)
    ripe_before = now - Tuning().fold_back
    with workspace.database.read() as connection:
        if (
            any_due(connection, now)
            or any_to_tell(connection, now)
            or any_escalation_due(connection, now)
            or any_ripe(connection, RULES_VERSION, ripe_before)
            or whole_clients(connection, now - WHOLE, 1)
        ):
            return None
        return str(newest_event(connection))
