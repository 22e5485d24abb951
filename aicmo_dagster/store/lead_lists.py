"""The leads of a campaign in pages, each with where it stands; narrowed by what is known of it.

Not here: all that is known of a lead (`leads`), or whole frames (`frames`).
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.store.tables import FRAME_TABLES, decisions, nurture_sends

_RAW = FRAME_TABLES["raw_leads"]
_SCORED = FRAME_TABLES["scored_leads"]
_QUALIFIED = FRAME_TABLES["qualified_leads"]
_ROUTED = FRAME_TABLES["routed_leads"]
_STAGES = {**FRAME_TABLES, "nurture_sends": nurture_sends}
_OF_LEAD = (
    *("lead_id", "email", "first_name", "last_name", "title", "company", "domain", "country"),
    *("source", "first_seen_at", "last_seen_at"),
)


@dataclass(frozen=True)
class Narrowed:
    """Which leads of a campaign are wanted; everything that is none lets all through.

    Args:
        stage: Those that have come at least this far: the name of one of the five.
        decision: Those whose latest decision at qualification is this.
        band: Those of this band.
        least_score: Those of at least this score.
        most_score: Those of at most this score.
        sequence: Those in this sequence.
    """

    stage: str | None = None
    decision: str | None = None
    band: str | None = None
    least_score: float | None = None
    most_score: float | None = None
    sequence: str | None = None


def list_leads(
    connection: sa.Connection,
    campaign: str,
    narrowed: Narrowed,
    limit: int,
    after: str | None = None,
) -> list[dict[str, Any]]:
    """Up to `limit` leads by id, from the one after `after` on.

    Each has its own fields, `score`, `band`, `sequence`, and `qualified`: whether it goes on.
    """
    source: sa.FromClause = _RAW
    for table in (_SCORED, _QUALIFIED, _ROUTED):
        source = source.outerjoin(table, _same(table))
    query = (
        sa.select(
            *(_RAW.c[name] for name in _OF_LEAD),
            _SCORED.c.score,
            _SCORED.c.band,
            _QUALIFIED.c.lead_id.is_not(None).label("qualified"),
            _ROUTED.c.sequence,
        )
        .select_from(source)
        .where(_RAW.c.campaign == campaign, *_conditions(narrowed))
        .order_by(_RAW.c.lead_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(_RAW.c.lead_id > after)
    return [dict(row) for row in connection.execute(query).mappings()]


def lead_rows(connection: sa.Connection, campaign: str, lead_id: str) -> dict[str, dict[str, Any]]:
    """The lead's row of each stage that has one."""
    found = {}
    for stage, table in FRAME_TABLES.items():
        query = sa.select(table).where(table.c.campaign == campaign, table.c.lead_id == lead_id)
        row = connection.execute(query).mappings().one_or_none()
        if row is not None:
            found[stage] = dict(row)
    return found


def _same(table: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.campaign == _RAW.c.campaign, table.c.lead_id == _RAW.c.lead_id)


def _conditions(narrowed: Narrowed) -> list[sa.ColumnElement[bool]]:
    score = _SCORED.c.score
    found: list[sa.ColumnElement[bool]] = []
    if narrowed.stage is not None:
        reached = _STAGES[narrowed.stage].alias("reached")  # it may be joined for its columns too
        found.append(sa.exists().where(_same(reached)))
    if narrowed.decision is not None:
        found.append(_latest_decision() == narrowed.decision)
    if narrowed.band is not None:
        found.append(_SCORED.c.band == narrowed.band)
    if narrowed.least_score is not None:
        found.append(score >= narrowed.least_score)
    if narrowed.most_score is not None:
        found.append(score <= narrowed.most_score)
    if narrowed.sequence is not None:
        found.append(_ROUTED.c.sequence == narrowed.sequence)
    return found


def _latest_decision() -> sa.ScalarSelect[str]:
    same = (decisions.c.campaign == _RAW.c.campaign, decisions.c.lead_id == _RAW.c.lead_id)
    return (
        sa.select(decisions.c.outcome)
        .where(*same, decisions.c.stage == "qualified_leads")
        .order_by(decisions.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
