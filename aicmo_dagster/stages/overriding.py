"""What a person decides about one lead by hand, checked against its campaign and put in force.

Not here: keeping it (`store.overrides`), or how the stages obey.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.errors import BadInput, Problem
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
    who: str,
    now: datetime,
    ends: datetime | None = None,
) -> int | None:
    """The action holds from the next run on; tells how many were withdrawn, if it takes some back.

    Args:
        connection: From `Database.write`.
        key: The campaign.
        lead_id: The lead.
        action: One of `allowed_actions`.
        reason: Why.
        who: Who decides.
        now: When.
        ends: When it ends by itself; never unless given.
    """
    if not action.startswith(WITHDRAW):
        add_override(connection, key, lead_id, action, reason, who, now, ends)
        return None
    kinds: Sequence[str] = [action.removeprefix(f"{WITHDRAW}:")] if ":" in action else KINDS
    return sum(withdraw(connection, key, lead_id, kind, now) for kind in kinds)
