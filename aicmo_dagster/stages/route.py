"""Routed leads: a sequence for every qualified lead that may have one.

Not here: the choice itself.
"""

from datetime import datetime

from aicmo_dagster.domain.routing import route
from aicmo_dagster.stages.qualify import leads_with_scores
from aicmo_dagster.stages.report import Report, counted
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.decisions import record_decisions
from aicmo_dagster.store.frames import read_frame, replace_frame
from aicmo_dagster.store.overlaps import blocked_leads, company_load


def route_leads(workspace: Workspace, key: str, now: datetime) -> Report:
    """`routed_leads` of the campaign holds everyone in a sequence; who was routed stays there."""
    stored = workspace.campaign(key)
    overlap = stored.campaign.routing.overlap
    with workspace.database.write() as connection:
        take_turn(connection, f"leads of {key}")
        # All campaigns look at each other here: two must not both take the same person.
        take_turn(connection, "routing")
        qualified = read_frame(connection, "qualified_leads", key, ["lead_id"])
        before = read_frame(connection, "routed_leads", key)
        leads = leads_with_scores(connection, key)
        wanted = leads[leads["lead_id"].isin([*qualified["lead_id"], *before["lead_id"]])]
        secret_key = workspace.settings.secret_key()
        blocked = blocked_leads(connection, key, overlap, wanted, secret_key=secret_key, now=now)
        routed = route(
            wanted,
            before,
            blocked,
            stored.campaign,
            company_load=company_load(connection),
            version=stored.version,
            now=now,
        )
        replace_frame(connection, "routed_leads", key, routed.leads)
        record_decisions(
            connection,
            key,
            "routed_leads",
            routed.decisions,
            now=now,
            campaign_version=stored.version,
            inputs={"strategy": stored.campaign.routing.strategy},
        )
    refused = routed.decisions[routed.decisions["outcome"] == "not_routed"]
    figures: dict[str, float] = {
        f"in {name}": n for name, n in counted(routed.leads["sequence"]).items()
    }
    figures["newly_routed"] = len(routed.leads) - len(before)
    return Report(
        key,
        "routed_leads",
        len(wanted),
        len(routed.leads),
        counted(refused["reason"]),
        figures,
    )
