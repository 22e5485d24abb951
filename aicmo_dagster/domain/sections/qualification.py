"""The section `qualification`: rules and a tree of decisions.

Not here: what a condition may say (`conditions`), or qualifying leads (`domain.qualification`).
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from aicmo_dagster.domain.conditions import Condition
from aicmo_dagster.domain.documents import Section


def _leaf_or_branch(value: Any) -> str:
    return "branch" if isinstance(value, dict | Branch) else "leaf"


class Branch(Section):
    """A node of the decision tree."""

    if_: Condition = Field(alias="if")
    then: "Node"
    else_: "Node" = Field(alias="else")


Node = Annotated[
    Annotated[Literal["qualify", "reject"], Tag("leaf")] | Annotated[Branch, Tag("branch")],
    Discriminator(_leaf_or_branch),
]


Branch.model_rebuild()


class Qualification(Section):
    """Rules that must all hold, then an optional tree that has the last word."""

    rules: list[Condition] = Field(default=[])
    tree: Branch | None = None
