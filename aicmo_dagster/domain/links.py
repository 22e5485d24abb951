"""Links in a message that tell us of their use: tokens for opens and clicks, and putting them in.

A token names a send and carries a signature that nobody else can make. Where a click leads is not
in it: that is looked up by the link's name (`store.links`), so that no token can send anyone
elsewhere. Not here: names of leads and addresses (`tokens`), serving the links (`api`).
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from html import escape, unescape

from aicmo_dagster.domain.tokens import unsubscribe_token

LONGEST = 512
"""Characters that no token of ours has."""

_ANCHOR = re.compile(r'(<a\b[^>]*?\bhref=")(https?://[^"]*)(")', re.IGNORECASE)
_END = re.compile(r"</body\s*>(?![\s\S]*</body)", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """What a token names: a lead of a campaign and, but for unsubscribing, a step and a link."""

    campaign: str
    lead_id: str
    step: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class Tracked:
    """A message's HTML with its links replaced, and where each link leads by its name."""

    html: str
    targets: dict[str, str]


def open_token(key: bytes, campaign: str, lead_id: str, step: str) -> str:
    """What the open pixel of a send carries."""
    return _token(key, "open", campaign, lead_id, step)


def click_token(key: bytes, campaign: str, lead_id: str, step: str, link: str) -> str:
    """What a link of a send carries; `link` is from `link_name`."""
    return _token(key, "click", campaign, lead_id, step, link)


def link_name(key: bytes, campaign: str, url: str) -> str:
    """The name that `url` is kept under in a campaign: the same URL always has the same."""
    return _base64(_digest(key, "link", campaign, url)[:12])


def read_open_token(key: bytes, token: str) -> Place | None:
    """The send that the token of a pixel names; nothing unless we made it with `key`."""
    return _read(key, "open", 3, token)


def read_click_token(key: bytes, token: str) -> Place | None:
    """The send and link that a click's token names; nothing unless we made it with `key`."""
    return _read(key, "click", 4, token)


def read_unsubscribe_token(key: bytes, token: str) -> Place | None:
    """The lead that a token from `tokens.unsubscribe_token` names; nothing if it is not from it."""
    parts = _named(token)
    if len(parts) != 2:
        return None
    made = unsubscribe_token(key, *parts)
    return Place(*parts) if _same(made, token) else None


def tracked(
    html: str, *, key: bytes, public_url: str, campaign: str, lead_id: str, step: str
) -> Tracked:
    """`html` with a pixel at its end, each link by way of us but those that lead to us already.

    Links are the double-quoted ``href`` of ``<a>`` with an http or https URL, as
    `domain.markdown` writes them. The unsubscribe link is ours, so it is never replaced.

    Args:
        html: The HTML part as one lead gets it.
        key: The installation's secret key.
        public_url: Where the public service is reached, without a slash at the end.
        campaign: The campaign's key.
        lead_id: The lead.
        step: The step's id.
    """
    targets: dict[str, str] = {}

    def replaced(found: re.Match[str]) -> str:
        url = unescape(found[2])
        if url.startswith(f"{public_url}/"):
            return found[0]
        name = link_name(key, campaign, url)
        targets[name] = url
        token = click_token(key, campaign, lead_id, step, name)
        return f"{found[1]}{escape(public_url)}/t/c/{token}{found[3]}"

    pixel = f"{escape(public_url)}/t/o/{open_token(key, campaign, lead_id, step)}"
    image = f'<img src="{pixel}" width="1" height="1" alt="">'
    linked = _ANCHOR.sub(replaced, html)
    ended = _END.sub(lambda end: image + end[0], linked)
    return Tracked(ended if ended != linked else linked + image, targets)


def _read(key: bytes, kind: str, count: int, token: str) -> Place | None:
    parts = _named(token)
    if len(parts) != count:
        return None
    return Place(*parts) if _same(_token(key, kind, *parts), token) else None


def _same(made: str, given: str) -> bool:
    """Whether the two are equal, told in a time that gives no hint where they differ."""
    return hmac.compare_digest(made.encode(), given.encode())


def _named(token: str) -> list[str]:
    """The parts that a token names before it is checked; none if it is no token."""
    named, _, signature = token.partition(".")
    if len(token) > LONGEST or not token.isascii() or not (named and signature):
        return []
    try:
        padded = named + "=" * (-len(named) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode().split("/")
    except (binascii.Error, ValueError):
        return []


def _token(key: bytes, kind: str, *parts: str) -> str:
    return f"{_base64('/'.join(parts).encode())}.{_base64(_digest(key, kind, *parts)[:16])}"


def _digest(key: bytes, *parts: str) -> bytes:
    return hmac.new(key, "\x1f".join(("link", *parts)).encode(), hashlib.sha256).digest()


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
