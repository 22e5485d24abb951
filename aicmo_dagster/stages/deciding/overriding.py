"""What a person decides about one lead by hand, checked against its campaign and put in force.

Not here: keeping it (`store.overrides`), or how the stages obey.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.store.audit import record_change
from aicmo_dagster.store.overrides import KINDS, add_override, withdraw

WITHDRAW = "withdraw"
_ACTIONS = ("qualify", "reject", "pause", "resume")


def allowed_actions(campaign: Campaign) -> list[str]:
    """Everything that may be decided about a lead of the campaign."""
    routes = [f"route:{route.sequence}" for route in campaign.routing.sequences]
    return [*_ACTIONS, *routes, WITHDRAW, *(f"{WITHDRAW}:{kind}" for kind in KINDS)]


def require_action(campaign: Campaign, action: str, where: str) -> None:
    """Raises BadInput if `action` is none of `allowed_actions`; `where` names the input."""
    allowed = allowed_actions(campaign)
    if action not in allowed:
        raise BadInput(Problem(where, "", repr(action), f"one of: {', '.join(allowed)}"))


def decide(
    connection: sa.Connection,
    key: str,
    lead_id: str,
    action: str,
    reason: str,
    by: str,
    now: datetime,
    ends: datetime | None = None,
    *,
    who: str,
) -> int | None:
    """The action holds from the next run on; tells how many were withdrawn, if it takes some back.

    Args:
        connection: From `Database.write`.
        key: The campaign.
        lead_id: The lead.
        action: One of `allowed_actions`.
        reason: Why.
        by: Who decides, as the decision tells.
        now: When.
        ends: When it ends by itself; never unless given.
        who: Who asked for it, as the audit tells.
    """
    count = None
    if action.startswith(WITHDRAW):
        kinds: Sequence[str] = [action.removeprefix(f"{WITHDRAW}:")] if ":" in action else KINDS
        count = sum(withdraw(connection, key, lead_id, kind, now) for kind in kinds)
    else:
        add_override(connection, key, lead_id, action, reason, by, now, ends)
    if count != 0:
        told = {"action": action, "until": ends and ends.isoformat()}
        record_change(
            connection, who, "lead.override", now, campaign=key, subject=lead_id, after=told
        )
    return count
