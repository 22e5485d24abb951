"""What was paid for: calls with their ceilings and people, the answers, and the rate windows.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Calls say whom they ask about and what they may cost. There is no way down."""
    _provider_calls()
    _provider_answers()
    _rate_windows()


def _required(kind: sa.types.TypeEngine, *names: str) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def _provider_calls() -> None:
    for column in (
        sa.Column("people", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("credits_at_most", sa.Double(), nullable=False, server_default="0"),
        sa.Column("worker", sa.Text()),
    ):
        op.add_column("provider_calls", column)
    op.create_index("ix_provider_calls_campaign", "provider_calls", ["campaign", "provider"])
    is_open = sa.text("state IN ('begun', 'unknown', 'pending')")
    op.create_index(
        "ix_provider_calls_open",
        "provider_calls",
        ["provider"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )


def _provider_answers() -> None:
    op.create_table(
        "provider_answers",
        *_required(sa.Text(), "campaign", "lead_id", "provider", "person_key"),
        *_required(sa.Text(), "answer", "status"),
        *_required(sa.Boolean(), "usable"),
        *_required(sa.Double(), "credits"),
        *_required(UtcInstant(), "answered_at"),
        *_required(sa.Boolean(), "cached"),
        sa.PrimaryKeyConstraint(
            "campaign", "lead_id", "provider", "person_key", name="pk_provider_answers"
        ),
    )
    op.create_index(
        "ix_provider_answers_person", "provider_answers", ["provider", "person_key", "answered_at"]
    )


def _rate_windows() -> None:
    op.create_table(
        "rate_windows",
        *_required(sa.Text(), "provider", "key_hash", "window"),
        sa.Column("limit", sa.BigInteger()),
        *_required(sa.Double(), "seconds"),
        *_required(sa.Text(), "taken"),
        *_required(sa.BigInteger(), "elsewhere"),
        sa.Column("elsewhere_until", UtcInstant()),
        sa.Column("closed_until", UtcInstant()),
        sa.PrimaryKeyConstraint("provider", "key_hash", "window", name="pk_rate_windows"),
    )
