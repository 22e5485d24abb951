"""What recipients do: events with their client, verdicts, links, inbound mail, handoffs under way.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Events say by whom, verdicts and links have tables, handoffs are retried. No way down."""
    _events()
    _engagement()
    _links()
    _inbound()
    _handoffs()


def _required(kind: sa.types.TypeEngine, *names: str) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def _events() -> None:
    for name in ("link", "method", "agent", "client", "client_network"):
        op.add_column("events", sa.Column(name, sa.Text()))
    whole = sa.text("client IS NOT NULL")
    op.create_index(
        "ix_events_client", "events", ["happened_at"], sqlite_where=whole, postgresql_where=whole
    )


def _engagement() -> None:
    op.create_table(
        "engagement",
        sa.Column("event_id", sa.BigInteger(), nullable=False, autoincrement=False),
        *_required(sa.Text(), "campaign", "lead_id", "kind"),
        sa.Column("step", sa.Text()),
        *_required(UtcInstant(), "happened_at"),
        *_required(sa.Text(), "verdict", "rule"),
        *_required(sa.BigInteger(), "rules_version"),
        sa.PrimaryKeyConstraint("event_id", name="pk_engagement"),
    )
    op.create_index("ix_engagement_lead", "engagement", ["campaign", "lead_id"])
    pending = sa.text("verdict = 'pending'")
    op.create_index(
        "ix_engagement_pending",
        "engagement",
        ["happened_at"],
        sqlite_where=pending,
        postgresql_where=pending,
    )


def _links() -> None:
    op.create_table(
        "links",
        *_required(sa.Text(), "campaign", "link", "url"),
        *_required(UtcInstant(), "created_at"),
        sa.PrimaryKeyConstraint("campaign", "link", name="pk_links"),
    )
    op.create_index("ix_links_created_at", "links", ["created_at"])


def _inbound() -> None:
    op.create_table(
        "inbound_messages",
        *_required(sa.Text(), "key", "kind"),
        sa.Column("campaign", sa.Text()),
        sa.Column("lead_id", sa.Text()),
        *_required(sa.Text(), "reason"),
        *_required(UtcInstant(), "handled_at"),
        sa.PrimaryKeyConstraint("key", name="pk_inbound_messages"),
    )
    op.create_table(
        "inbound_cursors",
        *_required(sa.Text(), "mailbox", "cursor"),
        *_required(UtcInstant(), "moved_at"),
        sa.PrimaryKeyConstraint("mailbox", name="pk_inbound_cursors"),
    )


def _handoffs() -> None:
    for column in (
        sa.Column("key", sa.Text()),
        sa.Column("document", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("next_attempt_at", UtcInstant()),
        sa.Column("error", sa.Text()),
        sa.Column("acknowledged_at", UtcInstant()),
        sa.Column("acknowledged_by", sa.Text()),
    ):
        op.add_column("handoffs", column)
    due = sa.text("state = 'due'")
    op.create_index(
        "ix_handoffs_due",
        "handoffs",
        ["next_attempt_at"],
        sqlite_where=due,
        postgresql_where=due,
    )
