"""On what grounds a lead was decided about: rules, versions, and what it holds now.

Told from what is stored: the decision, the document of its version, the lead. Not here: the
decision's own reason, which is stored with it.
"""

from collections.abc import Sequence
from functools import cache

import sqlalchemy as sa

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.conditions import Condition, fields
from aicmo_dagster.domain.facts import Facts, found_in
from aicmo_dagster.domain.qualification import path_taken, rule_name
from aicmo_dagster.stages.deciding.qualify import leads_with_scores
from aicmo_dagster.store.campaigns import load_campaign
from aicmo_dagster.store.decisions import Decision

JUDGED = "qualified_leads"


def grounds(
    connection: sa.Connection, key: str, lead_id: str, decisions: Sequence[Decision]
) -> list[tuple[str, ...]]:
    """For each decision on the lead the lines that say what it rests on.

    The latest of qualification also says what the lead holds now in the fields it was judged by.
    """
    document = cache(lambda version: load_campaign(connection, key, version).campaign)
    judged = [decision for decision in decisions if decision.stage == JUDGED]
    told = []
    for decision in decisions:
        campaign = document(decision.campaign_version)
        lines = _rules_passed(decision, campaign)
        if judged and decision is judged[-1]:
            lines += _held(connection, key, lead_id, decision, campaign)
        told.append((*lines, _versions(decision)))
    return told


def _rules_passed(decision: Decision, campaign: Campaign) -> list[str]:
    passed = campaign.qualification.rules[: decision.inputs.get("rules_passed", 0)]
    if decision.stage != JUDGED or not passed:
        return []
    return ["rules passed: " + ", ".join(f"'{rule_name(rule)}'" for rule in passed)]


def _held(
    connection: sa.Connection, key: str, lead_id: str, decision: Decision, campaign: Campaign
) -> list[str]:
    """What the lead holds now, in the fields that were looked at to decide about it."""
    leads = leads_with_scores(connection, key, lead_id=lead_id)
    if leads.empty:
        return []
    facts = Facts(leads)
    asked: list[Condition] = []
    qualification, passed = campaign.qualification, decision.inputs.get("rules_passed", 0)
    asked += qualification.rules[: passed + 1]
    if passed == len(qualification.rules) and qualification.tree is not None:
        asked += path_taken(qualification.tree, facts, 0)
    names = {"score"}.union(*map(fields, asked))
    return ["the lead now: " + "; ".join(found_in(sorted(names), facts, 0))]


def _versions(decision: Decision) -> str:
    model = decision.inputs.get("model")
    by_model = f", model {model}" if model else ""
    return f"by {decision.decided_by}, campaign version {decision.campaign_version}{by_model}"
