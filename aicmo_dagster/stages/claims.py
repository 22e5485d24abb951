"""What must be true of a stage's outcome for a campaign, each claim with its figures.

Counts only; nothing that names a lead.
"""

from dataclasses import dataclass, field

from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import count_rows, read_frame
from aicmo_dagster.store.harvests import address_counts, reject_counts
from aicmo_dagster.store.ledger import state_counts

MOST_REJECTED = 0.2
"""The share of records above which a source is suspect."""

LEAST_ADDRESSED = 0.5
"""The share of leads with an address below which a harvest is hardly worth a campaign."""


@dataclass(frozen=True)
class Finding:
    """Whether a claim holds, what to say where it does not, and the figures behind it."""

    holds: bool
    text: str
    figures: dict[str, float] = field(default_factory=dict)


def few_records_are_rejected(workspace: Workspace, key: str) -> Finding:
    """At most a fifth of the records were rejected."""
    with workspace.database.read() as connection:
        rejected = sum(reject_counts(connection, key).values())
        leads = count_rows(connection, "raw_leads", key)
    share = rejected / (rejected + leads) if rejected else 0.0
    text = (
        f"{rejected} records rejected beside {leads} leads: see `rejects` for file, row and reason"
    )
    return Finding(share <= MOST_REJECTED, text, {"rejected": rejected, "rejected_share": share})


def most_leads_can_be_written_to(workspace: Workspace, key: str) -> Finding:
    """At least half of the leads have an address, and not one for a day."""
    with workspace.database.read() as connection:
        counts = address_counts(connection, key)
    leads = sum(counts.values())
    reached = leads - counts.get("none", 0) - counts.get("disposable", 0)
    share = reached / leads if leads else 1.0
    text = (
        f"{reached} of {leads} leads have an address that lasts: name providers under `enrich`, "
        "raise `max_credits`, or see whether the column of addresses is mapped"
    )
    figures = {"address_coverage": share, **{f"address_{k}": n for k, n in counts.items()}}
    return Finding(share >= LEAST_ADDRESSED, text, figures)


def every_lead_is_scored(workspace: Workspace, key: str) -> Finding:
    """There are as many scored leads as raw leads."""
    with workspace.database.read() as connection:
        raw = count_rows(connection, "raw_leads", key)
        scored = count_rows(connection, "scored_leads", key)
    text = f"{raw} raw leads and {scored} scored: materialise scored_leads again"
    return Finding(raw == scored, text, {"raw": raw, "scored": scored})


def some_leads_qualify(workspace: Workspace, key: str) -> Finding:
    """Neither nobody nor everybody qualifies: the rules would tell nothing apart."""
    with workspace.database.read() as connection:
        scored = count_rows(connection, "scored_leads", key)
        qualified = count_rows(connection, "qualified_leads", key)
    share = qualified / scored if scored else 0.0
    text = f"{qualified} of {scored} leads qualify: look at the threshold, the rules and the tree"
    return Finding(scored == 0 or 0 < qualified < scored, text, {"qualified_share": share})


def capacity_is_kept(workspace: Workspace, key: str) -> Finding:
    """No sequence holds more leads than its capacity."""
    routes = workspace.campaign(key).campaign.routing.sequences
    with workspace.database.read() as connection:
        routed = read_frame(connection, "routed_leads", key, ["sequence"])
    load = routed["sequence"].value_counts()
    beyond = [
        route.sequence
        for route in routes
        if route.capacity is not None and load.get(route.sequence, 0) > route.capacity
    ]
    return Finding(not beyond, f"over capacity: {', '.join(beyond)}", {"routed": len(routed)})


def no_send_is_in_doubt(workspace: Workspace, key: str) -> Finding:
    """Of every send it is known whether it went out."""
    with workspace.database.read() as connection:
        states = state_counts(connection, key)
    unknown = states.get("unknown", 0)
    text = f"{unknown} sends may or may not have arrived; they are presumed sent and never repeated"
    return Finding(unknown == 0, text, {"unknown": unknown, "accepted": states.get("accepted", 0)})
