"""The REST API: tokens, the audit, requests that are answered once, imported leads.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """There are tokens, an audit, remembered requests and imports. There is no way down."""
    _tokens()
    _audit()
    _requests()
    _uploads()


def _required(kind: sa.types.TypeEngine, *names: str) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def _tokens() -> None:
    op.create_table(
        "api_tokens",
        *_required(sa.Text(), "id", "digest", "role"),
        sa.Column("campaigns", sa.Text()),
        *_required(sa.Text(), "created_by"),
        *_required(UtcInstant(), "created_at"),
        sa.Column("last_used_at", UtcInstant()),
        sa.Column("expires_at", UtcInstant()),
        sa.Column("revoked_at", UtcInstant()),
        sa.PrimaryKeyConstraint("id", name="pk_api_tokens"),
    )


def _audit() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "audit",
        sa.Column("id", number, primary_key=True),
        *_required(UtcInstant(), "at"),
        *_required(sa.Text(), "who", "action"),
        sa.Column("campaign", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
    )
    op.create_index("ix_audit_campaign", "audit", ["campaign", "id"])


def _requests() -> None:
    op.create_table(
        "api_requests",
        *_required(sa.Text(), "token_id", "operation", "key", "digest"),
        *_required(UtcInstant(), "claimed_at"),
        sa.Column("status", sa.Integer()),
        sa.Column("headers", sa.Text()),
        sa.Column("body", sa.Text()),
        sa.PrimaryKeyConstraint("token_id", "operation", "key", name="pk_api_requests"),
    )
    op.create_index("ix_api_requests_claimed_at", "api_requests", ["claimed_at"])


def _uploads() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "uploads",
        sa.Column("id", number, primary_key=True),
        *_required(sa.Text(), "campaign", "name", "digest", "columns"),
        *_required(sa.BigInteger(), "rows", "rejected"),
        *_required(sa.Text(), "created_by"),
        *_required(UtcInstant(), "created_at"),
        *_required(sa.Boolean(), "is_whole"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_uploads_campaign", "uploads", ["campaign", "name"])
    op.create_table(
        "upload_chunks",
        *_required(sa.BigInteger(), "upload", "number"),
        *_required(sa.LargeBinary(), "content"),
        sa.PrimaryKeyConstraint("upload", "number", name="pk_upload_chunks"),
    )
