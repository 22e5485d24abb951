"""Where every record and lead of a campaign ended up.

Not here: what a single stage did (`report`).
"""

from collections import Counter

from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import count_rows, read_frame
from aicmo_dagster.store.harvests import reject_counts

_SETTLED = {
    "accepted": "sent",
    "unknown": "in doubt",
    "rejected": "refused by the server",
    "cancelled": "cancelled",
}


def dispositions(workspace: Workspace, key: str) -> dict[str, int]:
    """Every lead of the campaign in exactly one place, and the rejected records beside them.

    A lead in a sequence counts by its first send, and as `scheduled` while that is still to come.
    """
    with workspace.database.read() as connection:
        rejected = sum(reject_counts(connection, key).values())
        leads = count_rows(connection, "raw_leads", key)
        routed = set(read_frame(connection, "routed_leads", key, ["lead_id"])["lead_id"])
        qualified = set(read_frame(connection, "qualified_leads", key, ["lead_id"])["lead_id"])
        sends = read_frame(connection, "nurture_sends", key, ["lead_id", "state", "due_at"])
    first = sends[sends["lead_id"].isin(routed)].sort_values("due_at").drop_duplicates("lead_id")
    settled = Counter(_SETTLED[state] for state in first["state"] if state in _SETTLED)
    return {
        "rejected": rejected,
        "not qualified": leads - len(qualified | routed),
        "not routed": len(qualified - routed),
        "scheduled": len(routed) - settled.total(),
        "sent": settled["sent"],
        **{name: count for name, count in settled.items() if name != "sent"},
    }
