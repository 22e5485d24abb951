"""What can be wrong with a template, told before any lead gets to see it.

Not here: the language (`sandbox`), or running a template (`templates`).
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import TemplateSyntaxError, meta, nodes

from aicmo_dagster.domain.bodies import MOST_TAGS, torn_tags
from aicmo_dagster.domain.sandbox import FILTERS, PLAIN
from aicmo_dagster.domain.schemas import field_kinds
from aicmo_dagster.errors import Problem

TOKENS = frozenset({*field_kinds(), "custom", "sender", "campaign", "unsubscribe_url"})
"""The names a message may use."""

_PARTS = {
    "sender": frozenset({"name", "address", "postal_address"}),
    "campaign": frozenset({"key", "name"}),
}
_DEEPEST_LOOP = 2
_STATEMENTS = (
    nodes.Output,
    nodes.If,
    nodes.For,
    nodes.Assign,
    nodes.AssignBlock,
    nodes.With,
    nodes.FilterBlock,
    nodes.Scope,
)


def template_problems(text: str, where: str, path: str) -> list[Problem]:
    """What is wrong with the subject or body `text`; none if it may be sent."""
    found = list(faults(text, TOKENS)) or list(_markdown_faults(text))
    return [fault.problem(where, path, many_lines="\n" in text) for fault in found]


@dataclass(frozen=True)
class Fault:
    """Something wrong, and on which line."""

    line: int
    found: str
    expected: str

    def problem(self, where: str, path: str, *, many_lines: bool) -> Problem:
        """As it is told of the template at `path` in the document `where`."""
        line = f"line {self.line}" if many_lines else ""
        return Problem(where, ", ".join(filter(None, (path, line))), self.found, self.expected)


def faults(text: str, names: frozenset[str]) -> Iterator[Fault]:
    """What keeps `text` from being a template that uses no other names than `names`."""
    try:
        tree = PLAIN.parse(text)
    except TemplateSyntaxError as error:
        yield Fault(error.lineno, str(error.message), "a Jinja template")
        return
    found = [*_construct_faults(tree), *_loop_faults(tree, _DEEPEST_LOOP)]
    yield from found
    if not found:
        yield from _name_faults(tree, names)


def _construct_faults(tree: nodes.Template) -> Iterator[Fault]:
    """Tags, filters and tests that there are not."""
    for statement in tree.find_all(nodes.Stmt):
        if not isinstance(statement, _STATEMENTS):
            kind = (
                type(statement).__name__.lower().replace("scopedevalcontextmodifier", "autoescape")
            )
            expected = "if, for, set, with, filter or raw"
            yield Fault(statement.lineno, f"the tag {kind!r}", expected)
    for used in tree.find_all((nodes.Filter, nodes.Test)):
        kind = "filter" if isinstance(used, nodes.Filter) else "test"
        known = FILTERS if kind == "filter" else frozenset(PLAIN.tests)
        if used.name not in known:
            yield Fault(
                used.lineno, f"the unknown {kind} {used.name!r}", _nearest(used.name, known)
            )


def _loop_faults(node: nodes.Node, allowed: int) -> Iterator[Fault]:
    """Loops nested too deep, or that call themselves, which could run for ever."""
    for child in node.iter_child_nodes():
        if not isinstance(child, nodes.For):
            yield from _loop_faults(child, allowed)
        elif child.recursive or not allowed:
            yield Fault(child.lineno, "a loop within loops", f"at most {_DEEPEST_LOOP} of them")
        else:
            yield from _loop_faults(child, allowed - 1)


def _name_faults(tree: nodes.Template, names: frozenset[str]) -> Iterator[Fault]:
    """Names that a template may not use, or may not give away."""
    try:
        undeclared = meta.find_undeclared_variables(tree) - names
    except TemplateSyntaxError as error:
        yield Fault(error.lineno, str(error.message), "a Jinja template")
        return
    seen: set[str] = set()
    for name in tree.find_all(nodes.Name):
        if name.ctx == "store" and name.name in names:
            yield Fault(name.lineno, f"a new value for {name.name!r}", "a name of your own")
        elif name.name in undeclared - seen:
            seen.add(name.name)
            yield Fault(name.lineno, f"the unknown name {name.name!r}", _nearest(name.name, names))
    for part in tree.find_all(nodes.Getattr):
        known = _PARTS.get(part.node.name) if isinstance(part.node, nodes.Name) else None
        if known and part.attr not in known:
            shown = f"{part.node.name}.{part.attr}"  # type: ignore[attr-defined]
            yield Fault(part.lineno, f"the unknown name {shown!r}", _nearest(part.attr, known))


def _nearest(name: str, known: frozenset[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    allowed = ", ".join(sorted(known))
    return f"{near[0]!r} (allowed here: {allowed})" if near else f"one of: {allowed}"


def _markdown_faults(text: str) -> Iterator[Fault]:
    """Tags that Markdown takes apart."""
    if sum(text.count(mark) for mark in ("{{", "{%", "{#")) > MOST_TAGS:
        yield Fault(1, "too many tags", f"at most {MOST_TAGS}")
        return
    for torn in torn_tags(text, PLAIN):
        expected = "its end in the same paragraph, or both tags alone on their lines"
        yield Fault(torn.line, f"the tag {torn.keyword!r} and its end far apart", expected)
