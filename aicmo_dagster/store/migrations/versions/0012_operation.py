"""Operating the service: runs asked for over the API, webhooks to others, signs of life.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Runs, webhooks and heartbeats have their tables. There is no way down."""
    op.create_index("ix_stage_results_run", "stage_results", ["run_id"])
    op.create_table(
        "heartbeats",
        *_required(sa.Text(), "name"),
        *_required(UtcInstant(), "beat_at"),
        sa.PrimaryKeyConstraint("name", name="pk_heartbeats"),
    )
    _run_intents()
    _webhooks()


def _required(kind: sa.types.TypeEngine, *names: str) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def _run_intents() -> None:
    op.create_table(
        "run_intents",
        *_required(sa.Text(), "id", "campaign", "action", "state"),
        sa.Column("run_id", sa.Text()),
        *_required(sa.Text(), "requested_by"),
        *_required(UtcInstant(), "requested_at", "attempted_at"),
        sa.PrimaryKeyConstraint("id", name="pk_run_intents"),
    )
    _partial("uq_run_intents_launching", "run_intents", "campaign", "launching", unique=True)


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        *_required(sa.Text(), "id", "url", "events"),
        sa.Column("campaigns", sa.Text()),
        *_required(sa.Text(), "state", "reason", "created_by"),
        *_required(UtcInstant(), "created_at", "updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
    )
    op.create_table(
        "webhook_deliveries",
        *_required(sa.Text(), "key", "webhook", "event"),
        sa.Column("campaign", sa.Text()),
        sa.Column("lead_id", sa.Text()),
        *_required(sa.Text(), "document", "state"),
        *_required(sa.BigInteger(), "attempts"),
        *_required(UtcInstant(), "created_at"),
        sa.Column("next_attempt_at", UtcInstant()),
        sa.Column("delivered_at", UtcInstant()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("key", name="pk_webhook_deliveries"),
    )
    op.create_index("ix_webhook_deliveries_webhook", "webhook_deliveries", ["webhook", "key"])
    _partial("ix_webhook_deliveries_due", "webhook_deliveries", "next_attempt_at", "due")
    _partial("ix_webhook_deliveries_dead", "webhook_deliveries", "webhook", "dead")


def _partial(name: str, table: str, column: str, state: str, *, unique: bool = False) -> None:
    where = sa.text(f"state = '{state}'")
    op.create_index(
        name, table, [column], unique=unique, sqlite_where=where, postgresql_where=where
    )
