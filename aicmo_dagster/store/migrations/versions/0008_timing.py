"""What planning and pacing remember: agenda, pauses, experiments, senders, rehearsals.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Every lead in a sequence has a place of its own in it. There is no way down."""
    _nurture_sends()
    _agenda()
    _pauses()
    _experiments()
    _senders()
    _rehearsals()


def _required(kind: sa.types.TypeEngine, *names: str) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def _nurture_sends() -> None:
    op.add_column(
        "nurture_sends", sa.Column("priority", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("nurture_sends", sa.Column("followed_at", UtcInstant()))
    op.drop_index("ix_nurture_sends_due", "nurture_sends")
    _partial_index(
        "ix_nurture_sends_due",
        "nurture_sends",
        ["campaign", "priority", "due_at"],
        "state IN ('planned', 'deferred')",
    )
    _partial_index(
        "ix_nurture_sends_unfollowed",
        "nurture_sends",
        ["campaign"],
        "followed_at IS NULL AND state IN ('accepted', 'rejected', 'cancelled')",
    )


def _agenda() -> None:
    op.create_index("ix_routed_leads_position", "routed_leads", ["campaign", "position"])
    op.create_table(
        "agenda",
        *_required(sa.Text(), "campaign", "lead_id"),
        *_required(sa.BigInteger(), "position"),
        *_required(sa.Text(), "state"),
        sa.Column("reason", sa.Text()),
        sa.Column("look_at", UtcInstant()),
        *_required(UtcInstant(), "changed_at"),
        sa.PrimaryKeyConstraint("campaign", "lead_id", name="pk_agenda"),
    )
    op.create_index("ix_agenda_position", "agenda", ["campaign", "position"])
    _partial_index("ix_agenda_look_at", "agenda", ["campaign", "look_at"], "look_at IS NOT NULL")
    op.create_table(
        "planning_cursors",
        sa.Column("campaign", sa.Text(), nullable=False),
        *_required(sa.BigInteger(), "event_id"),
        sa.PrimaryKeyConstraint("campaign", name="pk_planning_cursors"),
    )


def _pauses() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "pauses",
        sa.Column("id", number, nullable=False),
        *_required(sa.Text(), "campaign"),
        sa.Column("sequence", sa.Text()),
        *_required(sa.Text(), "reason", "paused_by"),
        *_required(UtcInstant(), "paused_at"),
        sa.Column("resumed_at", UtcInstant()),
        sa.Column("resumed_by", sa.Text()),
        sa.Column("mode", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_pauses"),
    )
    op.create_index("ix_pauses_campaign", "pauses", ["campaign"])


def _experiments() -> None:
    op.create_table(
        "experiments",
        *_required(sa.Text(), "campaign", "sequence", "step", "fingerprint", "state"),
        sa.Column("winner", sa.Text()),
        *_required(sa.Text(), "stopped", "looks"),
        *_required(UtcInstant(), "asked_at"),
        sa.Column("decided_at", UtcInstant()),
        sa.PrimaryKeyConstraint(
            "campaign", "sequence", "step", "fingerprint", name="pk_experiments"
        ),
    )


def _senders() -> None:
    op.create_index("ix_events_campaign", "events", ["campaign", "id"])
    _partial_index("ix_events_harm", "events", ["happened_at"], "kind IN ('bounce', 'complaint')")
    op.create_table(
        "mailbox_providers",
        *_required(sa.Text(), "domain", "provider"),
        *_required(UtcInstant(), "asked_at"),
        sa.PrimaryKeyConstraint("domain", name="pk_mailbox_providers"),
    )
    op.create_table(
        "sender_paces",
        *_required(sa.Text(), "sender"),
        *_required(sa.BigInteger(), "level"),
        *_required(UtcInstant(), "level_since"),
        *_required(sa.Text(), "health"),
        *_required(UtcInstant(), "judged_at"),
        sa.PrimaryKeyConstraint("sender", name="pk_sender_paces"),
    )
    op.create_table(
        "sender_turns",
        *_required(sa.Text(), "sender", "campaign"),
        *_required(UtcInstant(), "asked_at"),
        sa.PrimaryKeyConstraint("sender", "campaign", name="pk_sender_turns"),
    )


def _rehearsals() -> None:
    op.create_table(
        "rehearsals",
        *_required(sa.Text(), "campaign"),
        *_required(sa.BigInteger(), "version"),
        *_required(sa.Boolean(), "passed"),
        *_required(sa.BigInteger(), "leads"),
        *_required(sa.Text(), "findings"),
        *_required(UtcInstant(), "rehearsed_at"),
        sa.PrimaryKeyConstraint("campaign", "version", name="pk_rehearsals"),
    )
