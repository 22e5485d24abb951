"""Who goes on: the score's threshold, then rules that must all hold, then a tree, then overrides.

Every lead gets a decision and its reason. Not here: the language of conditions (`conditions`), or
who is sent what (`routing`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow

from aicmo_dagster.domain.campaigns import Branch, Campaign
from aicmo_dagster.domain.conditions import Facts, Mask, describe, found, mask
from aicmo_dagster.domain.schemas import typed

TEXT = pd.ArrowDtype(pyarrow.string())


@dataclass(frozen=True)
class Qualified:
    """What qualification found.

    Args:
        leads: The `QualifiedLeads` frame: those that go on.
        decisions: lead_id, outcome (`qualified` or `not_qualified`), decided_by, reason, and cause
            (the reason without the lead's own values, for counting): every lead.
    """

    leads: pd.DataFrame
    decisions: pd.DataFrame


@dataclass
class _Verdicts:
    """Decisions in the making; the first to say no has the word, and the tree the last."""

    qualified: Mask
    decided_by: pd.Series
    cause: pd.Series
    reason: pd.Series

    def decide(
        self, where: Mask, outcome: bool, decided_by: str, cause: str, reason: pd.Series | str
    ) -> None:
        self.qualified = np.where(where, outcome, self.qualified)
        self.decided_by = self.decided_by.mask(where, decided_by)
        self.cause = self.cause.mask(where, cause)
        self.reason = self.reason.mask(where, reason)


def qualify(scored: pd.DataFrame, campaign: Campaign, overrides: pd.DataFrame) -> Qualified:
    """A decision and its reason for every lead.

    Args:
        scored: `RawLeads` columns with `score`, one row a lead.
        campaign: The campaign document.
        overrides: lead_id, action (`qualify` or `reject`), reason, decided_by; one row a lead.
    """
    facts = Facts(scored)
    verdicts = _by_threshold(scored, campaign.scoring.threshold)
    for rule in campaign.qualification.rules:
        failed = verdicts.qualified & ~mask(rule, facts)
        cause = f"rule '{rule.name or describe(rule)}'"
        reason = f"{cause} failed: " + found(rule, facts) + f"; required: {describe(rule)}"
        verdicts.decide(failed, False, "rules", cause, reason)
    if campaign.qualification.tree is not None:
        _by_tree(campaign.qualification.tree, facts, verdicts.qualified.copy(), "tree: ", verdicts)
    elif campaign.qualification.rules:
        verdicts.decide(verdicts.qualified, True, "rules", "rules", "every rule holds")
    _by_override(scored["lead_id"], overrides, verdicts)
    return _result(scored, verdicts)


def _by_threshold(scored: pd.DataFrame, threshold: float) -> _Verdicts:
    passed = (scored["score"] >= threshold).to_numpy(dtype=bool, na_value=False)
    # Not rounded: 59.96 is below 60 and must not read as 60.0.
    shown = "score " + scored["score"].astype(TEXT)
    reason = (shown + f" reaches the threshold {threshold:.10g}").where(
        passed, shown + f" is below the threshold {threshold:.10g}"
    )
    threshold_alone = pd.Series("threshold", index=scored.index, dtype=TEXT)
    return _Verdicts(passed, threshold_alone, threshold_alone, reason)


def _by_tree(
    node: Branch | Literal["qualify", "reject"],
    facts: Facts,
    here: Mask,
    path: str,
    verdicts: _Verdicts,
) -> None:
    """Decides the leads that came `here`, telling the way they took."""
    if isinstance(node, str):
        verdicts.decide(here, node == "qualify", "tree", "tree", f"{path}so {node}")
        return
    holds = mask(node.if_, facts)
    question = describe(node.if_)
    _by_tree(node.then, facts, here & holds, f"{path}{question}: yes; ", verdicts)
    _by_tree(node.else_, facts, here & ~holds, f"{path}{question}: no; ", verdicts)


def _by_override(lead_ids: pd.Series, overrides: pd.DataFrame, verdicts: _Verdicts) -> None:
    chosen = overrides.set_index("lead_id").reindex(lead_ids)
    chosen.index = lead_ids.index
    for action in ("qualify", "reject"):
        where = (chosen["action"] == action).to_numpy(dtype=bool, na_value=False)
        reason = f"override to {action} by " + chosen["decided_by"] + ": " + chosen["reason"]
        verdicts.decide(where, action == "qualify", "override", "override", reason.astype(TEXT))


def _result(scored: pd.DataFrame, verdicts: _Verdicts) -> Qualified:
    columns: dict[str, object] = {
        "lead_id": scored["lead_id"],
        "score": scored["score"],
        "decided_by": verdicts.decided_by,
        "reason": verdicts.reason,
    }
    outcome = pd.Series(
        np.where(verdicts.qualified, "qualified", "not_qualified"), scored.index, dtype=TEXT
    )
    decisions = pd.DataFrame({**columns, "outcome": outcome, "cause": verdicts.cause})
    leads = typed("qualified_leads", columns)[verdicts.qualified].reset_index(drop=True)
    return Qualified(leads, decisions.drop(columns="score"))
