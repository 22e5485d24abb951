"""A message whose links and whose pixel tell us of their use.

Links are replaced in what a lead gets, after its template was filled in, so that the same send
always carries the same tokens. Not here: tokens (`links`), or where a click leads (`store.links`).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from html import escape, unescape

from aicmo_dagster.domain.links import click_token, link_name, open_token
from aicmo_dagster.domain.markdown import Rendered
from aicmo_dagster.domain.sections.nurture import Track

_ANCHOR = re.compile(r'(<a\b[^>]*?\bhref=")(https?://[^"]*)(")', re.IGNORECASE)
_URL = re.compile(r"https?://[^\s<>\"]+")
_HREF = re.compile(r'\bhref="([^"]*)"', re.IGNORECASE)
_OURS = "{{ (unsubscribe_url) | link_target }}"
_TURNED = re.compile(r"\{%[-+]?\s*(?:block|call|filter|macro|set)\b")
"""Tags through which what stands in a template may come out as something else."""
_AFTER = ".,;:!?)'"
"""What may stand after a URL in a text without being part of it."""


@dataclass(frozen=True)
class Link:
    """Where a link leads, and the lead that its URL was made for, if it was made for one."""

    url: str
    lead_id: str | None = None


@dataclass(frozen=True)
class FixedLinks:
    """Links of a template that lead to the same place whoever gets the message.

    Args:
        urls: What they are, as HTML writes them, and what that means.
        are_all: Whether there are no other links that could be replaced.
    """

    urls: Mapping[str, str] = field(default_factory=dict)
    are_all: bool = False


NO_LINKS = FixedLinks()
"""Of a template of which nothing is known."""


@dataclass(frozen=True)
class Tracked:
    """A message with its links replaced, and where each leads by its name."""

    message: Rendered
    targets: Mapping[str, Link]


@dataclass(frozen=True)
class Tracker:
    """Puts the tokens of one campaign's sends into their messages.

    Args:
        key: The installation's secret key.
        public_url: Where the public service is reached, without a slash at the end.
        campaign: The campaign's key.
        track: What the campaign asks to know.
    """

    key: bytes = field(repr=False)
    public_url: str
    campaign: str
    track: Track

    def tracked(
        self, message: Rendered, lead_id: str, step: str, fixed: FixedLinks = NO_LINKS
    ) -> Tracked:
        """`message` with each link by way of us but those that are ours, and a pixel at its end.

        Links are the double-quoted ``href`` of ``<a>`` with an http or https URL, as
        `domain.markdown` writes them; the text part's are the same URLs. What leads to our own
        pages, to unsubscribe above all, is never replaced.

        Args:
            message: As the lead would get it.
            lead_id: The lead.
            step: The step's id.
            fixed: The links that are the same for every lead, as `fixed_links` finds them.
        """
        html, text = message.html, message.text
        links = _Links(self, lead_id, step)
        if self.track.clicks:
            html = links.in_html(html, fixed)
            text = _in_text(text, links.linked) if links.linked else text
        if self.track.opens:
            html = self._with_pixel(html, lead_id, step)
        return Tracked(Rendered(message.subject, text, html), links.targets)

    def is_ours(self, url: str) -> bool:
        """Whether `url` leads to a page of ours."""
        return url.startswith(self._ours)

    @cached_property
    def _ours(self) -> tuple[str, str]:
        return f"{self.public_url}/u/", f"{self.public_url}/t/"

    @cached_property
    def _pixels(self) -> str:
        return f"{escape(self.public_url)}/t/o/"

    def _with_pixel(self, html: str, lead_id: str, step: str) -> str:
        token = open_token(self.key, self.campaign, lead_id, step)
        image = f'<img src="{self._pixels}{token}" width="1" height="1" alt="">'
        end = html.rfind("</body>")
        return f"{html[:end]}{image}{html[end:]}" if end >= 0 else html + image


class _Links:
    """The links of one message that go by way of us: what stands for each, and where it leads."""

    def __init__(self, tracker: Tracker, lead_id: str, step: str) -> None:
        self._tracker, self._lead_id, self._step = tracker, lead_id, step
        self.linked: dict[str, str] = {}
        self.targets: dict[str, Link] = {}

    def in_html(self, html: str, fixed: FixedLinks) -> str:
        """`html` with each link replaced that is not ours."""
        if not fixed.are_all:
            return _ANCHOR.sub(partial(self._replaced, set(fixed.urls.values())), html)
        for written, url in fixed.urls.items():
            place = f'href="{written}"'
            if place in html and not self._tracker.is_ours(url):
                html = html.replace(place, f'href="{escape(self._by_way_of_us(url, None))}"')
        return html

    def _replaced(self, fixed: Collection[str], found: re.Match[str]) -> str:
        """The beginning of an anchor, its URL replaced unless it is ours."""
        url = unescape(found[2])
        if self._tracker.is_ours(url):
            return found[0]
        owner = None if url in fixed else self._lead_id
        return f"{found[1]}{escape(self._by_way_of_us(url, owner))}{found[3]}"

    def _by_way_of_us(self, url: str, owner: str | None) -> str:
        """What stands for `url`, which was made for the lead `owner`, or for everybody."""
        if url not in self.linked:
            key, campaign = self._tracker.key, self._tracker.campaign
            name = link_name(key, campaign, url, owner or "")
            token = click_token(key, campaign, self._lead_id, self._step, name)
            self.targets[name] = Link(url, owner)
            self.linked[url] = f"{self._tracker.public_url}/t/c/{token}"
        return self.linked[url]


def fixed_links(html: str) -> FixedLinks:
    """The links in the source of a template that are the same whoever gets the message."""
    found = [link[2] for link in _ANCHOR.finditer(html)]
    fixed = {url: unescape(url) for url in found if not _has_tag(url)}
    others = [url for url in _HREF.findall(html) if url not in fixed and url != _OURS]
    are_all = not any(_has_tag(url) for url in others) and not _TURNED.search(html)
    return FixedLinks(fixed, are_all)


def _has_tag(url: str) -> bool:
    return "{{" in url or "{%" in url


def _in_text(text: str, linked: Mapping[str, str]) -> str:
    """`text` with the URLs of `linked` replaced where they stand whole."""

    def replaced(found: re.Match[str]) -> str:
        url, after = found[0], ""
        while url not in linked and url[-1] in _AFTER:
            url, after = url[:-1], url[-1] + after
        return linked.get(url, url) + after

    return _URL.sub(replaced, text)
