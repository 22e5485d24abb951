"""A message's body, Markdown with Jinja tags, turned once into Jinja sources of its HTML and text.

The tags stand aside as private-use characters while Markdown is read, and are put back afterwards,
so that Markdown is never read out of a lead's value. A tag alone on a line is a block of its own.
Indented code is off, since authors indent within tags; fenced code is on, raw HTML is not. Not
here: the language of the tags (`sandbox`), or the compiled message (`markdown`).
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from itertools import chain
from typing import Literal

import inscriptis
import mdurl
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig
from jinja2 import Environment
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

Kind = Literal["value", "open", "middle", "close", "other"]

MOST_TAGS = 10_000
"""Tags that one body may hold, well below the private-use characters there are."""

_VALUES, _BLOCKS = 0xF0000, 0x100000
_VALUE = re.compile("[\U000f0000-\U000ffffd]")
_BLOCK = re.compile("[\U00100000-\U0010fffd]")
_TAG = re.compile("[\U000f0000-\U0010fffd]")
_TAGS_ALONE = re.compile("^[ \t]*((?:[\U00100000-\U0010fffd][ \t]*)+)\n", re.MULTILINE)
_HTML_OR_BLOCK = re.compile("<(/?)([a-z0-9]+)[^>]*?(/?)>|[\U00100000-\U0010fffd]")
_LINK = re.compile(r'<a href="([^"]*)"[^>]*>(.*?)</a>', re.DOTALL)
_TARGET = re.compile(r'(?:(?<= href=")|(?<= src="))[^"]+')
_PAIRED = frozenset({"if", "for", "with", "filter"})
_AS_TEXT = ParserConfig(css=CSS_PROFILES["strict"].copy(), display_images=True)


@dataclass(frozen=True)
class Tag:
    """A Jinja tag as it is put back, with the line it stands on."""

    source: str
    line: int
    kind: Kind = "other"
    keyword: str = ""


@dataclass(frozen=True)
class Parts:
    """The Jinja sources of the two parts of a message, without a document around the HTML."""

    html: str
    text: str


@dataclass(frozen=True)
class Torn:
    """A tag whose end stands in another paragraph, list or link than its beginning."""

    line: int
    keyword: str


class _Body:
    """A body with its tags set aside."""

    def __init__(self, source: str, language: Environment) -> None:
        self.tags: dict[str, Tag] = {}
        self.marked = "".join(self._marked(_TAG.sub("", source), language))
        self.html = self._html()

    def restored(self, marked: str) -> str:
        """`marked` with its tags put back."""
        return _TAG.sub(lambda found: self.tags[found[0]].source, marked)

    def kinds(self, marks: str) -> Iterator[Tag]:
        """The block tags that `marks` stand for."""
        return (self.tags[mark] for mark in _BLOCK.findall(marks))

    def _keep(self, tag: Tag) -> str:
        first = _VALUES if tag.kind == "value" else _BLOCKS
        mark = chr(first + len(self.tags))
        self.tags[mark] = tag
        return mark

    def _marked(self, source: str, language: Environment) -> Iterator[str]:
        for kind, line, tokens in _pieces(source, language):
            content = "".join(value for _, value in tokens)
            if kind == "data":
                yield content
            elif kind == "variable":
                yield self._keep(Tag(f"{{{{ {content.strip()} }}}}", line, "value"))
            elif kind == "raw":
                literal = json.dumps(content, ensure_ascii=False)
                yield self._keep(Tag(f"{{{{ {literal} }}}}", line, "value"))
            elif kind == "comment":
                yield self._keep(Tag("", line))
            else:
                yield self._keep(_block_tag(content, line, tokens))

    def _html(self) -> str:
        tokens = _MARKDOWN.parse(self.marked)
        html = _MARKDOWN.renderer.render(self._with_joined_lists(tokens), _MARKDOWN.options, {})
        # A brace that is no tag must not become one: Markdown's escapes can bring two together.
        return _TARGET.sub(lambda found: self._safe_target(found[0]), html.replace("{", "&#123;"))

    def _safe_target(self, url: str) -> str:
        """`url` with its values passed through the filter for links: all of it, or a part of it."""

        def guarded(found: re.Match[str]) -> str:
            tag = self.tags[found[0]]
            leads = not _BLOCK.sub("", url[: found.start()])
            expression = tag.source.removeprefix("{{").removesuffix("}}").strip()
            name = "link_target" if leads else "link_part"
            return self._keep(Tag(f"{{{{ ({expression}) | {name} }}}}", tag.line, "value"))

        return _VALUE.sub(guarded, url)

    def _with_joined_lists(self, tokens: Sequence[Token]) -> list[Token]:
        """`tokens` with lists made one that only tags separate, as far as those tags are paired."""
        joined: list[Token] = []
        run: list[list[Token]] = []
        for unit in _units(tokens):
            first = unit[0]
            if _is_list(unit):
                unit = [first, *self._with_joined_lists(unit[1:-1]), unit[-1]]
            joinable = first.type == "jinja" or _is_list(unit)
            others = [other[0] for other in run if _is_list(other)]
            if not joinable or any(_is_list(unit) and not _alike(first, o) for o in others):
                joined += self._as_one_list(run)
                run = []
            if joinable:
                run.append(unit)
            else:
                joined += unit
        return joined + self._as_one_list(run)

    def _as_one_list(self, run: list[list[Token]]) -> list[Token]:
        """The units of `run`, the widest span of them that can be one list made one."""
        count = len(run)
        spans = ((i, j) for i in range(count) for j in range(count, i, -1))
        start, end = next((s for s in spans if self._can_be_one(run[slice(*s)])), (0, 0))
        lists = [unit for unit in run[start:end] if _is_list(unit)]
        middle = [token for unit in run[start:end] for token in (unit[1:-1] or unit)]
        if lists:
            middle = [lists[0][0], *middle, lists[-1][-1]]
        return [*chain(*run[:start]), *middle, *chain(*run[end:])]

    def _can_be_one(self, span: list[list[Token]]) -> bool:
        """Whether the tags in `span` are paired, and it is worth joining."""
        tags = [tag for unit in span for tag in self.kinds(unit[0].content)]
        depth = 0
        for tag in tags:
            if tag.kind in ("middle", "close") and depth == 0:
                return False
            depth += {"open": 1, "close": -1}.get(tag.kind, 0)
        lists = sum(map(_is_list, span))
        loop = not _is_list(span[0]) and tags[0].keyword == "for"
        return depth == 0 and (lists > 1 or (lists == 1 and loop))


def convert(source: str, language: Environment) -> Parts:
    """The two parts that `source` becomes, as Jinja sources; `source` must be valid Jinja."""
    body = _Body(source, language)
    text = inscriptis.get_text(_for_text(body.html), _AS_TEXT).strip("\n")
    text = _TAGS_ALONE.sub(r"\1", f"{text}\n").replace("{", "{{ '{' }}")
    return Parts(body.restored(body.html), body.restored(text))


def torn_tags(source: str, language: Environment) -> list[Torn]:
    """The tags that would leave broken HTML in one of their branches."""
    body = _Body(source, language)
    torn: list[Torn] = []
    open_tags: list[tuple[Tag, tuple[str, ...]]] = []
    for tag, place in _places(body):
        if tag.kind == "open":
            open_tags.append((tag, place))
        elif tag.kind in ("middle", "close"):
            if not open_tags:
                torn.append(Torn(tag.line, tag.keyword))
                continue
            if open_tags[-1][1] != place:
                torn.append(Torn(open_tags[-1][0].line, open_tags[-1][0].keyword))
            if tag.kind == "close":
                open_tags.pop()
    return [*dict.fromkeys([*torn, *(Torn(tag.line, tag.keyword) for tag, _ in open_tags)])]


def _places(body: _Body) -> Iterator[tuple[Tag, tuple[str, ...]]]:
    """Each block tag with the names of the HTML elements that are open around it."""
    around: list[str] = []
    for found in _HTML_OR_BLOCK.finditer(body.html):
        if found[2] is None:
            yield body.tags[found[0]], tuple(around)
            continue
        for tag in body.kinds(found[0]):
            yield tag, (*around, f"<{found[2]}>")
        if found[1]:
            around.pop()
        elif not found[3]:
            around.append(found[2])


def _pieces(source: str, language: Environment) -> Iterator[tuple[str, int, list[tuple[str, str]]]]:
    """(data, variable, block, comment or raw; line; tokens) of `source`, delimiters left out."""
    inside, start = "", 1
    tokens: list[tuple[str, str]] = []
    for line, kind, value in language.lex(source):
        if not inside and kind == "data":
            yield kind, line, [(kind, value)]
        elif kind.endswith("_begin"):
            inside, start, tokens = kind.removesuffix("_begin"), line, []
        elif kind == f"{inside}_end":
            yield inside, start, tokens
            inside = ""
        else:
            tokens.append((kind, value))


def _block_tag(content: str, line: int, tokens: list[tuple[str, str]]) -> Tag:
    keyword = next((value for kind, value in tokens if kind == "name"), "")
    assigns_block = keyword == "set" and ("operator", "=") not in tokens
    kind: Kind = "other"
    if keyword in _PAIRED or assigns_block:
        kind = "open"
    elif keyword in ("else", "elif"):
        kind = "middle"
    elif keyword.startswith("end"):
        kind = "close"
    return Tag(f"{{% {content.strip()} %}}", line, kind, keyword)


def _for_text(html: str) -> str:
    """`html` in the words of a text part: links with their targets, rules and code as typed."""
    html = _LINK.sub(_spelled_link, html).replace("<hr />", "<p>---</p>")
    html = re.sub(r"<pre><code[^>]*>(.*?)</code></pre>", r"<pre>\1</pre>", html, flags=re.DOTALL)
    return f"<html><body>{html}</body></html>"


def _spelled_link(found: re.Match[str]) -> str:
    target, label = found[1], found[2]
    bare = unescape(re.sub(r"<[^>]*>", "", label))
    same = unescape(target).removeprefix("mailto:") == bare
    return label if same else f"{label} ({target})"


def _units(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """`tokens` one by one, but each list as a whole."""
    position = 0
    while position < len(tokens):
        token, end = tokens[position], position + 1
        if token.type.endswith("_list_open"):
            while tokens[end].level != token.level or tokens[end].nesting != -1:
                end += 1
            end += 1
        yield list(tokens[position:end])
        position = end


def _is_list(unit: list[Token]) -> bool:
    return unit[0].type.endswith("_list_open")


def _alike(one: Token, other: Token) -> bool:
    return (one.type, one.markup) == (other.type, other.markup)


def _tags_alone(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A block rule for Markdown: a line of nothing but block tags."""
    line = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    if not line.strip() or _BLOCK.sub("", line).strip():
        return False
    if not silent:
        state.line = start + 1
        token = state.push("jinja", "", 0)
        token.content = line.strip()
        token.map = [start, state.line]
    return True


def _render_tags(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    return f"{tokens[index].content}\n"


def _normal_link(url: str) -> str:
    """`url` percent-encoded, its tags left as they are."""
    encoded = mdurl.encode(url)
    return re.sub(
        r"%F[34](?:%[89AB][0-9A-F]){3}",
        lambda found: _decoded_tag(found[0]),
        encoded,
    )


def _decoded_tag(escape: str) -> str:
    character = bytes.fromhex(escape.replace("%", "")).decode()
    return character if _TAG.match(character) else escape


def _make_markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "linkify": False}).disable("code")
    interrupted: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    markdown.block.ruler.before("fence", "jinja", _tags_alone, interrupted)
    markdown.add_render_rule("jinja", _render_tags)
    markdown.normalizeLink = _normal_link  # type: ignore[method-assign]
    return markdown


_MARKDOWN = _make_markdown()
