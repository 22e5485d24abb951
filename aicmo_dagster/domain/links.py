"""Tokens of links in messages, for opens and clicks: made, and read back.

A token names a send and carries a signature that nobody else can make. Where a click leads is not
in it: that is looked up by the link's name (`store.links`), so that no token can send anyone
elsewhere. Not here: putting links into a message (`tracking`), names of leads and addresses
(`tokens`), serving the links (`api`).
"""

import base64
import binascii
import hmac
from dataclasses import dataclass
from functools import lru_cache

from aicmo_dagster.domain.tokens import unsubscribe_token, url_safe

LONGEST = 512
"""Characters that no token of ours has."""


@dataclass(frozen=True)
class Place:
    """What a token names: a lead of a campaign and, but for unsubscribing, a step and a link."""

    campaign: str
    lead_id: str
    step: str | None = None
    link: str | None = None


def open_token(key: bytes, campaign: str, lead_id: str, step: str) -> str:
    """What the open pixel of a send carries."""
    return _token(key, "open", campaign, lead_id, step)


def click_token(key: bytes, campaign: str, lead_id: str, step: str, link: str) -> str:
    """What a link of a send carries; `link` is from `link_name`."""
    return _token(key, "click", campaign, lead_id, step, link)


@lru_cache(maxsize=4096)
def link_name(key: bytes, campaign: str, url: str, lead_id: str = "") -> str:
    """The name that `url` is kept under in a campaign: the same URL always has the same.

    A URL that was made for one lead is named after that lead too, so that it can vanish with it.
    """
    named = (campaign, url, lead_id) if lead_id else (campaign, url)
    return url_safe(_digest(key, "link", *named)[:12])


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
    return f"{url_safe('/'.join(parts).encode())}.{url_safe(_digest(key, kind, *parts)[:16])}"


def _digest(key: bytes, *parts: str) -> bytes:
    return hmac.digest(key, "\x1f".join(("link", *parts)).encode(), "sha256")
