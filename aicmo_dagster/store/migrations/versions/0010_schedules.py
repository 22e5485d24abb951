"""The continuous cron: schedules at hand, ticks claimed once, what each stage did.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import json

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Campaigns carry their schedule, and stages leave a record. There is no way down."""
    op.add_column(
        "campaigns", sa.Column("schedule", sa.Text(), nullable=False, server_default="{}")
    )
    op.add_column("campaigns", sa.Column("scheduled_since", UtcInstant()))
    _fill_schedules()
    _clocks()
    _stages()


def _required(kind: sa.types.TypeEngine, *names: str) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def _fill_schedules() -> None:
    """From the current version of each document; ticks count from when that was applied."""
    connection = op.get_bind()
    current = connection.execute(
        sa.text(
            "SELECT c.campaign, v.document FROM campaigns c JOIN campaign_versions v "
            "ON v.campaign = c.campaign AND v.version = c.version"
        )
    )
    for row in current.all():
        schedule = json.dumps(json.loads(row.document).get("schedule", {}))
        connection.execute(
            sa.text(
                "UPDATE campaigns SET schedule = :schedule, scheduled_since = updated_at "
                "WHERE campaign = :campaign"
            ),
            {"schedule": schedule, "campaign": row.campaign},
        )


def _clocks() -> None:
    op.create_table(
        "clocks",
        *_required(sa.Text(), "campaign", "job"),
        *_required(UtcInstant(), "dealt_until"),
        sa.PrimaryKeyConstraint("campaign", "job", name="pk_clocks"),
    )
    op.create_table(
        "ticks",
        *_required(sa.Text(), "campaign", "job"),
        *_required(UtcInstant(), "due_at"),
        *_required(sa.Text(), "run_key", "state", "reason"),
        *_required(UtcInstant(), "claimed_at"),
        sa.Column("finished_at", UtcInstant()),
        sa.PrimaryKeyConstraint("campaign", "job", "due_at", name="pk_ticks"),
    )
    is_open = sa.text("state = 'claimed'")
    op.create_index(
        "ix_ticks_open", "ticks", ["run_key"], sqlite_where=is_open, postgresql_where=is_open
    )


def _stages() -> None:
    op.create_table(
        "stage_states",
        *_required(sa.Text(), "campaign", "stage"),
        sa.Column("succeeded_at", UtcInstant()),
        sa.Column("succeeded_in", sa.Text()),
        sa.Column("failed_at", UtcInstant()),
        sa.Column("failed_in", sa.Text()),
        *_required(sa.Text(), "failure"),
        sa.PrimaryKeyConstraint("campaign", "stage", name="pk_stage_states"),
    )
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "stage_results",
        sa.Column("id", number, primary_key=True),
        *_required(sa.Text(), "campaign", "stage", "run_id"),
        *_required(UtcInstant(), "started_at", "finished_at"),
        *_required(sa.Boolean(), "succeeded"),
        sa.Column("rows_in", sa.BigInteger()),
        sa.Column("rows_out", sa.BigInteger()),
        *_required(sa.Text(), "figures", "failure"),
    )
    op.create_index("ix_stage_results_stage", "stage_results", ["campaign", "stage", "finished_at"])
