"""A message whose links and whose pixel tell us of their use.

Links are replaced in what a lead gets, after its template was filled in, so that the same send
always carries the same tokens. Not here: tokens (`links`), or where a click leads (`store.links`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape, unescape

from aicmo_dagster.domain.campaigns import Track
from aicmo_dagster.domain.links import click_token, link_name, open_token
from aicmo_dagster.domain.markdown import Rendered

_ANCHOR = re.compile(r'(<a\b[^>]*?\bhref=")(https?://[^"]*)(")', re.IGNORECASE)
_URL = re.compile(r"https?://[^\s<>\"]+")
_AFTER = ".,;:!?)'"
"""What may stand after a URL in a text without being part of it."""


@dataclass(frozen=True)
class Link:
    """Where a link leads, and the lead that its URL was made for, if it was made for one."""

    url: str
    lead_id: str | None = None


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
        self, message: Rendered, lead_id: str, step: str, shared: frozenset[str] = frozenset()
    ) -> Tracked:
        """`message` with each link by way of us but those that are ours, and a pixel at its end.

        Links are the double-quoted ``href`` of ``<a>`` with an http or https URL, as
        `domain.markdown` writes them; the text part's are the same URLs. What leads to our own
        pages, to unsubscribe above all, is never replaced.

        Args:
            message: As the lead would get it.
            lead_id: The lead.
            step: The step's id.
            shared: URLs that are the same for every lead, as `fixed_links` finds them.
        """
        html, text = message.html, message.text
        targets: dict[str, Link] = {}
        if self.track.clicks:
            linked: dict[str, str] = {}

            def replaced(found: re.Match[str]) -> str:
                url = unescape(found[2])
                if url not in linked and not url.startswith(self._ours):
                    owner = None if url in shared else lead_id
                    name = link_name(self.key, self.campaign, url, owner or "")
                    token = click_token(self.key, self.campaign, lead_id, step, name)
                    targets[name] = Link(url, owner)
                    linked[url] = f"{self.public_url}/t/c/{token}"
                return f"{found[1]}{escape(linked[url])}{found[3]}" if url in linked else found[0]

            html = _ANCHOR.sub(replaced, html)
            text = _in_text(text, linked) if linked else text
        if self.track.opens:
            html = self._with_pixel(html, lead_id, step)
        return Tracked(Rendered(message.subject, text, html), targets)

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


def fixed_links(html: str) -> frozenset[str]:
    """The URLs that links in the source of a template have whoever gets the message."""
    found = (unescape(link[2]) for link in _ANCHOR.finditer(html))
    return frozenset(url for url in found if "{{" not in url and "{%" not in url)


def _in_text(text: str, linked: Mapping[str, str]) -> str:
    """`text` with the URLs of `linked` replaced where they stand whole."""

    def replaced(found: re.Match[str]) -> str:
        url, after = found[0], ""
        while url not in linked and url[-1] in _AFTER:
            url, after = url[:-1], url[-1] + after
        return linked.get(url, url) + after

    return _URL.sub(replaced, text)
