"""The language of a campaign's templates: sandboxed Jinja, the names it knows, what can be wrong.

A lead's value is only ever data: nothing reads it as a template. Not here: Markdown (`bodies`), or
the template of a whole message (`markdown`).
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import mdurl
import pandas as pd
from jinja2 import (
    Template,
    TemplateSyntaxError,
    Undefined,
    UndefinedError,
    meta,
    nodes,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aicmo_dagster.domain.bodies import MOST_TAGS, torn_tags
from aicmo_dagster.domain.schemas import field_kinds
from aicmo_dagster.errors import AicmoError, Problem

LONGEST = 1024 * 1024
"""Characters that one part of a message may have; a template that writes more is stopped."""

TOKENS = frozenset({*field_kinds(), "custom", "sender", "campaign", "unsubscribe_url"})
"""The names a message may use."""

_PARTS = {
    "sender": frozenset({"name", "address", "postal_address"}),
    "campaign": frozenset({"key", "name"}),
}
_MOST_TURNS = 1000
_DEEPEST_LOOP = 2
_FILTERS = frozenset(
    {
        *("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first"),
        *("float", "int", "items", "join", "last", "length", "list", "lower", "map", "max"),
        *("min", "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr"),
        *("sort", "string", "striptags", "sum", "title", "trim", "truncate", "unique", "upper"),
        *("urlencode", "wordcount", "wordwrap"),
    }
)
"""Jinja's filters without those that draw lots, switch escaping off or pad to any width."""
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
_LINKED_SCHEMES = frozenset({"http", "https", "mailto", "tel"})
_PLAIN_URL = re.compile(r"[A-Za-z0-9/:._~-]*")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PADDING = frozenset({"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"})


class RenderFailed(AicmoError, ValueError):
    """A template could not be rendered for one lead; names what is at fault, never its value."""

    def __init__(self, reason: str, token: str | None = None) -> None:
        super().__init__(reason)
        self.token = token


class Columns(dict[str, Any]):
    """The columns of a lead that are not ours."""


class _Missing(Undefined):
    """A missing value: false, equal to nothing, and an error as soon as it would be shown.

    So ``{% if city %}`` may ask for it, where Jinja's own strict kind fails. The error is its name.
    """

    __slots__ = ()
    __iter__ = __str__ = __len__ = __contains__ = Undefined._fail_with_undefined_error

    @property
    def _undefined_message(self) -> str:
        prefix = "custom." if isinstance(self._undefined_obj, Columns) else ""
        return str(self._undefined_hint or f"{prefix}{self._undefined_name}")


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja without a loader, without attributes of Python's own, without unbounded work."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(undefined=_Missing, autoescape=autoescape, finalize=_shown)
        self.globals = {"range": _range}
        self.filters = {name: self.filters[name] for name in sorted(_FILTERS)}
        self.filters["link_target"], self.filters["link_part"] = _link_target, _link_part
        if not autoescape:
            self.filters["e"] = self.filters["escape"] = str

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The item of a mapping before the method of the same name, since columns have any name."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Neither Python's own attributes nor methods that make text of any length."""
        if isinstance(obj, str) and attr in _PADDING:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Nothing: `format` pads to any width, so that it is refused like the rest of its kind."""
        return

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers of ordinary size; no text is multiplied or formatted."""
        if not all(isinstance(side, int | float) and abs(side) < 1e12 for side in (left, right)):
            raise TypeError(f"{operator!r} takes two numbers of ordinary size")
        if operator == "**" and abs(right) > 64:
            raise OverflowError("an exponent over 64")
        return super().call_binop(context, operator, left, right)


def _range(*bounds: int) -> range:
    turns = range(*bounds)
    if len(turns) > _MOST_TURNS:
        raise OverflowError(f"a range of more than {_MOST_TURNS}")
    return turns


def _shown(value: Any) -> Any:
    """`value` as it is written out: whole floats without a fraction; nothing is a missing value."""
    if value is None:
        raise UndefinedError("an expression that gives nothing")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _link_target(value: object) -> str:
    """`value` as the beginning of a link, which leads to a page, an address or a number only."""
    url = _encoded(str(value).strip(), ";/?:@&=+$,-_.!~*'()#[]")
    scheme, colon, _ = url.partition(":")
    if colon and "/" not in scheme and scheme.lower() not in _LINKED_SCHEMES:
        raise RenderFailed("a link's value begins with neither http, https, mailto nor tel")
    return url


def _link_part(value: object) -> str:
    """`value` within a link, encoded so that it stays in its part; twice is the same as once."""
    return _encoded(str(value), ";/:@+$,-_.!~*'()")


def _encoded(text: str, kept: str) -> str:
    return text if _PLAIN_URL.fullmatch(text) else mdurl.encode(text, kept)


PLAIN = _Sandbox(autoescape=False)
ESCAPING = _Sandbox(autoescape=True)


@dataclass(frozen=True)
class Program:
    """A compiled template and the names that stand in it, which errors may repeat."""

    template: Template
    names: frozenset[str]

    @classmethod
    def of(cls, source: str, language: _Sandbox) -> "Program":
        """`source` compiled."""
        tree = language.parse(source)
        names = {name.name for name in tree.find_all(nodes.Name)}
        names |= {part.attr for part in tree.find_all(nodes.Getattr)}
        names |= {str(const.value) for const in tree.find_all(nodes.Const)}
        return cls(language.from_string(source), frozenset(names))

    def render(self, values: Mapping[str, object]) -> str:
        """What the template writes for `values`, without control characters."""
        try:
            written = "".join(self._pieces(values))
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
        return _CONTROLS.sub("", written.replace("\r\n", "\n").replace("\r", "\n"))

    def _pieces(self, values: Mapping[str, object]) -> Iterator[str]:
        length = 0
        for piece in self.template.generate(values):
            length += len(piece)
            if length > LONGEST:
                raise RenderFailed(f"the message is longer than {LONGEST} characters")
            yield piece


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` without the missing ones, so that a template finds them undefined."""
    return {name: value for name, value in values.items() if not _is_missing(value)}


def _is_missing(value: object) -> bool:
    gone = value is None or value is pd.NA or value is pd.NaT
    return gone or (isinstance(value, float) and value != value)


def row_template(text: str) -> Callable[[Mapping[str, str | None]], str]:
    """A function from a source's row to the value that `text` makes of it, compiled once.

    The template sees the row as `row`. A missing value is undefined: ``default`` replaces it, and
    using it bare raises `RenderFailed`, naming the column.

    Raises:
        ValueError: If `text` is not a template over `row`; the message says why.
    """
    problems = list(_faults(text, frozenset({"row"})))
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


def template_problems(text: str, where: str, path: str) -> list[Problem]:
    """What is wrong with the subject or body `text`; none if it may be sent."""
    faults = list(_faults(text, TOKENS)) or list(_markdown_faults(text))
    return [fault.problem(where, path, many_lines="\n" in text) for fault in faults]


@dataclass(frozen=True)
class _Fault:
    line: int
    found: str
    expected: str

    def problem(self, where: str, path: str, *, many_lines: bool) -> Problem:
        line = f"line {self.line}" if many_lines else ""
        return Problem(where, ", ".join(filter(None, (path, line))), self.found, self.expected)


def _faults(text: str, names: frozenset[str]) -> Iterator[_Fault]:
    """What keeps `text` from being a template that uses no other names than `names`."""
    try:
        tree = PLAIN.parse(text)
    except TemplateSyntaxError as error:
        yield _Fault(error.lineno, str(error.message), "a Jinja template")
        return
    found = [*_construct_faults(tree), *_loop_faults(tree, _DEEPEST_LOOP)]
    yield from found
    if not found:
        yield from _name_faults(tree, names)


def _construct_faults(tree: nodes.Template) -> Iterator[_Fault]:
    """Tags, filters and tests that there are not."""
    for statement in tree.find_all(nodes.Stmt):
        if not isinstance(statement, _STATEMENTS):
            kind = (
                type(statement).__name__.lower().replace("scopedevalcontextmodifier", "autoescape")
            )
            expected = "if, for, set, with, filter or raw"
            yield _Fault(statement.lineno, f"the tag {kind!r}", expected)
    for used in tree.find_all((nodes.Filter, nodes.Test)):
        kind = "filter" if isinstance(used, nodes.Filter) else "test"
        known = _FILTERS if kind == "filter" else frozenset(PLAIN.tests)
        if used.name not in known:
            yield _Fault(
                used.lineno, f"the unknown {kind} {used.name!r}", _nearest(used.name, known)
            )


def _loop_faults(node: nodes.Node, allowed: int) -> Iterator[_Fault]:
    """Loops nested too deep, or that call themselves, which could run for ever."""
    for child in node.iter_child_nodes():
        if not isinstance(child, nodes.For):
            yield from _loop_faults(child, allowed)
        elif child.recursive or not allowed:
            yield _Fault(child.lineno, "a loop within loops", f"at most {_DEEPEST_LOOP} of them")
        else:
            yield from _loop_faults(child, allowed - 1)


def _name_faults(tree: nodes.Template, names: frozenset[str]) -> Iterator[_Fault]:
    """Names that a template may not use, or may not give away."""
    try:
        undeclared = meta.find_undeclared_variables(tree) - names
    except TemplateSyntaxError as error:
        yield _Fault(error.lineno, str(error.message), "a Jinja template")
        return
    seen: set[str] = set()
    for name in tree.find_all(nodes.Name):
        if name.ctx == "store" and name.name in names:
            yield _Fault(name.lineno, f"a new value for {name.name!r}", "a name of your own")
        elif name.name in undeclared - seen:
            seen.add(name.name)
            yield _Fault(name.lineno, f"the unknown name {name.name!r}", _nearest(name.name, names))
    for part in tree.find_all(nodes.Getattr):
        known = _PARTS.get(part.node.name) if isinstance(part.node, nodes.Name) else None
        if known and part.attr not in known:
            shown = f"{part.node.name}.{part.attr}"  # type: ignore[attr-defined]
            yield _Fault(part.lineno, f"the unknown name {shown!r}", _nearest(part.attr, known))


def _nearest(name: str, known: frozenset[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    allowed = ", ".join(sorted(known))
    return f"{near[0]!r} (allowed here: {allowed})" if near else f"one of: {allowed}"


def _markdown_faults(text: str) -> Iterator[_Fault]:
    """Tags that Markdown takes apart."""
    if sum(text.count(mark) for mark in ("{{", "{%", "{#")) > MOST_TAGS:
        yield _Fault(1, "too many tags", f"at most {MOST_TAGS}")
        return
    for torn in torn_tags(text, PLAIN):
        expected = "its end in the same paragraph, or both tags alone on their lines"
        yield _Fault(torn.line, f"the tag {torn.keyword!r} and its end far apart", expected)
