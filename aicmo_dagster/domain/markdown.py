"""A message's subject and Markdown body compiled into a template, with the footer it owes the lead.

Not here: the language of the tags (`sandbox`), reading Markdown (`bodies`), or MIME (`mail`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType

from jinja2 import nodes

from aicmo_dagster.domain.bodies import convert
from aicmo_dagster.domain.sandbox import ESCAPING, PLAIN, Columns
from aicmo_dagster.domain.template_faults import template_problems
from aicmo_dagster.domain.templates import Known, Program, present
from aicmo_dagster.errors import BadInput

_ADDRESS = """---

{{ sender.name }}, {{ sender.postal_address | on_one_line }}
"""
_UNSUBSCRIBE = "[Unsubscribe]({{ unsubscribe_url }})"
_DOCUMENT = (
    '<!DOCTYPE html>\n<html>\n<head><meta charset="utf-8"></head>\n<body>\n',
    "</body>\n</html>\n",
)
_BLANK_LINES = re.compile(r"\n{3,}")
_SPACES_AT_END = re.compile(r"[ \t]+\n")
_EMPTY_PARAGRAPHS = re.compile(r"<p>\s*</p>\n?")


@dataclass(frozen=True)
class Rendered:
    """A message as one lead gets it."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class MessageTemplate:
    """The subject and the two parts of a message, compiled; `source` is what `html` is made of."""

    subject: Program
    text: Program
    html: Program
    source: str = ""

    @cached_property
    def needed(self) -> frozenset[str]:
        """The tokens that the message may show."""
        return self.subject.needed | self.text.needed | self.html.needed

    def render(self, tokens: Mapping[str, object]) -> Rendered:
        """The message for `tokens`; a token that is None or NA counts as missing.

        Raises:
            RenderFailed: If a token without a default is missing, or the template cannot be run.
        """
        values = present({name: tokens[name] for name in self.needed if name in tokens})
        if "custom" in self.needed:
            custom = values.get("custom")
            values["custom"] = Columns(present(custom) if isinstance(custom, Mapping) else {})
        text = self.text.render(values)
        if " \n" in text or "\t\n" in text:
            text = _SPACES_AT_END.sub("\n", text)
        if "\n\n\n" in text:
            text = _BLANK_LINES.sub("\n\n", text)
        text = text.strip("\n")
        html = _EMPTY_PARAGRAPHS.sub("", self.html.render(values))
        return Rendered(" ".join(self.subject.render(values).split()), f"{text}\n", html)


def compile_message(
    subject: str, body: str, known: Known = MappingProxyType({})
) -> MessageTemplate:
    """The template of a message: a subject of one line, a Markdown body, and its footer.

    The footer gives the sender's postal address, and a link to unsubscribe by unless the body
    always shows ``unsubscribe_url`` itself. What was asked for last is kept: each pass of sending
    asks for the same.

    Args:
        subject: A Jinja template.
        body: Markdown with Jinja tags.
        known: Tokens that are the same for every lead, as `Program.of` takes them.

    Raises:
        BadInput: If `template_problems` finds any.
    """
    shared = tuple((name, tuple(parts.items())) for name, parts in known.items())
    return _compiled(subject, body, shared)


@lru_cache(maxsize=256)
def _compiled(
    subject: str, body: str, shared: tuple[tuple[str, tuple[tuple[str, object], ...]], ...]
) -> MessageTemplate:
    problems = template_problems(subject, "template", "subject")
    problems += template_problems(body, "template", "body")
    if problems:
        raise BadInput(*problems)
    known = {name: dict(parts) for name, parts in shared}
    footer = _ADDRESS if _always_links_out(PLAIN.parse(body)) else f"{_ADDRESS}\n{_UNSUBSCRIBE}\n"
    parts = [convert(source, PLAIN) for source in (body, footer)]
    html = "".join(part.html for part in parts).join(_DOCUMENT)
    return MessageTemplate(
        subject=Program.of(subject, PLAIN, known),
        text=Program.of("\n".join(part.text for part in parts), PLAIN, known),
        html=Program.of(html, ESCAPING, known),
        source=html,
    )


def _always_links_out(tree: nodes.Template) -> bool:
    """Whether the message shows ``unsubscribe_url`` whatever the lead's values are."""
    shown = [
        node for output in tree.body if isinstance(output, nodes.Output) for node in output.nodes
    ]
    return any(isinstance(node, nodes.Name) and node.name == "unsubscribe_url" for node in shown)
