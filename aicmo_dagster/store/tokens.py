"""API tokens: made once and shown once, known ever after by id and hash.

Not here: what a token may do (`api.access`), or the short-lived ones made from it (`api.jwts`).
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Literal

import sqlalchemy as sa

from aicmo_dagster.errors import NotFound
from aicmo_dagster.store.tables import api_tokens

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
"""Each may do what those before it may."""

PREFIX = "aicmo"
USE_NOTED_EVERY = timedelta(minutes=1)
"""How exact `last_used_at` is: a write for each request would cost more than the request."""

_TOKENS = api_tokens.c


@dataclass(frozen=True)
class StoredToken:
    """A token as it is kept; `campaigns` are all if there are none."""

    id: str
    role: Role
    campaigns: frozenset[str] | None
    created_by: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def create_token(
    connection: sa.Connection,
    role: Role,
    campaigns: Collection[str] | None,
    created_by: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[StoredToken, str]:
    """The token and its text, ``aicmo_ID_SECRET``, which is kept nowhere."""
    token_id = secrets.token_hex(6)
    text = f"{PREFIX}_{token_id}_{secrets.token_urlsafe(32)}"
    limit = None if campaigns is None else frozenset(campaigns)
    connection.execute(
        api_tokens.insert().values(
            id=token_id,
            digest=_digest(text),
            role=role,
            campaigns=None if limit is None else json.dumps(sorted(limit)),
            created_by=created_by,
            created_at=now,
            expires_at=expires_at,
        )
    )
    return StoredToken(token_id, role, limit, created_by, now, None, expires_at, None), text


def find_token(connection: sa.Connection, token_id: str) -> StoredToken | None:
    """The token of that id, valid or not."""
    row = connection.execute(_select().where(_TOKENS.id == token_id)).one_or_none()
    return None if row is None else _token(row)


def token_of_text(connection: sa.Connection, text: str) -> StoredToken | None:
    """The token that was shown as `text`, valid or not."""
    prefix, _, rest = text.partition("_")
    token_id = rest.partition("_")[0]
    found = connection.execute(_of_text(), {"token": token_id}) if prefix == PREFIX else None
    row = found.one_or_none() if found else None
    # A plain hash does, since the secret has 256 bits of chance and cannot be guessed from it.
    known = row is not None and hmac.compare_digest(row.digest, _digest(text))
    return _token(row) if row is not None and known else None


def list_tokens(connection: sa.Connection) -> list[StoredToken]:
    """All tokens, the oldest first, revoked and expired ones too."""
    rows = connection.execute(_select().order_by(_TOKENS.created_at, _TOKENS.id))
    return [_token(row) for row in rows]


def revoke_token(connection: sa.Connection, token_id: str, now: datetime) -> bool:
    """The token opens nothing any more; tells whether it did until now.

    Raises:
        NotFound: If there is no such token.
    """
    token = find_token(connection, token_id)
    if token is None:
        raise NotFound(f"there is no token {token_id!r}; 'aicmo token list' shows those there are")
    if token.revoked_at is not None:
        return False
    _update(connection, token_id, revoked_at=now)
    return True


def is_use_noted(token: StoredToken, now: datetime) -> bool:
    """Whether `last_used_at` is exact enough."""
    return token.last_used_at is not None and now - token.last_used_at < USE_NOTED_EVERY


def note_use(connection: sa.Connection, token_id: str, now: datetime) -> None:
    """The token was used at `now`."""
    _update(connection, token_id, last_used_at=now)


def _update(connection: sa.Connection, token_id: str, **values: object) -> None:
    connection.execute(api_tokens.update().where(_TOKENS.id == token_id).values(**values))


@cache  # every request asks
def _of_text() -> sa.Select:
    return _select(_TOKENS.digest).where(_TOKENS.id == sa.bindparam("token"))


def _select(*more: sa.ColumnElement) -> sa.Select:
    told = [column for column in _TOKENS if column.name != "digest"]
    return sa.select(*told, *more)


def _token(row: sa.Row) -> StoredToken:
    return StoredToken(
        id=row.id,
        role=row.role,
        campaigns=None if row.campaigns is None else frozenset(json.loads(row.campaigns)),
        created_by=row.created_by,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
