from typing import Any

import pytest

from aicmo_dagster.domain.campaigns import read_campaign
from aicmo_dagster_tests.domain.documented import (
    RULE,
    TREE,
    Mistake,
    assert_refused,
    changed,
    problems,
)

REFUSED: dict[str, Mistake] = {
    "a misspelt key of a condition": (
        (*RULE, "vlaue"),
        1,
        "qualification.rules[0].vlaue",
        "'value'",
    ),
    "an unknown field": (
        (*RULE, "field"),
        "headcount",
        "qualification.rules[0].field",
        "employees",
    ),
    "a custom field without a name": (
        (*RULE, "field"),
        "custom.",
        "qualification.rules[0].field",
        "",
    ),
    "an unknown operator": ((*RULE, "op"), "=~", "qualification.rules[0].op", "'between'"),
    "words compared with a number": (
        (*RULE,),
        {"field": "employees", "op": "==", "value": "many"},
        "qualification.rules[0]",
        "a number",
    ),
    "a number compared with words": (
        (*RULE,),
        {"field": "city", "op": "==", "value": 5},
        "qualification.rules[0]",
        "text",
    ),
    "a pattern that is none": (
        (*RULE,),
        {"field": "city", "op": "matches", "value": "(a"},
        "qualification.rules[0]",
        "RE2",
    ),
    "a pattern that could take for ever": (
        (*RULE,),
        {"field": "city", "op": "matches", "value": r"(a+)\1"},
        "qualification.rules[0]",
        "RE2",
    ),
    "a verdict that is none": (
        (*TREE, "then"),
        "accept",
        "qualification.tree.then",
        "'qualify' or 'reject'",
    ),
    "a misspelt key deep in the tree": (
        (*TREE, "else", "esle"),
        "reject",
        "qualification.tree.else.esle",
        "'else'",
    ),
    "a mistake deep in the tree": (
        (*TREE, "else", "if", "op"),
        "over",
        "qualification.tree.else.if.op",
        "'>='",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_refused_with_its_path_and_what_is_allowed(mistake: Mistake) -> None:
    assert_refused(mistake)


def test_a_tree_of_ninety_levels_is_read_and_one_without_end_refused() -> None:
    tree: Any = "reject"
    for _ in range(90):
        tree = {"if": {"field": "score", "op": ">=", "value": 1}, "then": "qualify", "else": tree}
    assert read_campaign(changed(TREE, tree), "x").qualification.tree is not None

    for _ in range(900):
        tree = {"if": {"field": "score", "op": ">=", "value": 1}, "then": "qualify", "else": tree}
    assert "levels" in problems(changed(TREE, tree))[0].expected
