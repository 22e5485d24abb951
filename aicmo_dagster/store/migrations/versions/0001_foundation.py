"""The foundation: the five stages, and what stands beside them.

Written out, not made from `store.tables`: this is what the tables were, whatever they become.
"""

import sqlalchemy as sa
from alembic import op

from aicmo_dagster.store.tables import UtcInstant

revision = "0001"
down_revision = None

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """All tables and indexes are there. There is no way down: restore a backup."""
    _raw_leads()
    _decided_stages()
    _ledger()
    _campaigns()
    _intake()
    _decisions()
    _verdicts()
    _events()
    _handoffs()
    _provider_calls()
    _models()


def _required(kind: sa.types.TypeEngine, *names: str) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def _optional(kind: sa.types.TypeEngine, *names: str) -> list[sa.Column]:
    return [sa.Column(name, kind) for name in names]


def _raw_leads() -> None:
    op.create_table(
        "raw_leads",
        *_required(sa.Text(), "campaign", "lead_id"),
        *_optional(
            sa.Text(),
            "external_id",
            "email",
            "first_name",
            "last_name",
            "title",
            "seniority",
            "department",
            "phone",
            "linkedin_url",
            "company",
            "domain",
            "industry",
        ),
        *_optional(sa.BigInteger(), "employees"),
        *_optional(sa.Double(), "annual_revenue"),
        *_optional(sa.Text(), "technologies"),
        *_optional(sa.BigInteger(), "founded_year"),
        *_optional(sa.Text(), "country", "region", "city", "timezone"),
        *_optional(sa.BigInteger(), "visits"),
        *_optional(UtcInstant(), "last_engaged_at"),
        *_required(sa.Text(), "source"),
        *_optional(sa.Text(), "source_detail", "arrived"),
        *_optional(sa.Boolean(), "won"),
        *_optional(UtcInstant(), "won_at"),
        *_required(sa.Text(), "custom"),
        *_required(UtcInstant(), "first_seen_at", "last_seen_at"),
        sa.PrimaryKeyConstraint("campaign", "lead_id", name="pk_raw_leads"),
    )
    op.create_index("ix_raw_leads_email", "raw_leads", ["email"])


def _decided_stages() -> None:
    op.create_table(
        "scored_leads",
        *_required(sa.Text(), "campaign", "lead_id"),
        *_required(sa.Double(), "score"),
        *_required(sa.Text(), "scale", "model", "contributions"),
        sa.PrimaryKeyConstraint("campaign", "lead_id", name="pk_scored_leads"),
    )
    op.create_table(
        "qualified_leads",
        *_required(sa.Text(), "campaign", "lead_id"),
        *_required(sa.Double(), "score"),
        *_required(sa.Text(), "decided_by", "reason"),
        sa.PrimaryKeyConstraint("campaign", "lead_id", name="pk_qualified_leads"),
    )
    op.create_table(
        "routed_leads",
        *_required(sa.Text(), "campaign", "lead_id", "sequence"),
        *_required(sa.BigInteger(), "campaign_version", "seed", "position"),
        *_required(sa.Double(), "score"),
        *_required(sa.Text(), "reason"),
        *_required(UtcInstant(), "routed_at"),
        sa.PrimaryKeyConstraint("campaign", "lead_id", name="pk_routed_leads"),
    )


def _ledger() -> None:
    op.create_table(
        "nurture_sends",
        *_required(sa.Text(), "campaign", "lead_id", "sequence", "step"),
        *_optional(sa.Text(), "variant"),
        *_required(sa.BigInteger(), "campaign_version"),
        *_required(sa.Text(), "message_id", "recipient_domain", "state"),
        *_required(UtcInstant(), "due_at"),
        *_optional(UtcInstant(), "sent_at"),
        *_optional(sa.Text(), "reason"),
        *_required(sa.Text(), "sender"),
        *_required(UtcInstant(), "deadline_at"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        *_optional(sa.Text(), "worker", "transport"),
        *_optional(UtcInstant(), "claimed_at", "attempted_at"),
        *_optional(sa.Text(), "reply"),
        sa.PrimaryKeyConstraint("campaign", "lead_id", "step", name="pk_nurture_sends"),
    )
    due = sa.text("state IN ('planned', 'deferred')")
    op.create_index(
        "ix_nurture_sends_due",
        "nurture_sends",
        ["campaign", "due_at"],
        sqlite_where=due,
        postgresql_where=due,
    )
    op.create_index("ix_nurture_sends_message_id", "nurture_sends", ["message_id"], unique=True)
    op.create_index("ix_nurture_sends_sender", "nurture_sends", ["sender", "sent_at"])


def _campaigns() -> None:
    op.create_table(
        "campaigns",
        *_required(sa.Text(), "campaign", "name", "owner"),
        *_required(sa.BigInteger(), "version"),
        *_required(sa.Text(), "state"),
        *_required(UtcInstant(), "created_at", "updated_at"),
        sa.PrimaryKeyConstraint("campaign", name="pk_campaigns"),
    )
    op.create_table(
        "campaign_versions",
        *_required(sa.Text(), "campaign"),
        *_required(sa.BigInteger(), "version"),
        *_required(sa.Text(), "digest", "document", "templates", "folder"),
        *_required(UtcInstant(), "applied_at"),
        sa.PrimaryKeyConstraint("campaign", "version", name="pk_campaign_versions"),
        sa.ForeignKeyConstraint(
            ["campaign"], ["campaigns.campaign"], name="fk_campaign_versions_campaign"
        ),
    )


def _intake() -> None:
    op.create_table(
        "rejects",
        sa.Column("id", _id, nullable=False),
        *_required(sa.Text(), "campaign", "source", "file"),
        *_required(sa.BigInteger(), "row"),
        *_required(sa.Text(), "reason", "content"),
        sa.PrimaryKeyConstraint("id", name="pk_rejects"),
    )
    op.create_index("ix_rejects_campaign", "rejects", ["campaign"])
    op.create_table(
        "lead_aliases",
        *_required(sa.Text(), "campaign", "alias", "lead_id"),
        sa.PrimaryKeyConstraint("campaign", "alias", name="pk_lead_aliases"),
    )


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", _id, nullable=False),
        *_required(sa.Text(), "campaign", "lead_id", "stage", "outcome", "reason", "decided_by"),
        *_required(UtcInstant(), "decided_at"),
        *_required(sa.BigInteger(), "campaign_version"),
        *_required(sa.Text(), "inputs"),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_lead", "decisions", ["campaign", "lead_id", "id"])
    op.create_index("ix_decisions_stage", "decisions", ["campaign", "stage", "lead_id", "id"])


def _verdicts() -> None:
    op.create_table(
        "overrides",
        sa.Column("id", _id, nullable=False),
        *_required(sa.Text(), "campaign", "lead_id", "action", "reason", "decided_by"),
        *_required(UtcInstant(), "decided_at"),
        *_optional(UtcInstant(), "expires_at", "withdrawn_at"),
        sa.PrimaryKeyConstraint("id", name="pk_overrides"),
    )
    op.create_index("ix_overrides_lead", "overrides", ["campaign", "lead_id"])
    op.create_table(
        "suppressions",
        *_required(sa.Text(), "kind", "key", "reason", "decided_by"),
        *_required(UtcInstant(), "since"),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_suppressions"),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", _id, nullable=False),
        *_required(sa.Text(), "campaign", "lead_id", "kind"),
        *_optional(sa.Text(), "step"),
        *_required(UtcInstant(), "happened_at"),
        *_required(sa.Text(), "key", "detail"),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("key", name="uq_events_key"),
    )
    op.create_index("ix_events_lead", "events", ["campaign", "lead_id", "kind"])


def _handoffs() -> None:
    op.create_table(
        "handoffs",
        *_required(sa.Text(), "campaign", "lead_id", "destination", "state", "reason"),
        *_required(UtcInstant(), "created_at"),
        *_optional(UtcInstant(), "delivered_at"),
        sa.PrimaryKeyConstraint("campaign", "lead_id", name="pk_handoffs"),
    )


def _provider_calls() -> None:
    op.create_table(
        "provider_calls",
        sa.Column("id", _id, nullable=False),
        *_required(sa.Text(), "campaign", "provider", "operation", "key", "state"),
        *_optional(sa.Double(), "credits"),
        *_optional(sa.Text(), "request_id"),
        *_required(UtcInstant(), "started_at"),
        *_optional(UtcInstant(), "finished_at"),
        *_required(sa.Text(), "detail"),
        sa.PrimaryKeyConstraint("id", name="pk_provider_calls"),
        sa.UniqueConstraint("key", name="uq_provider_calls_key"),
    )


def _models() -> None:
    op.create_table(
        "models",
        *_required(sa.Text(), "version", "campaign", "kind", "state", "document", "metrics"),
        *_required(UtcInstant(), "trained_at"),
        sa.PrimaryKeyConstraint("version", name="pk_models"),
    )
    op.create_index("ix_models_campaign", "models", ["campaign"])
