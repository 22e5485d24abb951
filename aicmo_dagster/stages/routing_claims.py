"""What must be true of routing for a campaign, each claim with its figures.

Counts only; nothing that names a lead. Not here: the other stages' claims (`claims`).
"""

import pyarrow.compute as pc
import sqlalchemy as sa

from aicmo_dagster.domain.facts import one_array
from aicmo_dagster.domain.rehearsal import fairness
from aicmo_dagster.domain.tokens import address_key, domain_key
from aicmo_dagster.stages.claims import Finding
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.enrolments import active_by_sequence
from aicmo_dagster.store.frames import read_frame
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
        columns = ["lead_id", "sequence", "campaign_version"]
        routed = read_frame(connection, "routed_leads", key, columns)
        sends = read_frame(connection, "nurture_sends", key, ["lead_id", "sequence"])
    known = {
        (name, version)
        for version in routed["campaign_version"].unique().tolist()
        for name in workspace.campaign(key, version).campaign.sequences
    }
    followed = routed[columns[1:]].value_counts()
    unknown = int(sum(count for pair, count in followed.items() if pair not in known))
    at = pc.index_in(one_array(sends["lead_id"]), value_set=one_array(routed["lead_id"]))
    other = pc.not_equal(one_array(routed["sequence"]).take(at), one_array(sends["sequence"]))
    strays = pc.count_distinct(one_array(sends["lead_id"]).filter(other)).as_py()
    text = f"{unknown} leads are in no known sequence, {strays} have mail of another one"
    return Finding(unknown + strays == 0, text, {"unknown": unknown, "strays": strays})


def shares_are_fair(workspace: Workspace, key: str) -> Finding:
    """Among the same sequences, each had its share of the turns to within one."""
    with workspace.database.read() as connection:
        turns = fairness(read_frame(connection, "routed_leads", key, ["among", "sequence"]))
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
