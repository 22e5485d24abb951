"""What must be true of routing for a campaign, each claim with its figures.

Counts only; nothing that names a lead. Not here: the other stages' claims (`claims`).
"""

import sqlalchemy as sa

from aicmo_dagster.domain.rehearsal import fairness_of
from aicmo_dagster.domain.tokens import address_key, domain_key
from aicmo_dagster.stages.claims import Finding
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.enrolments import active_by_sequence, with_other_mail
from aicmo_dagster.store.frames import count_by, read_frame
from aicmo_dagster.store.suppressions import any_suppressed, suppressed_since


def capacity_is_kept(workspace: Workspace, key: str) -> Finding:
    """No sequence holds more leads that are under way than its capacity."""
    routes = workspace.campaign(key).campaign.routing.sequences
    with workspace.database.read() as connection:
        load = active_by_sequence(connection, key)
    limits = {route.sequence: route.capacity for route in routes if route.capacity is not None}
    beyond = [name for name, capacity in limits.items() if load.get(name, 0) > capacity]
    return Finding(
        not beyond, f"over capacity: {', '.join(beyond)}", {"active": sum(load.values())}
    )


def nobody_suppressed_is_routed(workspace: Workspace, key: str) -> Finding:
    """Nobody entered a sequence who was suppressed by then."""
    with workspace.database.read() as connection:
        wrong = 0
        if any_suppressed(connection):
            wrong = _suppressed_when_routed(connection, key, workspace.settings.secret_key())
    text = f"{wrong} leads were suppressed when they were routed; nothing is sent to them"
    return Finding(not wrong, text, {"suppressed": wrong})


def each_routed_lead_has_one_sequence(workspace: Workspace, key: str) -> Finding:
    """The sequence of each routed lead is in the document it follows, and all its mail is of it."""
    with workspace.database.read() as connection:
        followed = count_by(connection, "routed_leads", key, "sequence", "campaign_version")
        strays = with_other_mail(connection, key)
    known = {
        (name, version)
        for version in {version for _, version in followed}
        for name in workspace.campaign(key, version).campaign.sequences
    }
    unknown = sum(count for pair, count in followed.items() if pair not in known)
    text = f"{unknown} leads are in no known sequence, {strays} have mail of another one"
    return Finding(unknown + strays == 0, text, {"unknown": unknown, "strays": strays})


def shares_are_fair(workspace: Workspace, key: str) -> Finding:
    """Among the same sequences, each had its share of the turns to within one."""
    with workspace.database.read() as connection:
        had = count_by(connection, "routed_leads", key, "among", "sequence")
    turns = fairness_of({pair: count for pair, count in had.items() if pair[0] is not None})
    off = (turns["had"] - turns["due"]).abs()
    worst = float(off.max()) if len(off) else 0.0
    text = f"a sequence is {worst:.2f} turns off its share; leads were merged, moved or erased"
    return Finding(worst < 1, text, {"most_off_share": worst})


def _suppressed_when_routed(connection: sa.Connection, key: str, secret_key: bytes) -> int:
    routed = read_frame(connection, "routed_leads", key, ["lead_id", "routed_at"])
    raw = read_frame(connection, "raw_leads", key, ["lead_id", "email"])
    leads = routed.merge(raw.dropna(), on="lead_id")
    pairs = [
        (address_key(secret_key, email), domain_key(secret_key, email.rpartition("@")[2]))
        for email in leads["email"].tolist()
    ]
    since = suppressed_since(connection, [key for pair in pairs for key in pair])
    if not since:
        return 0
    return sum(
        any(key in since and since[key] <= at for key in pair)
        for pair, at in zip(pairs, leads["routed_at"], strict=True)
    )
