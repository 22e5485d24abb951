"""Signing in to the dashboard: a token once, then a short-lived JWT in a cookie.

The cookie goes to no script and to no request from another site, allows reading only, and is
renewed as long as its token stands, for at most twelve hours. Not here: the pages (`dashboard`).
"""

from collections.abc import AsyncIterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import Request, Response

from aicmo_dagster.api import jwts
from aicmo_dagster.api.access import Principal, authenticate
from aicmo_dagster.api.problems import Refusal
from aicmo_dagster.api.service import Service

COOKIE = "aicmo_session"
LONGEST = timedelta(hours=12)
_LARGEST_FORM = 4_096
_SESSION = "session"


@dataclass(frozen=True)
class Session:
    """Who has signed in, and until when a renewal can wait."""

    principal: Principal
    begun_at: datetime
    ends_at: datetime

    def is_to_renew(self, now: datetime) -> bool:
        """Whether half of its time is over and it may go on."""
        return self.ends_at - now < jwts.LONGEST / 2 and now < self.begun_at + LONGEST


def session_of(request: Request, serving: Service, now: datetime) -> Session | None:
    """The session that the request's cookie tells of, if it is one that stands."""
    text = request.cookies.get(COOKIE, "")
    claims = jwts.read(serving.workspace.settings.secret_key(), text, now)
    if claims is None or _SESSION not in claims:
        return None
    try:
        principal = authenticate(serving, text, now)
    except Refusal:
        return None
    begun = datetime.fromtimestamp(claims[_SESSION], now.tzinfo)
    return Session(principal, begun, datetime.fromtimestamp(claims["exp"], now.tzinfo))


def sign_in(serving: Service, text: str, now: datetime) -> Session | None:
    """The session of whoever has the token `text`; a JWT opens none, since it would outlive it."""
    try:
        principal = authenticate(serving, text, now)
    except Refusal:
        return None
    return None if principal.by_jwt else Session(principal, now, now)


def set_cookie(
    request: Request, response: Response, serving: Service, session: Session, now: datetime
) -> None:
    """The response keeps the session going from `now` on."""
    limit = session.principal.campaigns
    claims: dict[str, Any] = {
        "sub": session.principal.token_id,
        "role": "viewer",
        "campaigns": None if limit is None else sorted(limit),
        _SESSION: session.begun_at.timestamp(),
    }
    text = jwts.sign(serving.workspace.settings.secret_key(), claims, now, jwts.LONGEST)
    response.set_cookie(
        COOKIE,
        text,
        max_age=int(jwts.LONGEST.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def is_from_here(request: Request) -> bool:
    """Whether a form was sent by a page of ours, or by no browser at all."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:  # it is no URL
        return False


async def form_of(stream: AsyncIterable[bytes]) -> dict[str, str]:
    """The fields of a small form; of one that is too large, nothing."""
    body = b""
    async for chunk in stream:
        body += chunk
        if len(body) > _LARGEST_FORM:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    return {name: values[0] for name, values in fields.items()}
