"""Who goes on: the score's threshold, then rules that must all hold, then a tree, then overrides.

Whoever opted out, bounced or was handed to sales goes no further, whatever else is said. Every lead
gets a decision and its reason. Not here: the language of conditions (`conditions`), or who is sent
what (`routing`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.conditions import Condition, describe
from aicmo_dagster.domain.facts import Facts, Mask, found, mask, one_array
from aicmo_dagster.domain.overrides import in_words
from aicmo_dagster.domain.schemas import typed
from aicmo_dagster.domain.sections.qualification import Branch, Qualification

TEXT = pd.ArrowDtype(pyarrow.string())

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Qualified:
    """What qualification found.

    Args:
        leads: The `QualifiedLeads` frame: those that go on.
        decisions: lead_id, outcome (`qualified` or `not_qualified`), decided_by, reason, cause (the
            reason without the lead's own values, for counting) and rules_passed (how many rules
            held before one failed): every lead.
    """

    leads: pd.DataFrame
    decisions: pd.DataFrame


@dataclass(frozen=True)
class _Verdict:
    """A way to be decided; leads share one, apart from the values in its reason."""

    qualified: bool
    decided_by: str
    cause: str


class _Judgement:
    """Decisions in the making; the latest decision on a lead holds."""

    def __init__(self, leads: int) -> None:
        self.verdicts: list[_Verdict] = []
        self.codes = np.zeros(leads, np.int32)
        self.rules_passed = np.zeros(leads, np.int64)
        # A reason that many leads share is kept once: texts are what a million decisions cost.
        self._reasons: list[pyarrow.Array] = []
        self._reason_at = np.zeros(leads, np.int64)
        self._told = 0

    def decide(self, rows: Rows, verdict: _Verdict, reasons: pyarrow.Array) -> None:
        """The leads at `rows` are decided so, for one reason or each for its own."""
        self.codes[rows] = len(self.verdicts)
        self.verdicts.append(verdict)
        places = np.arange(len(rows)) if len(reasons) == len(rows) else 0
        self._reason_at[rows] = self._told + places
        self._reasons.append(reasons)
        self._told += len(reasons)

    def reasons_of(self, rows: Rows) -> pyarrow.Array:
        """The reason of each of the leads at `rows`."""
        told = pyarrow.concat_arrays(self._reasons)
        return told.take(pyarrow.array(self._reason_at[rows]))

    def of_each(self, name: str) -> pyarrow.Array:
        """A textual attribute of the verdicts, lead by lead."""
        texts = pyarrow.array([getattr(verdict, name) for verdict in self.verdicts])
        return texts.take(pyarrow.array(self.codes))


def qualify(
    scored: pd.DataFrame, campaign: Campaign, overrides: pd.DataFrame, *, stopped: pd.DataFrame
) -> Qualified:
    """A decision and its reason for every lead.

    Args:
        scored: `RawLeads` columns with `score`, one row a lead, and the engagement figures that
            conditions name.
        campaign: The campaign document.
        overrides: lead_id, action (`qualify` or `reject`), reason, decided_by, decided_at,
            expires_at; one row a lead.
        stopped: lead_id, cause, reason: those who never qualify again, one row a lead.
    """
    rules, tree = campaign.qualification.rules, campaign.qualification.tree
    facts = Facts(scored, asked=questions(campaign.qualification))
    judgement = _Judgement(len(scored))
    passed = _by_threshold(facts, campaign.scoring.threshold, judgement)
    passed = _by_rules(rules, facts, passed, judgement)
    if tree is not None:
        _by_tree(tree, facts, passed, "", judgement)
    elif rules:
        everyone = pyarrow.array(["every rule holds"])
        judgement.decide(np.flatnonzero(passed), _Verdict(True, "rules", "rules"), everyone)
    _by_override(scored["lead_id"], overrides, judgement)
    _by_stop(scored["lead_id"], stopped, judgement)
    return _result(scored, judgement)


def questions(qualification: Qualification) -> list[Condition]:
    """Every condition of the rules and the tree."""
    return [*qualification.rules, *_questions(qualification.tree)]


def rule_name(rule: Condition) -> str:
    """What a rule is called: its name, else what it says."""
    return rule.name or describe(rule)


def funnel(qualification: Qualification, judged: int, refused: Mapping[str, int]) -> dict[str, int]:
    """How many leads are left after each step, in the order of the document.

    Args:
        qualification: The rules and the tree.
        judged: How many leads were judged.
        refused: How many do not go on, by `cause`.
    """
    steps = ["threshold", *(_rule_cause(rule) for rule in qualification.rules)]
    steps += ["tree"] if qualification.tree else []
    others = [cause for cause in refused if cause not in steps]
    lost = [-refused.get(step, 0) for step in (*steps, *others)]
    left = list(accumulate(lost, initial=judged))
    names = ["scored", *(f"after the {s}" if s[:4] != "rule" else f"after {s}" for s in steps)]
    return dict(zip([*names, *(f"after '{cause}'" for cause in others)], left, strict=True))


def path_taken(tree: Branch, facts: Facts, row: int) -> list[Condition]:
    """The questions that the tree asks of the lead at `row`, in order."""
    asked: list[Condition] = []
    node: Branch | Literal["qualify", "reject"] = tree
    while isinstance(node, Branch):
        asked.append(node.if_)
        node = node.then if mask(node.if_, facts)[row] else node.else_
    return asked


def _rule_cause(rule: Condition) -> str:
    return f"rule '{rule_name(rule)}'"


def _by_threshold(facts: Facts, threshold: float, judgement: _Judgement) -> Mask:
    """Who reaches the threshold; everyone is decided by it until something else decides."""
    passed = facts.numbers("score") >= threshold
    # Not rounded: 59.96 is below 60 and must not read as 60.0.
    shown = pc.binary_join_element_wise("score ", facts.column("score").cast(pyarrow.string()), "")
    for where, said in ((passed, "reaches"), (~passed, "is below")):
        rows = np.flatnonzero(where)
        words = f" {said} the threshold {threshold:.10g}"
        reasons = pc.binary_join_element_wise(shown.take(pyarrow.array(rows)), words, "")
        verdict = _Verdict(said == "reaches", "threshold", "threshold")
        judgement.decide(rows, verdict, reasons)
    return passed


def _by_rules(rules: list[Condition], facts: Facts, passed: Mask, judgement: _Judgement) -> Mask:
    """Who passes every rule; the first rule to fail has the word."""
    for position, rule in enumerate(rules):
        holds = mask(rule, facts)
        rows = np.flatnonzero(passed & ~holds)
        passed = passed & holds
        cause = _rule_cause(rule)
        held = found(rule, facts, rows)
        ending = f"; required: {describe(rule)}"
        reasons = pc.binary_join_element_wise(f"{cause} failed: ", held, ending, "")
        judgement.decide(rows, _Verdict(False, "rules", cause), reasons)
        judgement.rules_passed[rows] = position
    judgement.rules_passed[passed] = len(rules)
    return passed


def _by_tree(
    node: Branch | Literal["qualify", "reject"],
    facts: Facts,
    here: Mask,
    path: str,
    judgement: _Judgement,
) -> None:
    """Decides the leads that came `here`, telling the way they took."""
    if isinstance(node, str):
        verdict = _Verdict(node == "qualify", "tree", "tree")
        reason = pyarrow.array([f"tree: {path}so {node}"])
        return judgement.decide(np.flatnonzero(here), verdict, reason)
    holds = mask(node.if_, facts)
    question = describe(node.if_)
    for branch, where, answer in ((node.then, holds, "yes"), (node.else_, ~holds, "no")):
        way = f"{path}{question}: {answer}; "
        _by_tree(branch, facts, here & where, way, judgement)
    return None


def _questions(node: Branch | Literal["qualify", "reject"] | None) -> Iterator[Condition]:
    if isinstance(node, Branch):
        yield node.if_
        yield from _questions(node.then)
        yield from _questions(node.else_)


def _by_override(lead_ids: pd.Series, overrides: pd.DataFrame, judgement: _Judgement) -> None:
    """What was decided by hand holds; the reason tells what would have been decided without it."""
    for action in ("qualify", "reject"):
        rows, chosen = _matched(lead_ids, overrides[overrides["action"] == action])
        without = judgement.reasons_of(rows)
        words = one_array(in_words(chosen))
        reasons = pc.binary_join_element_wise(words, "; without it: ", without, "")
        judgement.decide(rows, _Verdict(action == "qualify", "override", "override"), reasons)


def _by_stop(lead_ids: pd.Series, stopped: pd.DataFrame, judgement: _Judgement) -> None:
    """Some facts are for good: neither rules nor people overrule them."""
    for cause, alike in stopped.groupby("cause"):
        rows, chosen = _matched(lead_ids, alike)
        verdict = _Verdict(False, "stop", str(cause))
        judgement.decide(rows, verdict, one_array(chosen["reason"].astype(TEXT)))


def _matched(lead_ids: pd.Series, frame: pd.DataFrame) -> tuple[Rows, pd.DataFrame]:
    """The positions of the leads of `frame` among `lead_ids`, and its rows for them."""
    if frame.empty:  # an index of all leads is dear
        return np.empty(0, np.int64), frame
    positions = pd.Index(lead_ids).get_indexer(frame["lead_id"])
    known = positions >= 0
    return positions[known], frame[known]


def _result(scored: pd.DataFrame, judgement: _Judgement) -> Qualified:
    qualified = np.array([verdict.qualified for verdict in judgement.verdicts])[judgement.codes]
    decided_by = _series(judgement.of_each("decided_by"))
    reason = _series(judgement.reasons_of(np.arange(len(scored))))
    outcomes = pyarrow.array(["not_qualified", "qualified"])
    decisions = pd.DataFrame(
        {
            "lead_id": scored["lead_id"].reset_index(drop=True),
            "outcome": _series(outcomes.take(pyarrow.array(qualified.astype(np.int8)))),
            "decided_by": decided_by,
            "reason": reason,
            "cause": _series(judgement.of_each("cause")),
            "rules_passed": judgement.rules_passed,
        }
    )
    columns: dict[str, object] = {
        "lead_id": decisions["lead_id"],
        "score": scored["score"].reset_index(drop=True),
        "decided_by": decided_by,
        "reason": reason,
    }
    going = pd.DataFrame(columns)[qualified].reset_index(drop=True)
    return Qualified(typed("qualified_leads", {str(n): going[n] for n in going}), decisions)


def _series(values: pyarrow.Array) -> pd.Series:
    return pd.Series(pd.arrays.ArrowExtensionArray(values))
