"""Who is asking, and whether they may: bearer tokens, roles, and a token's campaigns.

An endpoint says what it takes in its signature: ``principal: Viewer``, ``Operator`` or ``Admin``.
Where its path has ``{key}``, a campaign outside the token's limit is answered as one that does not
exist, so that nothing is learned of it. Not here: making tokens (`store.tokens`, `auth`).
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from aicmo_dagster.api import jwts
from aicmo_dagster.api.problems import Refusal
from aicmo_dagster.api.service import Now, Service, Serving
from aicmo_dagster.store.tokens import (
    PREFIX,
    ROLES,
    Role,
    StoredToken,
    find_token,
    token_of_text,
)

_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="A token of `aicmo token create`, or a JWT of `POST /auth/token`.",
)
_KEY = re.compile(r"[a-z0-9-]{1,64}")
_UNKNOWN = "the token is unknown, revoked or expired"
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


@dataclass(frozen=True)
class Principal:
    """Who is asking; `campaigns` are all if there are none, `by_jwt` is so for short-lived ones."""

    token_id: str
    role: Role
    campaigns: frozenset[str] | None
    by_jwt: bool = False

    @property
    def who(self) -> str:
        """As the audit and decisions name it."""
        return f"token:{self.token_id}"

    def reaches(self, campaign: str | None) -> bool:
        """Whether the campaign is within the token's limit; none stands for all of them."""
        return self.campaigns is None or campaign in self.campaigns

    def require_campaign(self, campaign: str) -> None:
        """Raises a `Refusal` (404) if the campaign is outside the limit."""
        if not self.reaches(campaign):
            raise Refusal(404, f"there is no campaign {campaign!r}")

    def require_all_campaigns(self) -> None:
        """Raises a `Refusal` (403) if the token is limited: what follows concerns every one."""
        if self.campaigns is not None:
            raise Refusal(403, "this concerns all campaigns and the token is limited to some")


@dataclass(frozen=True)
class Requires:
    """A dependency: the principal, who has at least `role`.

    Raises:
        Refusal: 401 without a valid token, 403 below the role, 404 outside the campaign limit,
            429 beyond the rate.
    """

    role: Role

    def __call__(
        self, request: Request, serving: Serving, now: Now, credentials: _Credentials
    ) -> Principal:
        """The principal of the request's bearer token."""
        if credentials is None:
            raise _unauthorised("a bearer token is needed")
        principal = authenticate(serving, credentials.credentials, now)
        request.state.headers.update(serving.rates.take(principal.token_id))
        if ROLES.index(principal.role) < ROLES.index(self.role):
            raise Refusal(403, f"this takes the role {self.role}; the token's is {principal.role}")
        key = request.path_params.get("key")
        if key is not None:
            if not _KEY.fullmatch(key):
                raise Refusal(404, "there is no campaign of that key")
            principal.require_campaign(key)
        return principal


Viewer = Annotated[Principal, Depends(Requires("viewer"))]
Operator = Annotated[Principal, Depends(Requires("operator"))]
Admin = Annotated[Principal, Depends(Requires("admin"))]


def authenticate(serving: Service, text: str, now: datetime) -> Principal:
    """The principal of a token's text or of a JWT made from it.

    The kept token is looked up every time, so that revoking it takes effect at once.

    Raises:
        Refusal: 401, if it opens nothing.
    """
    claims = None
    if not text.startswith(f"{PREFIX}_"):
        claims = jwts.read(serving.workspace.settings.secret_key(), text, now)
        if claims is None:
            raise _unauthorised(_UNKNOWN)
    if "\x00" in text:  # PostgreSQL takes none
        raise _unauthorised(_UNKNOWN)
    with serving.workspace.database.read() as connection:
        if claims is None:
            kept = token_of_text(connection, text)
        else:
            kept = find_token(connection, claims["sub"])
    if kept is None or not kept.is_valid(now):
        raise _unauthorised(_UNKNOWN)
    serving.uses.note(kept, now)
    return _principal(kept, claims)


def _principal(kept: StoredToken, claims: dict[str, Any] | None) -> Principal:
    """What a kept token allows, and a JWT made from it if there is one."""
    if claims is None:
        return Principal(kept.id, kept.role, kept.campaigns)
    role = min(kept.role, claims["role"], key=ROLES.index)
    limit = _both(kept.campaigns, claims["campaigns"])
    return Principal(kept.id, role, limit, by_jwt=True)


def _both(kept: frozenset[str] | None, claimed: list[str] | None) -> frozenset[str] | None:
    """The campaigns within both limits."""
    if claimed is None:
        return kept
    return frozenset(claimed) if kept is None else kept & frozenset(claimed)


def _unauthorised(detail: str) -> Refusal:
    return Refusal(401, detail, headers={"WWW-Authenticate": "Bearer"})
