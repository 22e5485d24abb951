"""Endpoints of access itself: a short-lived token from a kept one. Not here: checking them."""

from datetime import timedelta

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from aicmo_dagster.api import jwts
from aicmo_dagster.api.access import Viewer
from aicmo_dagster.api.problems import Refusal
from aicmo_dagster.api.service import Now, Work
from aicmo_dagster.store.tokens import ROLES, Role

router = APIRouter(prefix="/auth", tags=["access"])


class Wanted(BaseModel):
    """What the short-lived token may do: at most what its own token may."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = Field(
        default=None, description="A lower role; the token's own unless given."
    )
    campaigns: list[str] | None = Field(
        default=None,
        max_length=1_000,
        description="Only these campaigns; the token's own unless given.",
    )
    expires_in: int = Field(
        default=int(jwts.LONGEST.total_seconds()), ge=10, le=int(jwts.LONGEST.total_seconds())
    )


class Issued(BaseModel):
    """A short-lived token, in the form of RFC 6749."""

    access_token: str
    token_type: str = "Bearer"
    expires_in: int = Field(description="Seconds.")


@router.post("/token")
def issue(principal: Viewer, work: Work, now: Now, wanted: Wanted | None = None) -> Issued:
    """A JWT that does no more than the token it is asked with, and ends with it."""
    if principal.by_jwt:
        raise Refusal(403, "a JWT makes no other: ask with the token it was made from")
    wanted = wanted or Wanted()
    role = wanted.role or principal.role
    if ROLES.index(role) > ROLES.index(principal.role):
        raise Refusal(403, f"the token's role is {principal.role}")
    for key in wanted.campaigns or ():
        principal.require_campaign(key)
    limit = principal.campaigns if wanted.campaigns is None else wanted.campaigns
    claims = {
        "sub": principal.token_id,
        "role": role,
        "campaigns": None if limit is None else sorted(limit),
    }
    life = timedelta(seconds=wanted.expires_in)
    text = jwts.sign(work.settings.secret_key(), claims, now, life)
    return Issued(access_token=text, expires_in=wanted.expires_in)
