"""Compiled templates: of messages' parts, and of the values that a source's rows make.

Not here: the language (`sandbox`), what can be wrong with a template (`template_faults`), Markdown
(`bodies`), or the template of a whole message (`markdown`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any

import pandas as pd
from jinja2 import Template, UndefinedError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.visitor import NodeTransformer

from aicmo_dagster.domain.sandbox import CONTROLS, GLOBALS, LONGEST, PLAIN, RenderFailed, Sandbox
from aicmo_dagster.domain.template_faults import faults

Known = Mapping[str, Mapping[str, object]]
"""Attributes of tokens, by token."""

_AT_A_TIME = 256
"""Pieces of a template that are written before their length is looked at."""


@dataclass(frozen=True)
class Program:
    """A compiled template; errors may repeat `names`, and values are taken for `needed`."""

    template: Template
    names: frozenset[str]
    needed: frozenset[str]

    @classmethod
    def of(cls, source: str, language: Sandbox, known: Known = MappingProxyType({})) -> "Program":
        """`source` compiled.

        Args:
            source: The template.
            language: What it is written in.
            known: Tokens whose values are the same whenever it is rendered, with their attributes:
                those that are text are written into it, and not asked for any more. No template
                may set them itself, as `template_faults` sees to.
        """
        tree = _Filling(known).visit(language.parse(CONTROLS.sub("", source)))
        names = {name.name for name in tree.find_all(nodes.Name)}
        names |= {part.attr for part in tree.find_all(nodes.Getattr)}
        names |= {str(const.value) for const in tree.find_all(nodes.Const)}
        needed = find_undeclared_variables(tree)
        return cls(language.from_string(tree), frozenset(names), frozenset(needed))

    def render(self, values: Mapping[str, object]) -> str:
        """What the template writes for `values`, without control characters.

        Raises:
            RenderFailed: If a value is missing, or the template cannot be run or writes too much.
        """
        try:
            # `shared` saves Jinja a copy of a copy; what a template sets is its own all the same.
            context = self.template.new_context({**GLOBALS, **values}, shared=True)
            return _joined(self.template.root_render_func(context))
        except UndefinedError as error:
            name = str(error.message)
            known = name.removeprefix("custom.") in self.names
            raise RenderFailed(
                f"{name if known else 'a computed value'} is missing and has no default",
                name if known else None,
            ) from None
        except RenderFailed:
            raise
        except Exception as error:
            # A template is a user's program: it may fail in any way, and the text of its error
            # may quote a lead's value.
            kind = type(error).__name__
            raise RenderFailed(f"the template cannot be run for this lead ({kind})") from None


class _Filling(NodeTransformer):
    """Puts values in the place of the attributes that are known."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Expr:
        """The value, if it is a known text."""
        self.generic_visit(node)
        owner = node.node.name if isinstance(node.node, nodes.Name) else ""
        value = self._known.get(owner, {}).get(node.attr)
        return nodes.Const(value, lineno=node.lineno) if isinstance(value, str) else node


def _joined(pieces: Iterable[str]) -> str:
    """`pieces` as one text, as long as it is no longer than it may be."""
    remaining = iter(pieces)
    written = ""
    while some := list(islice(remaining, _AT_A_TIME)):
        written += "".join(some)
        if len(written) > LONGEST:
            raise RenderFailed(f"the message is longer than {LONGEST} characters")
        if len(some) < _AT_A_TIME:
            break
    return written


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` without the missing ones, so that a template finds them undefined."""
    return {
        name: value
        for name, value in values.items()
        # The last of these is NaN alone, which is not what it is.
        if value is not None and value is not pd.NA and value is not pd.NaT and value == value
    }


def row_template(text: str) -> Callable[[Mapping[str, str | None]], str]:
    """A function from a source's row to the value that `text` makes of it, compiled once.

    The template sees the row as `row`. A missing value is undefined: ``default`` replaces it, and
    using it bare raises `RenderFailed`, naming the column.

    Raises:
        ValueError: If `text` is not a template over `row`; the message says why.
    """
    problems = list(faults(text, frozenset({"row"})))
    if problems:
        raise ValueError("; ".join(f"found {p.found}; expected {p.expected}" for p in problems))
    program = Program.of(text, PLAIN)

    def value_of(row: Mapping[str, str | None]) -> str:
        return program.render({"row": present(row)})

    return value_of


def row_columns(text: str) -> frozenset[str]:
    """The columns that a row template cannot do without: those it names outside ``default``."""
    tree = PLAIN.parse(text)
    replaced = [f.node for f in tree.find_all(nodes.Filter) if f.name in ("default", "d")]
    named: dict[str, nodes.Expr] = {
        str(item.arg.value): item
        for item in tree.find_all(nodes.Getitem)
        if isinstance(item.node, nodes.Name) and isinstance(item.arg, nodes.Const)
    }
    named |= {
        item.attr: item
        for item in tree.find_all(nodes.Getattr)
        if isinstance(item.node, nodes.Name)
    }
    tested = [t.node for t in tree.find_all(nodes.Test) if t.name in ("defined", "undefined")]
    spared = [*replaced, *tested]
    return frozenset(name for name, item in named.items() if item not in spared)
