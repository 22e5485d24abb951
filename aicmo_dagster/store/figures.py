"""The figures of one campaign, of some, or of all, counted in the database in one statement.

Leads that were scored or qualified count on the day they arrived, messages on the day they were
sent, responses on the day of the first of them; days are UTC's. Not here: rates
(`domain.counts`), or what is wrong (`troubles`).
"""

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from aicmo_dagster.domain.counts import Count
from aicmo_dagster.domain.figures import SCORE_STEP
from aicmo_dagster.domain.nurture.engagement import HUMAN
from aicmo_dagster.store.index_conditions import constant, written_out
from aicmo_dagster.store.prepared import PreparedSelect
from aicmo_dagster.store.provider_calls import COUNTED
from aicmo_dagster.store.responses import BOUNCED, COMPLAINED, REPLIED, UNSUBSCRIBED
from aicmo_dagster.store.tables import (
    FRAME_TABLES,
    engagement,
    events,
    handoffs,
    nurture_sends,
    provider_calls,
    rejects,
    stage_results,
)

Scope = Collection[str] | None
"""The campaigns that are counted; all if there is none."""

TOLD = (BOUNCED, COMPLAINED, REPLIED, UNSUBSCRIBED)
"""Events that no machine makes up: the kinds of the index `ix_events_told`."""

_RAW, _SCORED, _QUALIFIED, _ROUTED = (
    FRAME_TABLES[stage]
    for stage in ("raw_leads", "scored_leads", "qualified_leads", "routed_leads")
)
_SENDS = nurture_sends.c
_LEADS_AND_STEPS = ("campaign", "lead_id", "step")


def read_counts(connection: sa.Connection, scope: Scope, since: datetime) -> list[Count]:
    """Everything that is counted of the campaigns of `scope`.

    Args:
        connection: A transaction.
        scope: Whose figures.
        since: How long stages took is told of their runs from this instant on.
    """
    asked = _counts(connection.dialect.name, reach(scope))
    return [
        Count(*row) for row in asked.rows(connection, {**within_parameters(scope), "since": since})
    ]


def reach(scope: Scope) -> str:
    """Whether a scope is `all`, `one` or `some`, which take different statements."""
    if scope is None:
        return "all"
    return "one" if len(scope) == 1 else "some"


def within_parameters(scope: Scope) -> dict[str, Any]:
    """What the parameter of `within` is."""
    if scope is None:
        return {}
    return {"campaigns": next(iter(scope)) if len(scope) == 1 else sorted(scope)}


def within(column: sa.ColumnElement[str], kind: str) -> sa.ColumnElement[bool]:
    """`column` is a campaign of the scope."""
    if kind == "all":
        return sa.true()
    if kind == "one":
        return column == sa.bindparam("campaigns", type_=sa.Text())
    return column.in_(sa.bindparam("campaigns", expanding=True, type_=sa.Text()))


def day_of(column: sa.ColumnElement[datetime], dialect: str) -> sa.ColumnElement[str]:
    """The day of an instant as text, in UTC."""
    if dialect == "sqlite":
        return sa.func.substr(sa.type_coerce(column, sa.Text()), constant(1), constant(10))
    return sa.cast(sa.cast(sa.func.timezone("UTC", column), sa.Date), sa.Text)


def seconds_between(
    first: sa.ColumnElement[datetime], last: sa.ColumnElement[datetime], dialect: str
) -> sa.ColumnElement[float]:
    """The seconds from `first` to `last`."""
    if dialect == "sqlite":
        days = [sa.func.julianday(sa.type_coerce(each, sa.Text())) for each in (last, first)]
        return (days[0] - days[1]) * constant(86400.0)
    return sa.cast(sa.func.extract("epoch", last - first), sa.Double)


@cache  # building it takes longer than running it over a small campaign
def _counts(dialect: str, kind: str) -> PreparedSelect:
    parts = [
        *_of_leads(dialect, kind),
        *_of_sends(dialect, kind),
        *_of_responses(dialect, kind),
        *_of_runs_and_costs(dialect, kind),
    ]
    return PreparedSelect(sa.union_all(*parts))


def _part(
    what: str,
    *where: sa.ColumnElement[bool],
    table: sa.FromClause,
    name: sa.ColumnElement[str] | None = None,
    day: sa.ColumnElement[str] | None = None,
    total: sa.ColumnElement[Any] | None = None,
) -> sa.Select[Any]:
    """One of the counts, in the columns that all have."""
    groups = [column for column in (name, day) if column is not None]
    return (
        sa.select(
            constant(what).label("what"),
            (constant("") if name is None else name).label("name"),
            (sa.cast(sa.null(), sa.Text) if day is None else day).label("day"),
            sa.func.count().label("number"),
            sa.cast(
                constant(0.0)
                if total is None
                else sa.func.coalesce(sa.func.sum(total), constant(0.0)),
                sa.Double,
            ).label("total"),
        )
        .select_from(table)
        .where(*where)
        .group_by(*groups)
    )


def _of_leads(dialect: str, kind: str) -> list[sa.Select[Any]]:
    arrived = day_of(_RAW.c.first_seen_at, dialect)
    bar = sa.cast(
        sa.cast(sa.func.floor(_SCORED.c.score / constant(SCORE_STEP)), sa.Integer), sa.Text
    )
    lost = _joined(_QUALIFIED, _ROUTED, outer=True)
    return [
        _part("rejected", within(rejects.c.campaign, kind), table=rejects),
        _part("harvested", within(_RAW.c.campaign, kind), table=_RAW, day=arrived),
        _part(
            "scored",
            within(_SCORED.c.campaign, kind),
            table=_joined(_SCORED, _RAW),
            name=bar,
            day=arrived,
            total=_SCORED.c.score,
        ),
        _part(
            "qualified",
            within(_QUALIFIED.c.campaign, kind),
            table=_joined(_QUALIFIED, _RAW),
            day=arrived,
        ),
        _part(
            "not routed",
            within(_QUALIFIED.c.campaign, kind),
            _ROUTED.c.lead_id.is_(None),
            table=lost,
        ),
        _part(
            "routed",
            within(_ROUTED.c.campaign, kind),
            table=_ROUTED,
            name=_ROUTED.c.sequence,
            day=day_of(_ROUTED.c.routed_at, dialect),
        ),
    ]


def _of_sends(dialect: str, kind: str) -> list[sa.Select[Any]]:
    mine = within(_SENDS.campaign, kind)
    told = events.alias()
    bounce = (
        sa.select(told.c.campaign, told.c.lead_id, told.c.step)
        .where(
            written_out(told.c.kind, TOLD),
            told.c.kind == constant(BOUNCED),
            within(told.c.campaign, kind),
        )
        .distinct()
        .subquery()
    )
    # A bounce that names no step is of all that the lead got, as experiments take it.
    same = (bounce.c.campaign == _SENDS.campaign) & (bounce.c.lead_id == _SENDS.lead_id)
    step = bounce.c.step.is_(None) | (bounce.c.step == _SENDS.step)
    returned = sa.select(_SENDS.message_id, _SENDS.sent_at).join(bounce, same & step)
    back = returned.where(mine, _SENDS.state == constant("accepted")).distinct().subquery()
    leads = sa.select(_SENDS.campaign, _SENDS.lead_id).where(
        mine, _SENDS.state == constant("accepted")
    )
    return [
        _part(
            "sends",
            mine,
            table=nurture_sends,
            name=_SENDS.state,
            day=day_of(_SENDS.sent_at, dialect),
        ),
        _part("bounced", table=back, day=day_of(back.c.sent_at, dialect)),
        _part("mailed", table=leads.distinct().subquery()),
    ]


def _of_responses(dialect: str, kind: str) -> list[sa.Select[Any]]:
    judged, told = engagement.c, events.c
    mine = within(judged.campaign, kind)
    human = _first(engagement, _LEADS_AND_STEPS, mine & (judged.verdict == constant(HUMAN)))
    own = (
        within(told.campaign, kind)
        & written_out(told.kind, TOLD)
        & (told.kind != constant(BOUNCED))
    )
    said = _first(events, ("campaign", "lead_id"), own)
    verdict = judged.kind + constant(" ") + judged.verdict
    return [
        _part("verdicts", mine, table=engagement, name=verdict),
        *(
            _part("responses", table=each, name=each.c.kind, day=day_of(each.c.at, dialect))
            for each in (human, said)
        ),
        _part(
            "handoffs",
            within(handoffs.c.campaign, kind),
            table=handoffs,
            name=handoffs.c.state,
            day=day_of(handoffs.c.created_at, dialect),
        ),
    ]


def _of_runs_and_costs(dialect: str, kind: str) -> list[sa.Select[Any]]:
    calls, runs = provider_calls.c, stage_results.c
    recent = within(runs.campaign, kind) & (runs.finished_at >= sa.bindparam("since"))
    took = seconds_between(runs.started_at, runs.finished_at, dialect)
    latest = (
        sa.select(sa.func.max(runs.id))
        .where(recent, runs.succeeded)
        .group_by(runs.campaign, runs.stage)
    )
    return [
        _part(
            "credits",
            within(calls.campaign, kind),
            table=provider_calls,
            name=calls.provider,
            day=day_of(calls.started_at, dialect),
            total=COUNTED,
        ),
        _part("runs", recent, runs.succeeded, table=stage_results, name=runs.stage, total=took),
        _part("failed runs", recent, ~runs.succeeded, table=stage_results, name=runs.stage),
        _part("latest runs", runs.id.in_(latest), table=stage_results, name=runs.stage, total=took),
    ]


def _first(table: sa.Table, names: tuple[str, ...], where: sa.ColumnElement[bool]) -> sa.Subquery:
    """Each combination of `names` and a kind once, with when it first was so, as `at`."""
    groups = [*(table.c[name] for name in names), table.c.kind]
    first = sa.func.min(table.c.happened_at).label("at")
    return sa.select(*groups, first).where(where).group_by(*groups).subquery()


def _joined(left: sa.Table, right: sa.Table, *, outer: bool = False) -> sa.Join:
    same = (left.c.campaign == right.c.campaign) & (left.c.lead_id == right.c.lead_id)
    return left.join(right, same, isouter=outer)
