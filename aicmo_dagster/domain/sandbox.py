"""The language of a campaign's templates: Jinja without a loader, Python or unbounded work.

A lead's value is only ever data: nothing reads it as a template. Whatever makes text is bounded, so
that no chain of filters and no doubling of a text with itself fills the memory. Not here: compiled
templates (`templates`), or what can be wrong with one (`template_faults`).
"""

import re
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import mdurl
from jinja2 import Undefined, UndefinedError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aicmo_dagster.errors import AicmoError

LONGEST = 1024 * 1024
"""Characters that one part of a message may have; a template that writes more is stopped."""

FILTERS = frozenset(
    {
        *("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first"),
        *("float", "int", "items", "join", "last", "length", "list", "lower", "map", "max"),
        *("min", "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr"),
        *("sort", "string", "striptags", "sum", "title", "trim", "truncate", "unique", "upper"),
        *("urlencode", "wordcount", "wordwrap"),
    }
)
"""Jinja's filters without those that draw lots, switch escaping off or pad to any width."""

CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""What no text of a message holds."""

_MOST_TURNS = 1000
_LINKED_SCHEMES = frozenset({"http", "https", "mailto", "tel"})
_PLAIN_URL = re.compile(r"[A-Za-z0-9/:._~-]*")
_REFUSED_METHODS = frozenset(
    {"center", "expandtabs", "format", "format_map", "join", "ljust", "replace", "rjust"}
    | {"translate", "zfill"}
)
"""Methods of text that make text of any length; for some there is a filter, which does not."""


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


class _Generator(CodeGenerator):
    """Compiles ``~`` so that its result is looked at, which the sandbox does not intercept."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        """The joined text, passed through `bounded`."""
        self.write("environment.bounded(")
        super().visit_Concat(node, frame)
        self.write(")")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja without a loader, without attributes of Python's own, without unbounded work."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    code_generator_class = _Generator

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(undefined=_Missing, autoescape=autoescape, finalize=_shown)
        self.globals = GLOBALS
        self.filters = {name: _bounding(self.filters[name]) for name in sorted(FILTERS)}
        for name, length in _LENGTHS.items():
            self.filters[name] = _foreseeing(self.filters[name], length)
        self.filters["link_target"], self.filters["link_part"] = _link_target, _link_part
        self.filters["on_one_line"] = _on_one_line
        if not autoescape:
            self.filters["e"] = self.filters["escape"] = str

    @staticmethod
    def bounded(value: Any) -> Any:
        """`value`, unless it is a text longer than any message may be."""
        if isinstance(value, str) and len(value) > LONGEST:
            raise RenderFailed(f"a text is longer than {LONGEST} characters")
        return value

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The item of a mapping before the method of the same name, since columns have any name."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Neither Python's own attributes nor methods that make text of any length."""
        if isinstance(obj, str) and attr in _REFUSED_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Nothing: `format` pads to any width, so that it is refused like the rest of its kind."""
        return

    def call(self, context: Any, called: Any, *args: Any, **named: Any) -> Any:
        """What `called` gives, which is no text longer than a message may be."""
        return self.bounded(super().call(context, called, *args, **named))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers of ordinary size; texts may be joined, not multiplied."""
        if operator == "+" and not all(isinstance(side, int | float) for side in (left, right)):
            return self.bounded(super().call_binop(context, operator, left, right))
        if not all(isinstance(side, int | float) and abs(side) < 1e12 for side in (left, right)):
            raise TypeError(f"{operator!r} takes two numbers of ordinary size")
        if operator == "**" and abs(right) > 64:
            raise OverflowError("an exponent over 64")
        return super().call_binop(context, operator, left, right)


def _bounding(filtering: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, whose result is looked at: a chain of filters grows by one of them at a time."""

    @wraps(filtering)
    def bounded(*args: Any, **named: Any) -> Any:
        return Sandbox.bounded(filtering(*args, **named))

    return bounded


def _foreseeing(filtering: Callable[..., Any], length: Callable[..., float]) -> Callable[..., Any]:
    """The filter, unless its result would be too long; `length` is asked before it is made."""

    @wraps(filtering)
    def foreseen(context: Any, *args: Any, **named: Any) -> Any:
        given = tuple(list(each) if isinstance(each, Iterator) else each for each in args)
        if length(*given, **named) > LONGEST:
            raise RenderFailed(f"a text is longer than {LONGEST} characters")
        return filtering(context, *given, **named)

    return foreseen


def _length_of_replaced(text: Any, old: Any, new: Any, count: int | None = None) -> float:
    """Of what `replace` makes, at most."""
    whole, found = str(text), str(old)
    times = whole.count(found) if count is None or count < 0 else count
    return len(whole) + times * max(len(str(new)) - len(found), 0)


def _length_of_joined(values: Any, d: Any = "", attribute: Any = None) -> float:
    """Of what `join` makes; of an attribute's values they are looked at after each other."""
    parts = [] if attribute is not None else [str(value) for value in values]
    return sum(map(len, parts)) + len(str(d)) * len(list(values))


def _length_of_wrapped(
    text: Any, width: int = 79, _break: bool = True, wrapstring: Any = None, *_: Any, **__: Any
) -> float:
    """Of what `wordwrap` makes, at most: a break after each word or width."""
    whole = str(text)
    return len(whole) + len(whole) * len(str(wrapstring or "\n"))


_LENGTHS: dict[str, Callable[..., float]] = {
    "replace": _length_of_replaced,
    "join": _length_of_joined,
    "wordwrap": _length_of_wrapped,
}


def _range(*bounds: int) -> range:
    turns = range(*bounds)
    if len(turns) > _MOST_TURNS:
        raise OverflowError(f"a range of more than {_MOST_TURNS}")
    return turns


def _shown(value: Any) -> Any:
    """`value` as it is written out, without control characters, its line ends plain.

    Whole floats lose their fraction; nothing is a missing value.
    """
    if isinstance(value, str):
        if value.isprintable():  # as nearly all are
            return value
        cleaned = CONTROLS.sub("", value.replace("\r\n", "\n").replace("\r", "\n"))
        return type(value)(cleaned)
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


def _on_one_line(value: object) -> str:
    """The lines of `value`, with commas between them."""
    return ", ".join(str(value).splitlines())


def _encoded(text: str, kept: str) -> str:
    return text if _PLAIN_URL.fullmatch(text) else mdurl.encode(text, kept)


GLOBALS: dict[str, Any] = {"range": _range}
"""The functions that a template may call."""

PLAIN = Sandbox(autoescape=False)
ESCAPING = Sandbox(autoescape=True)
