"""The tables: the five stages, made from their frames' models, and what stands beside them.

Not here: operations on them, how conditions of indexes are spelled (`index_conditions`).
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from aicmo_dagster.domain.schemas import SCHEMAS, dtypes
from aicmo_dagster.store.index_conditions import one_of

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


class UtcInstant(TypeDecorator[datetime]):
    """An aware instant: timestamptz on PostgreSQL, sortable ISO 8601 text in UTC on SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Text of fixed width where the engine has no instants."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.String(32))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Refuses a naive datetime, whose instant nobody knows."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return instant_text(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """An aware datetime in UTC."""
        if value is None:
            return None
        return datetime.fromisoformat(value) if dialect.name == "sqlite" else value.astimezone(UTC)


def instant_text(value: datetime) -> str:
    """`value` in UTC with microseconds: text that sorts as the instants do."""
    return value.astimezone(UTC).isoformat(timespec="microseconds")


_SQL_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "string": sa.Text(),
    "int64": sa.BigInteger(),
    "double": sa.Double(),
    "bool": sa.Boolean(),
    "timestamp[us, tz=UTC]": UtcInstant(),
}


SMALL_ROWS: dict[str, Any] = {"sqlite_with_rowid": False}
"""Of a table whose rows are far smaller than a page: on SQLite it is its key's index, which is all
that is written. Rows of a quarter of a page and more would each take a page of their own."""


def _stage_table(
    stage: str, *extra: sa.schema.SchemaItem, key: tuple[str, ...], **options: Any
) -> sa.Table:
    columns = SCHEMAS[stage].to_schema().columns
    return sa.Table(
        stage,
        metadata,
        sa.Column("campaign", sa.Text(), nullable=False),
        *(
            sa.Column(name, _SQL_TYPES[str(dtype.pyarrow_dtype)], nullable=columns[name].nullable)
            for name, dtype in dtypes(stage).items()
        ),
        *extra,
        sa.PrimaryKeyConstraint("campaign", *key),
        **options,
    )


FRAME_TABLES = {
    "raw_leads": _stage_table("raw_leads", key=("lead_id",)),
    "scored_leads": _stage_table("scored_leads", key=("lead_id",)),
    "qualified_leads": _stage_table("qualified_leads", key=("lead_id",), **SMALL_ROWS),
    "routed_leads": _stage_table("routed_leads", key=("lead_id",), **SMALL_ROWS),
}
"""The stages whose frame a materialisation replaces."""

sa.Index("ix_raw_leads_email", FRAME_TABLES["raw_leads"].c.email)
sa.Index(  # whoever was routed last is found without a look at the others
    "ix_routed_leads_position",
    FRAME_TABLES["routed_leads"].c.campaign,
    FRAME_TABLES["routed_leads"].c.position,
)

enrolments = sa.Table(
    "enrolments",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("lead_id", sa.Text(), nullable=False),
    sa.Column("person", sa.Text()),
    sa.Column("last_step", sa.Text(), nullable=False),
    sa.Column("since", UtcInstant(), nullable=False),
    sa.Column("ended_at", UtcInstant()),
    sa.PrimaryKeyConstraint("campaign", "lead_id"),
    **SMALL_ROWS,
)
sa.Index(  # nobody is in two sequences at once, whoever runs at the same moment
    "uq_enrolments_person",
    enrolments.c.person,
    unique=True,
    sqlite_where=enrolments.c.ended_at.is_(None),
    postgresql_where=enrolments.c.ended_at.is_(None),
)

nurture_sends = _stage_table(
    "nurture_sends",
    sa.Column("sender", sa.Text(), nullable=False),
    sa.Column("deadline_at", UtcInstant(), nullable=False),
    sa.Column("attempts", sa.Integer(), nullable=False, default=0, server_default="0"),
    sa.Column("worker", sa.Text()),
    sa.Column("transport", sa.Text()),
    sa.Column("claimed_at", UtcInstant()),
    sa.Column("attempted_at", UtcInstant()),
    sa.Column("reply", sa.Text()),
    sa.Column("boot", sa.Text()),
    sa.Column("dated_at", UtcInstant()),
    sa.Column("fault", sa.Text()),
    sa.Column("priority", sa.Integer(), nullable=False, default=0, server_default="0"),
    sa.Column("followed_at", UtcInstant()),
    sa.Column("address_key", sa.Text()),
    key=("lead_id", "step"),
)
sa.Index(
    "ix_nurture_sends_due",
    nurture_sends.c.campaign,
    nurture_sends.c.priority,
    nurture_sends.c.due_at,
    nurture_sends.c.lead_id,
    sqlite_where=nurture_sends.c.state.in_(("planned", "deferred")),
    postgresql_where=nurture_sends.c.state.in_(("planned", "deferred")),
)
sa.Index(  # what has been settled and planning has not taken note of
    "ix_nurture_sends_unfollowed",
    nurture_sends.c.campaign,
    sqlite_where=nurture_sends.c.followed_at.is_(None)
    & one_of(nurture_sends.c.state, "accepted", "cancelled", "rejected"),
    postgresql_where=nurture_sends.c.followed_at.is_(None)
    & one_of(nurture_sends.c.state, "accepted", "cancelled", "rejected"),
)
sa.Index("ix_nurture_sends_message_id", nurture_sends.c.message_id, unique=True)
sa.Index("ix_nurture_sends_sender", nurture_sends.c.sender, nurture_sends.c.sent_at)
sa.Index("ix_nurture_sends_claimed", nurture_sends.c.sender, nurture_sends.c.claimed_at)
for _name, _states in (
    ("open", ("attempting", "claimed", "unknown")),
    ("told", ("accepted", "cancelled", "deferred", "rejected")),
):
    sa.Index(
        f"ix_nurture_sends_{_name}",
        nurture_sends.c.campaign,
        nurture_sends.c.state,
        sqlite_where=one_of(nurture_sends.c.state, *_states),
        postgresql_where=one_of(nurture_sends.c.state, *_states),
    )

breakers = sa.Table(
    "breakers",
    metadata,
    sa.Column("sender", sa.Text(), nullable=False),
    sa.Column("scope", sa.Text(), nullable=False),
    sa.Column("failures", sa.BigInteger(), nullable=False),
    sa.Column("open_until", UtcInstant()),
    sa.PrimaryKeyConstraint("sender", "scope"),
)

environments = sa.Table(
    "environments",
    metadata,
    sa.Column("id", sa.Text(), primary_key=True),
    sa.Column("environment", sa.Text(), nullable=False),
    sa.Column("claims", sa.BigInteger(), nullable=False),
    sa.Column("since", UtcInstant(), nullable=False),
)

agenda = sa.Table(
    "agenda",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("lead_id", sa.Text(), nullable=False),
    sa.Column("position", sa.BigInteger(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text()),
    sa.Column("look_at", UtcInstant()),
    sa.Column("changed_at", UtcInstant(), nullable=False),
    sa.Column("not_before", UtcInstant()),
    sa.PrimaryKeyConstraint("campaign", "lead_id"),
)
sa.Index("ix_agenda_position", agenda.c.campaign, agenda.c.position)
sa.Index(
    "ix_agenda_look_at",
    agenda.c.campaign,
    agenda.c.look_at,
    sqlite_where=agenda.c.look_at.is_not(None),
    postgresql_where=agenda.c.look_at.is_not(None),
)

planning_cursors = sa.Table(
    "planning_cursors",
    metadata,
    sa.Column("campaign", sa.Text(), primary_key=True),
    sa.Column("event_id", sa.BigInteger(), nullable=False),
)

pauses = sa.Table(
    "pauses",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("campaign", sa.Text(), nullable=False, index=True),
    sa.Column("sequence", sa.Text()),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("paused_by", sa.Text(), nullable=False),
    sa.Column("paused_at", UtcInstant(), nullable=False),
    sa.Column("resumed_at", UtcInstant()),
    sa.Column("resumed_by", sa.Text()),
    sa.Column("mode", sa.Text()),
)

experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("sequence", sa.Text(), nullable=False),
    sa.Column("step", sa.Text(), nullable=False),
    sa.Column("fingerprint", sa.Text(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("winner", sa.Text()),
    sa.Column("stopped", sa.Text(), nullable=False),
    sa.Column("looks", sa.Text(), nullable=False),
    sa.Column("asked_at", UtcInstant(), nullable=False),
    sa.Column("decided_at", UtcInstant()),
    sa.PrimaryKeyConstraint("campaign", "sequence", "step", "fingerprint"),
)

mailbox_providers = sa.Table(
    "mailbox_providers",
    metadata,
    sa.Column("domain", sa.Text(), primary_key=True),
    sa.Column("provider", sa.Text(), nullable=False),
    sa.Column("asked_at", UtcInstant(), nullable=False),
)

sender_paces = sa.Table(
    "sender_paces",
    metadata,
    sa.Column("sender", sa.Text(), primary_key=True),
    sa.Column("level", sa.BigInteger(), nullable=False),
    sa.Column("level_since", UtcInstant(), nullable=False),
    sa.Column("health", sa.Text(), nullable=False),
    sa.Column("judged_at", UtcInstant(), nullable=False),
)

sender_turns = sa.Table(
    "sender_turns",
    metadata,
    sa.Column("sender", sa.Text(), nullable=False),
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("asked_at", UtcInstant(), nullable=False),
    sa.PrimaryKeyConstraint("sender", "campaign"),
)

rehearsals = sa.Table(
    "rehearsals",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("passed", sa.Boolean(), nullable=False),
    sa.Column("leads", sa.BigInteger(), nullable=False),
    sa.Column("findings", sa.Text(), nullable=False),
    sa.Column("rehearsed_at", UtcInstant(), nullable=False),
    sa.PrimaryKeyConstraint("campaign", "version"),
)

campaigns = sa.Table(
    "campaigns",
    metadata,
    sa.Column("campaign", sa.Text(), primary_key=True),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("owner", sa.Text(), nullable=False),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("created_at", UtcInstant(), nullable=False),
    sa.Column("updated_at", UtcInstant(), nullable=False),
    sa.Column("schedule", sa.Text(), nullable=False, server_default="{}"),
    sa.Column("scheduled_since", UtcInstant()),
)

campaign_versions = sa.Table(
    "campaign_versions",
    metadata,
    sa.Column("campaign", sa.Text(), sa.ForeignKey("campaigns.campaign"), nullable=False),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("digest", sa.Text(), nullable=False),
    sa.Column("document", sa.Text(), nullable=False),
    sa.Column("templates", sa.Text(), nullable=False),
    sa.Column("folder", sa.Text(), nullable=False),
    sa.Column("applied_at", UtcInstant(), nullable=False),
    sa.PrimaryKeyConstraint("campaign", "version"),
)

rejects = sa.Table(
    "rejects",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("campaign", sa.Text(), nullable=False, index=True),
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("file", sa.Text(), nullable=False),
    sa.Column("row", sa.BigInteger(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("content", sa.Text(), nullable=False),
)

lead_aliases = sa.Table(
    "lead_aliases",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("alias", sa.Text(), nullable=False),
    sa.Column("lead_id", sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint("campaign", "alias"),
    **SMALL_ROWS,
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("lead_id", sa.Text(), nullable=False),
    sa.Column("stage", sa.Text(), nullable=False),
    sa.Column("outcome", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("decided_by", sa.Text(), nullable=False),
    sa.Column("decided_at", UtcInstant(), nullable=False),
    sa.Column("campaign_version", sa.BigInteger(), nullable=False),
    sa.Column("inputs", sa.Text(), nullable=False),
)
sa.Index(  # the latest decision on a lead, by stage, is read from this index alone
    "ix_decisions_lead",
    decisions.c.campaign,
    decisions.c.lead_id,
    decisions.c.stage,
    decisions.c.id,
)

overrides = sa.Table(
    "overrides",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("lead_id", sa.Text(), nullable=False),
    sa.Column("action", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("decided_by", sa.Text(), nullable=False),
    sa.Column("decided_at", UtcInstant(), nullable=False),
    sa.Column("expires_at", UtcInstant()),
    sa.Column("withdrawn_at", UtcInstant()),
)
sa.Index("ix_overrides_lead", overrides.c.campaign, overrides.c.lead_id)

suppressions = sa.Table(
    "suppressions",
    metadata,
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("key", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("decided_by", sa.Text(), nullable=False),
    sa.Column("since", UtcInstant(), nullable=False),
    sa.PrimaryKeyConstraint("kind", "key"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("lead_id", sa.Text(), nullable=False),
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("step", sa.Text()),
    sa.Column("happened_at", UtcInstant(), nullable=False),
    sa.Column("key", sa.Text(), nullable=False, unique=True),
    sa.Column("detail", sa.Text(), nullable=False),
    sa.Column("link", sa.Text()),
    sa.Column("method", sa.Text()),
    sa.Column("agent", sa.Text()),
    sa.Column("client", sa.Text()),
    sa.Column("client_network", sa.Text()),
)
sa.Index("ix_events_lead", events.c.campaign, events.c.lead_id, events.c.kind)
sa.Index("ix_events_campaign", events.c.campaign, events.c.id)
sa.Index(  # what a sender is judged by
    "ix_events_harm",
    events.c.happened_at,
    sqlite_where=events.c.kind.in_(("bounce", "complaint")),
    postgresql_where=events.c.kind.in_(("bounce", "complaint")),
)
sa.Index(  # what no machine makes up, found without a look at opens and clicks
    "ix_events_told",
    events.c.campaign,
    events.c.kind,
    events.c.lead_id,
    events.c.step,
    events.c.happened_at,
    sqlite_where=one_of(events.c.kind, "bounce", "complaint", "reply", "unsubscribe"),
    postgresql_where=one_of(events.c.kind, "bounce", "complaint", "reply", "unsubscribe"),
)
sa.Index(  # those whose client's address is still whole
    "ix_events_client",
    events.c.happened_at,
    sqlite_where=events.c.client.is_not(None),
    postgresql_where=events.c.client.is_not(None),
)

engagement = sa.Table(
    "engagement",
    metadata,
    sa.Column("event_id", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("lead_id", sa.Text(), nullable=False),
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("step", sa.Text()),
    sa.Column("happened_at", UtcInstant(), nullable=False),
    sa.Column("verdict", sa.Text(), nullable=False),
    sa.Column("rule", sa.Text(), nullable=False),
    sa.Column("rules_version", sa.BigInteger(), nullable=False),
)
sa.Index("ix_engagement_lead", engagement.c.campaign, engagement.c.lead_id)
sa.Index(
    "ix_engagement_pending",
    engagement.c.happened_at,
    sqlite_where=engagement.c.verdict == "pending",
    postgresql_where=engagement.c.verdict == "pending",
)

links = sa.Table(
    "links",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("link", sa.Text(), nullable=False),
    sa.Column("url", sa.Text(), nullable=False),
    sa.Column("created_at", UtcInstant(), nullable=False),
    sa.Column("lead_id", sa.Text()),
    sa.PrimaryKeyConstraint("campaign", "link"),
)
sa.Index("ix_links_created_at", links.c.created_at)

inbound_messages = sa.Table(
    "inbound_messages",
    metadata,
    sa.Column("key", sa.Text(), primary_key=True),
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("campaign", sa.Text()),
    sa.Column("lead_id", sa.Text()),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("handled_at", UtcInstant(), nullable=False),
)

inbound_cursors = sa.Table(
    "inbound_cursors",
    metadata,
    sa.Column("mailbox", sa.Text(), primary_key=True),
    sa.Column("cursor", sa.Text(), nullable=False),
    sa.Column("moved_at", UtcInstant(), nullable=False),
)

handoffs = sa.Table(
    "handoffs",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("lead_id", sa.Text(), nullable=False),
    sa.Column("destination", sa.Text(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("created_at", UtcInstant(), nullable=False),
    sa.Column("delivered_at", UtcInstant()),
    sa.Column("key", sa.Text()),
    sa.Column("document", sa.Text(), nullable=False, server_default="{}"),
    sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("next_attempt_at", UtcInstant()),
    sa.Column("error", sa.Text()),
    sa.Column("acknowledged_at", UtcInstant()),
    sa.Column("acknowledged_by", sa.Text()),
    sa.PrimaryKeyConstraint("campaign", "lead_id"),
)
sa.Index(
    "ix_handoffs_due",
    handoffs.c.next_attempt_at,
    sqlite_where=handoffs.c.state == "due",
    postgresql_where=handoffs.c.state == "due",
)

sa.Index(  # those that nobody took up
    "ix_handoffs_open",
    handoffs.c.created_at,
    sqlite_where=handoffs.c.acknowledged_at.is_(None),
    postgresql_where=handoffs.c.acknowledged_at.is_(None),
)

escalations = sa.Table(
    "escalations",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("lead_id", sa.Text(), nullable=False),
    sa.Column("level", sa.BigInteger(), nullable=False),
    sa.Column("channel", sa.Text(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("key", sa.Text(), nullable=False),
    sa.Column("created_at", UtcInstant(), nullable=False),
    sa.Column("next_attempt_at", UtcInstant()),
    sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("worker", sa.Text()),
    sa.Column("transport", sa.Text()),
    sa.Column("finished_at", UtcInstant()),
    sa.Column("error", sa.Text()),
    sa.PrimaryKeyConstraint("campaign", "lead_id", "level", "channel"),
)
sa.Index(
    "ix_escalations_open",
    escalations.c.next_attempt_at,
    sqlite_where=escalations.c.state.in_(("due", "attempting")),
    postgresql_where=escalations.c.state.in_(("due", "attempting")),
)

provider_calls = sa.Table(
    "provider_calls",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("provider", sa.Text(), nullable=False),
    sa.Column("operation", sa.Text(), nullable=False),
    sa.Column("key", sa.Text(), nullable=False, unique=True),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("credits", sa.Double()),
    sa.Column("request_id", sa.Text()),
    sa.Column("started_at", UtcInstant(), nullable=False),
    sa.Column("finished_at", UtcInstant()),
    sa.Column("detail", sa.Text(), nullable=False),
    sa.Column("people", sa.Text(), nullable=False, server_default="[]"),
    sa.Column("credits_at_most", sa.Double(), nullable=False, server_default="0"),
    sa.Column("worker", sa.Text()),
)
sa.Index("ix_provider_calls_campaign", provider_calls.c.campaign, provider_calls.c.provider)
sa.Index(
    "ix_provider_calls_open",
    provider_calls.c.provider,
    sqlite_where=one_of(provider_calls.c.state, "begun", "pending", "unknown"),
    postgresql_where=one_of(provider_calls.c.state, "begun", "pending", "unknown"),
)

provider_answers = sa.Table(
    "provider_answers",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("lead_id", sa.Text(), nullable=False),
    sa.Column("provider", sa.Text(), nullable=False),
    sa.Column("person_key", sa.Text(), nullable=False),
    sa.Column("answer", sa.Text(), nullable=False),
    sa.Column("status", sa.Text(), nullable=False),
    sa.Column("usable", sa.Boolean(), nullable=False),
    sa.Column("credits", sa.Double(), nullable=False),
    sa.Column("answered_at", UtcInstant(), nullable=False),
    sa.Column("cached", sa.Boolean(), nullable=False),
    sa.PrimaryKeyConstraint("campaign", "lead_id", "provider", "person_key"),
)
sa.Index(
    "ix_provider_answers_person",
    provider_answers.c.provider,
    provider_answers.c.person_key,
    provider_answers.c.answered_at,
)

rate_windows = sa.Table(
    "rate_windows",
    metadata,
    sa.Column("provider", sa.Text(), nullable=False),
    sa.Column("key_hash", sa.Text(), nullable=False),
    sa.Column("window", sa.Text(), nullable=False),
    sa.Column("limit", sa.BigInteger()),
    sa.Column("seconds", sa.Double(), nullable=False),
    sa.Column("taken", sa.Text(), nullable=False),
    sa.Column("elsewhere", sa.BigInteger(), nullable=False),
    sa.Column("elsewhere_until", UtcInstant()),
    sa.Column("closed_until", UtcInstant()),
    sa.PrimaryKeyConstraint("provider", "key_hash", "window"),
)

search_pages = sa.Table(
    "search_pages",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("search", sa.Text(), nullable=False),
    sa.Column("page", sa.BigInteger(), nullable=False),
    sa.Column("total", sa.BigInteger()),
    sa.Column("people", sa.Text(), nullable=False),
    sa.Column("found_at", UtcInstant(), nullable=False),
    sa.PrimaryKeyConstraint("campaign", "search", "page"),
)

balance_marks = sa.Table(
    "balance_marks",
    metadata,
    sa.Column("provider", sa.Text(), primary_key=True),
    sa.Column("key_hash", sa.Text(), nullable=False),
    sa.Column("balance", sa.Double(), nullable=False),
    sa.Column("read_at", UtcInstant(), nullable=False),
)

person_aliases = sa.Table(
    "person_aliases",
    metadata,
    sa.Column("provider", sa.Text(), nullable=False),
    sa.Column("alias", sa.Text(), nullable=False),
    sa.Column("person_key", sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint("provider", "alias"),
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("version", sa.Text(), nullable=False),
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("document", sa.Text(), nullable=False),
    sa.Column("metrics", sa.Text(), nullable=False),
    sa.Column("trained_at", UtcInstant(), nullable=False),
    sa.PrimaryKeyConstraint("campaign", "version"),
)

clocks = sa.Table(
    "clocks",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("job", sa.Text(), nullable=False),
    sa.Column("dealt_until", UtcInstant(), nullable=False),
    sa.PrimaryKeyConstraint("campaign", "job"),
)

ticks = sa.Table(
    "ticks",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("job", sa.Text(), nullable=False),
    sa.Column("due_at", UtcInstant(), nullable=False),
    sa.Column("run_key", sa.Text(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("claimed_at", UtcInstant(), nullable=False),
    sa.Column("finished_at", UtcInstant()),
    sa.PrimaryKeyConstraint("campaign", "job", "due_at"),
)
sa.Index(
    "ix_ticks_open",
    ticks.c.run_key,
    sqlite_where=ticks.c.state == "claimed",
    postgresql_where=ticks.c.state == "claimed",
)
sa.Index(
    "ix_ticks_failed",
    ticks.c.due_at,
    sqlite_where=ticks.c.state == "failed",
    postgresql_where=ticks.c.state == "failed",
)

stage_states = sa.Table(
    "stage_states",
    metadata,
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("stage", sa.Text(), nullable=False),
    sa.Column("succeeded_at", UtcInstant()),
    sa.Column("succeeded_in", sa.Text()),
    sa.Column("failed_at", UtcInstant()),
    sa.Column("failed_in", sa.Text()),
    sa.Column("failure", sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint("campaign", "stage"),
)

stage_results = sa.Table(
    "stage_results",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("stage", sa.Text(), nullable=False),
    sa.Column("run_id", sa.Text(), nullable=False),
    sa.Column("started_at", UtcInstant(), nullable=False),
    sa.Column("finished_at", UtcInstant(), nullable=False),
    sa.Column("succeeded", sa.Boolean(), nullable=False),
    sa.Column("rows_in", sa.BigInteger()),
    sa.Column("rows_out", sa.BigInteger()),
    sa.Column("figures", sa.Text(), nullable=False),
    sa.Column("failure", sa.Text(), nullable=False),
)
sa.Index(
    "ix_stage_results_stage",
    stage_results.c.campaign,
    stage_results.c.stage,
    stage_results.c.finished_at,
)

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("subject", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("run_id", sa.Text(), nullable=False),
    sa.Column("opened_at", UtcInstant(), nullable=False),
    sa.Column("closed_at", UtcInstant()),
    sa.Column("told_at", UtcInstant()),
    sa.Column("end_told_at", UtcInstant()),
    sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("next_attempt_at", UtcInstant()),
    sa.Column("error", sa.Text()),
)
sa.Index(
    "ix_incidents_open",
    incidents.c.kind,
    incidents.c.campaign,
    incidents.c.subject,
    unique=True,
    sqlite_where=incidents.c.closed_at.is_(None),
    postgresql_where=incidents.c.closed_at.is_(None),
)
sa.Index(
    "ix_incidents_waiting",
    incidents.c.next_attempt_at,
    sqlite_where=incidents.c.next_attempt_at.is_not(None),
    postgresql_where=incidents.c.next_attempt_at.is_not(None),
)

source_marks = sa.Table(
    "source_marks",
    metadata,
    sa.Column("campaign", sa.Text(), primary_key=True),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("patterns", sa.Text(), nullable=False),
    sa.Column("mark", sa.Text(), nullable=False),
    sa.Column("noted_at", UtcInstant(), nullable=False),
)

model_changes = sa.Table(
    "model_changes",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("version", sa.Text(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("decided_by", sa.Text(), nullable=False),
    sa.Column("decided_at", UtcInstant(), nullable=False),
)
sa.Index("ix_model_changes_campaign", model_changes.c.campaign, model_changes.c.id)
sa.Index("ix_stage_results_run", stage_results.c.run_id)

heartbeats = sa.Table(
    "heartbeats",
    metadata,
    sa.Column("name", sa.Text(), primary_key=True),
    sa.Column("beat_at", UtcInstant(), nullable=False),
)

run_intents = sa.Table(
    "run_intents",
    metadata,
    sa.Column("id", sa.Text(), primary_key=True),
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("action", sa.Text(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("run_id", sa.Text()),
    sa.Column("requested_by", sa.Text(), nullable=False),
    sa.Column("requested_at", UtcInstant(), nullable=False),
    sa.Column("attempted_at", UtcInstant(), nullable=False),
)
sa.Index(  # one launch at a time, whoever asks at the same moment
    "uq_run_intents_launching",
    run_intents.c.campaign,
    unique=True,
    sqlite_where=run_intents.c.state == "launching",
    postgresql_where=run_intents.c.state == "launching",
)

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("id", sa.Text(), primary_key=True),
    sa.Column("url", sa.Text(), nullable=False),
    sa.Column("events", sa.Text(), nullable=False),
    sa.Column("campaigns", sa.Text()),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("created_by", sa.Text(), nullable=False),
    sa.Column("created_at", UtcInstant(), nullable=False),
    sa.Column("updated_at", UtcInstant(), nullable=False),
)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column("key", sa.Text(), primary_key=True),
    sa.Column("webhook", sa.Text(), nullable=False),
    sa.Column("event", sa.Text(), nullable=False),
    sa.Column("campaign", sa.Text()),
    sa.Column("lead_id", sa.Text()),
    sa.Column("document", sa.Text(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("attempts", sa.BigInteger(), nullable=False),
    sa.Column("created_at", UtcInstant(), nullable=False),
    sa.Column("next_attempt_at", UtcInstant()),
    sa.Column("delivered_at", UtcInstant()),
    sa.Column("error", sa.Text()),
)
sa.Index("ix_webhook_deliveries_webhook", webhook_deliveries.c.webhook, webhook_deliveries.c.key)
sa.Index(
    "ix_webhook_deliveries_due",
    webhook_deliveries.c.next_attempt_at,
    sqlite_where=webhook_deliveries.c.state == "due",
    postgresql_where=webhook_deliveries.c.state == "due",
)
sa.Index(
    "ix_webhook_deliveries_dead",
    webhook_deliveries.c.webhook,
    sqlite_where=webhook_deliveries.c.state == "dead",
    postgresql_where=webhook_deliveries.c.state == "dead",
)


api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("id", sa.Text(), primary_key=True),
    sa.Column("digest", sa.Text(), nullable=False),
    sa.Column("role", sa.Text(), nullable=False),
    sa.Column("campaigns", sa.Text()),
    sa.Column("created_by", sa.Text(), nullable=False),
    sa.Column("created_at", UtcInstant(), nullable=False),
    sa.Column("last_used_at", UtcInstant()),
    sa.Column("expires_at", UtcInstant()),
    sa.Column("revoked_at", UtcInstant()),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("at", UtcInstant(), nullable=False),
    sa.Column("who", sa.Text(), nullable=False),
    sa.Column("action", sa.Text(), nullable=False),
    sa.Column("campaign", sa.Text()),
    sa.Column("subject", sa.Text()),
    sa.Column("before", sa.Text()),
    sa.Column("after", sa.Text()),
)
sa.Index("ix_audit_campaign", audit.c.campaign, audit.c.id)

api_requests = sa.Table(
    "api_requests",
    metadata,
    sa.Column("token_id", sa.Text(), nullable=False),
    sa.Column("operation", sa.Text(), nullable=False),
    sa.Column("key", sa.Text(), nullable=False),
    sa.Column("digest", sa.Text(), nullable=False),
    sa.Column("claimed_at", UtcInstant(), nullable=False),
    sa.Column("status", sa.Integer()),
    sa.Column("headers", sa.Text()),
    sa.Column("body", sa.Text()),
    sa.PrimaryKeyConstraint("token_id", "operation", "key"),
)
sa.Index("ix_api_requests_claimed_at", api_requests.c.claimed_at)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("campaign", sa.Text(), nullable=False),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("digest", sa.Text(), nullable=False),
    sa.Column("columns", sa.Text(), nullable=False),
    sa.Column("rows", sa.BigInteger(), nullable=False),
    sa.Column("rejected", sa.BigInteger(), nullable=False),
    sa.Column("created_by", sa.Text(), nullable=False),
    sa.Column("created_at", UtcInstant(), nullable=False),
    sa.Column("is_whole", sa.Boolean(), nullable=False),
    sqlite_autoincrement=True,  # a source's name is never another's, however many were removed
)
sa.Index("ix_uploads_campaign", uploads.c.campaign, uploads.c.name)

upload_chunks = sa.Table(
    "upload_chunks",
    metadata,
    sa.Column("upload", sa.BigInteger(), nullable=False),
    sa.Column("number", sa.BigInteger(), nullable=False),
    sa.Column("content", sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint("upload", "number"),
)
