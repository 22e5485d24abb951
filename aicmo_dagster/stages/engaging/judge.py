"""Engagement judged: events from the spool, a verdict on each, and clients cut to their network.

Not here: the rules (`domain.nurture.engagement`), or what follows (`engaging.graduate`).
"""

from datetime import datetime

from aicmo_dagster.domain.nurture.engagement import RULES_VERSION, Tuning, judge
from aicmo_dagster.stages.engaging.record import cut_old_clients, replay
from aicmo_dagster.stages.report import Report, counted
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.verdicts import handed_over, read_verdicts, replace_verdicts, unjudged


def judge_engagement(
    workspace: Workspace,
    key: str,
    now: datetime,
    *,
    tuning: Tuning | None = None,
    everyone: bool = False,
) -> Report:
    """`engagement` has a verdict on every event of the campaign.

    Leads with anything new, pending or judged by other rules are judged again, with `everyone` all
    of them. Nothing that was handed over is taken back.
    """
    replay(workspace)
    with workspace.database.write() as connection:
        take_turn(connection, f"engagement of {key}")
        events = unjudged(connection, key, RULES_VERSION, everyone=everyone)
        sent = handed_over(connection, key)
        verdicts = judge(events, sent, tuning or Tuning(), now)
        replace_verdicts(connection, key, verdicts, RULES_VERSION)
        standing = read_verdicts(connection, key)
    cut = cut_old_clients(workspace, now)
    figures: dict[str, float] = {"judged_now": len(verdicts), "clients_cut": cut}
    figures |= counted(standing["kind"] + "_" + standing["verdict"])
    reasons = counted(standing.loc[standing["verdict"] != "human", "rule"])
    return Report(key, "engagement", len(events), len(standing), reasons, figures)
