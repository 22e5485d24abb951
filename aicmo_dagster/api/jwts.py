"""Short-lived tokens (JWT, RFC 7519) made from a kept one, and the keys they are signed with.

A key has the number of its month (30 days) as its id and is derived from AICMO_SECRET_KEY; this
month's signs, and the last one's still verifies, so keys change by themselves and one that leaked
is worth nothing afterwards. Not here: whether the token it was made from still stands (`access`).
"""

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt

ALGORITHM = "HS256"
ISSUER = "aicmo"
AUDIENCE = "aicmo-api"
LONGEST = timedelta(minutes=15)

_DAYS_OF_A_KEY = 30
_REQUIRED = ["iss", "aud", "sub", "iat", "exp"]


def sign(secret_key: bytes, claims: Mapping[str, Any], now: datetime, life: timedelta) -> str:
    """A JWT with `claims`, valid from `now` for `life`."""
    key_id = _month(now)
    whole = {
        **claims,
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": int(now.timestamp()),
        "exp": int((now + life).timestamp()),
    }
    return jwt.encode(whole, _key(secret_key, key_id), ALGORITHM, headers={"kid": str(key_id)})


def read(secret_key: bytes, text: str, now: datetime) -> dict[str, Any] | None:
    """The claims of a JWT of ours that is valid at `now`; none of any other."""
    months = {str(month): month for month in (_month(now), _month(now) - 1)}
    try:
        month = months[jwt.get_unverified_header(text)["kid"]]
        claims: dict[str, Any] = jwt.decode(
            text,
            _key(secret_key, month),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            # The library would compare with its own clock.
            options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
        )
    except (jwt.InvalidTokenError, LookupError, TypeError):
        return None
    return claims if claims["iat"] <= now.timestamp() < claims["exp"] else None


def _month(now: datetime) -> int:
    return now.toordinal() // _DAYS_OF_A_KEY


def _key(secret_key: bytes, month: int) -> bytes:
    return hmac.digest(secret_key, f"api jwt {month}".encode(), "sha256")
