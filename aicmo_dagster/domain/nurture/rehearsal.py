"""What can be known to be wrong before the first message leaves: every template over every lead.

A fault of single leads is counted and holds these leads; one that most leads share, or that every
message has, keeps the campaign from starting. Not here: rendering itself (`domain.markdown`), or
asking the DNS (`mail.dns`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email

from aicmo_dagster.domain.campaigns import Campaign
from aicmo_dagster.domain.markdown import MessageTemplate, Rendered, compile_message
from aicmo_dagster.domain.sandbox import RenderFailed
from aicmo_dagster.errors import BadInput

MOST = 0.5
"""A fault that hits more than this share of the leads is the campaign's, not theirs."""

RESERVED = (".example", ".test", ".invalid", ".localhost", "example.com", "example.org")
"""Names that nobody can own (RFC 2606, RFC 6761): the DNS says nothing of them."""

_LINK = re.compile(r'\bhref="([^"]*)"')
_CODE = re.compile(r"<code\b.*?</code>", re.DOTALL)
_UNREAD = re.compile(r"\[[^\[\]]+\]\([^()<>]*\)")
"""A link as Markdown writes it that was read as text: a space in its URL is enough."""

_UNSUBSCRIBE = "https://rehearsal.invalid/u/token"
_HOST = re.compile(r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+|\[[0-9a-f:.]+\])", re.IGNORECASE)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Args:
        place: The message as sequence.step or sequence.step.variant, or the sender's domain.
        reason: What is wrong; it names no lead and quotes no value of one.
        leads: How many leads it hits; 0 where it has nothing to do with leads.
        blocks: Whether the campaign may not start with it.
    """

    place: str
    reason: str
    leads: int
    blocks: bool


@dataclass(frozen=True)
class Message:
    """One message that somebody may get, with the subject of its thread."""

    sequence: str
    step: str
    variant: str | None
    subject: str
    body: str

    @property
    def place(self) -> str:
        """Where it stands in the document."""
        return ".".join(filter(None, (self.sequence, self.step, self.variant)))


def messages_of(campaign: Campaign, templates: Mapping[str, str]) -> Iterator[Message]:
    """Every message of the campaign, in order; a body that is a file stands with its text."""
    for name, sequence in campaign.sequences.items():
        thread = ""
        for step in sequence.steps:
            for variant, subject, body in step.texts():
                text = templates.get(body, body) if body else ""
                yield Message(name, step.id, variant, subject or thread, text)
            thread = next((s for _, s, _ in step.texts() if s), thread)


@dataclass
class Rehearsal:
    """A campaign's messages, written to leads that never get them.

    Args:
        campaign: The document.
        templates: The texts of the files that it names.
    """

    campaign: Campaign
    templates: Mapping[str, str]
    leads: int = 0
    _compiled: list[tuple[Message, MessageTemplate]] = field(default_factory=list)
    _tried: Counter[str] = field(default_factory=Counter)
    _failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    _broken: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        for message in messages_of(self.campaign, self.templates):
            try:
                compiled = compile_message(message.subject, message.body)
            except BadInput as error:
                reasons = "; ".join(f"{p.path}: found {p.found}" for p in error.problems)
                self._broken.append(Fault(message.place, reasons, 0, blocks=True))
            else:
                self._compiled.append((message, compiled))
                if _UNREAD.search(_CODE.sub("", compiled.source)):
                    reason = "a link that Markdown does not read as one, such as with a space in it"
                    self._broken.append(Fault(message.place, reason, 0, blocks=True))

    def play(self, leads: Iterable[Mapping[str, Any]], sequences: Mapping[str, str]) -> None:
        """Every message is written to each lead that may get it, and what fails is counted.

        Args:
            leads: Each lead's fields, `custom` as a mapping.
            sequences: The sequence of those who are in one; the others may get any.
        """
        for lead in leads:
            self.leads += 1
            tokens = {**lead, **self._tokens()}
            own = sequences.get(str(lead["lead_id"]))
            for message, template in self._compiled:
                if own is None or own == message.sequence:
                    self._tried[message.place] += 1
                    for reason in self._faults(template, tokens):
                        self._failed[message.place, reason] += 1

    def faults(self) -> list[Fault]:
        """Everything found, what blocks first, then by how many leads it hits."""
        found = [
            Fault(place, reason, count, blocks=count > MOST * self._tried[place])
            for (place, reason), count in self._failed.items()
        ]
        return sorted([*self._broken, *found], key=lambda each: (not each.blocks, -each.leads))

    def _tokens(self) -> dict[str, Any]:
        sender = self.campaign.nurture.sender
        named = ("name", "address", "postal_address")
        return {
            "sender": {name: getattr(sender, name) for name in named},
            "campaign": {"key": self.campaign.campaign, "name": self.campaign.name},
            "unsubscribe_url": _UNSUBSCRIBE,
        }

    def _faults(self, template: MessageTemplate, tokens: Mapping[str, Any]) -> Iterator[str]:
        try:
            rendered = template.render(tokens)
        except RenderFailed as error:
            yield str(error)
            return
        if not rendered.subject:
            yield "the subject is empty"
        yield from _owed(rendered, self.campaign.nurture.sender.postal_address)
        links = dict.fromkeys(unescape(url) for url in _LINK.findall(rendered.html))
        yield from {fault for url in links if (fault := link_fault(url))}


def link_fault(url: str) -> str | None:
    """What is wrong with the form of a link; None if nothing is."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        named = _HOST.fullmatch(host.removesuffix(f":{parts.port}" if parts.port else ""))
    except ValueError:
        return "a link that is no address"
    if parts.scheme in ("http", "https"):
        return None if named else "a link without a host"
    if parts.scheme == "mailto":
        return None if _is_address(parts.path) else "a mailto: link without an address"
    if parts.scheme == "tel":
        return None if re.search(r"\d", parts.path) else "a tel: link without a number"
    return "a link that begins with neither http, https, mailto nor tel"


def domain_faults(
    domain: str,
    *,
    spf: Sequence[str],
    dmarc: Sequence[str],
    dkim: Sequence[str] | None = None,
) -> list[Fault]:
    """What the sender's domain lacks that receivers demand of bulk mail.

    Args:
        domain: The domain of the sender's address.
        spf: The texts at the domain.
        dmarc: The texts at `_dmarc` of the domain, or of the nearest domain above that has any.
        dkim: The texts at the selector's name; None where we do not sign.
    """
    policies = [text for text in spf if re.match(r"v=spf1(\s|$)", text, re.IGNORECASE)]
    demands = [text for text in dmarc if re.match(r"v=DMARC1\s*(;|$)", text)]
    reasons = []
    if len(policies) != 1:
        reasons.append(f"{len(policies) or 'no'} SPF records, where there must be one")
    elif re.search(r"\s\+?all\b", policies[0]):
        reasons.append("an SPF record that lets everyone send")
    if len(demands) != 1 or not re.search(r";\s*p\s*=\s*\w+", demands[0]):
        reasons.append("no DMARC record with a policy")
    if dkim is not None and not any(re.search(r"\bp\s*=\s*[A-Za-z0-9+/]", text) for text in dkim):
        reasons.append("no DKIM key at the selector that we sign with")
    return [Fault(domain, reason, 0, blocks=True) for reason in reasons]


def dmarc_names(domain: str) -> list[str]:
    """Where a DMARC record of the domain may stand, nearest first (the tree walk of DMARCbis)."""
    labels = domain.split(".")
    return [f"_dmarc.{'.'.join(labels[start:])}" for start in range(max(len(labels) - 1, 1))]


def _owed(rendered: Rendered, postal_address: str) -> Iterator[str]:
    """What the law demands of each message and this one lacks."""
    text = " ".join(rendered.text.split())
    if not all(" ".join(line.split()) in text for line in postal_address.splitlines()):
        yield "the postal address is missing"
    if _UNSUBSCRIBE not in rendered.text or _UNSUBSCRIBE not in unescape(rendered.html):
        yield "the unsubscribe link is missing"


def _is_address(text: str) -> bool:
    try:
        validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return False
    return True
