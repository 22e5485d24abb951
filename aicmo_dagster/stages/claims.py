"""What must be true of a stage's outcome for a campaign, each claim with its figures.

Counts only; nothing that names a lead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import count_rows
from aicmo_dagster.store.harvests import address_counts, reject_counts
from aicmo_dagster.store.ledger import state_counts

MOST_REJECTED = 0.2
"""The share of records above which a source is suspect."""

LEAST_ADDRESSED = 0.5
"""The share of leads with an address below which a harvest is hardly worth a campaign."""


FEWEST_EARLIER = 5
"""Earlier runs that say what is usual."""


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


def share_is_usual(share: float, earlier: Sequence[float]) -> Finding:
    """The share that qualifies is near what it was: within three deviations, or a tenth, of it.

    Median and median absolute deviation, so that one odd run does not widen the band; 1.4826 makes
    the latter a standard deviation where the shares are normal. Fewer than `FEWEST_EARLIER` runs
    tell nothing.
    """
    if len(earlier) < FEWEST_EARLIER:
        return Finding(True, "", {"qualified_share": share, "earlier_runs": len(earlier)})
    usual = median(earlier)
    width = max(0.1, 3 * 1.4826 * median(abs(each - usual) for each in earlier))
    figures = {"qualified_share": share, "usual_share": usual, "usual_within": width}
    text = (
        f"{share:.0%} qualify, usually {usual:.0%} give or take {width:.0%}: did a source change?"
    )
    return Finding(abs(share - usual) <= width, text, figures)


def no_send_is_in_doubt(workspace: Workspace, key: str) -> Finding:
    """Of every send it is known whether it went out."""
    with workspace.database.read() as connection:
        states = state_counts(connection, key)
    unknown = states.get("unknown", 0)
    text = f"{unknown} sends may or may not have arrived; they are presumed sent and never repeated"
    return Finding(unknown == 0, text, {"unknown": unknown, "accepted": states.get("accepted", 0)})
