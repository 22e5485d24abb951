"""What each stage did for each campaign: how it stands now, and its history.

Not here: the rows a stage made (`frames`), or why a lead went on (`decisions`).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.store.campaigns import ACTIVE
from aicmo_dagster.store.tables import campaigns, stage_results, stage_states

_STATES = stage_states.c
_RESULTS = stage_results.c
_IS_LATEST = sa.and_(
    _RESULTS.campaign == _STATES.campaign,
    _RESULTS.stage == _STATES.stage,
    _RESULTS.finished_at == _STATES.succeeded_at,
)


@dataclass(frozen=True)
class StageState:
    """How a stage of a campaign stands.

    Args:
        succeeded_at: When it was last done.
        succeeded_in: The run that did it.
        failed_at: When it last failed.
        failed_in: The run in which it did.
        failure: Why, free of personal data; empty if it never failed.
    """

    succeeded_at: datetime | None
    succeeded_in: str | None
    failed_at: datetime | None
    failed_in: str | None
    failure: str

    @property
    def has_failed(self) -> bool:
        """Whether its latest attempt failed."""
        if self.failed_at is None:
            return False
        return self.succeeded_at is None or self.failed_at > self.succeeded_at


@dataclass(frozen=True)
class StageResult:
    """What a run did at one stage of one campaign; `failure` is empty if it was done."""

    campaign: str
    stage: str
    started_at: datetime
    finished_at: datetime
    succeeded: bool
    rows_in: int | None
    rows_out: int | None
    failure: str


def record_success(
    connection: sa.Connection,
    campaign: str,
    stage: str,
    *,
    run_id: str,
    started_at: datetime,
    finished_at: datetime,
    rows_in: int,
    rows_out: int,
    figures: Mapping[str, float],
) -> None:
    """The stage was done for the campaign."""
    _put_state(connection, campaign, stage, succeeded_at=finished_at, succeeded_in=run_id)
    values = {"rows_in": rows_in, "rows_out": rows_out, "figures": json.dumps(dict(figures))}
    _add_result(connection, campaign, stage, run_id, started_at, finished_at, **values)


def record_failure(
    connection: sa.Connection,
    campaign: str,
    stage: str,
    *,
    run_id: str,
    started_at: datetime,
    finished_at: datetime,
    failure: str,
) -> None:
    """The stage failed for the campaign; `failure` must be free of personal data."""
    state = {"failed_at": finished_at, "failed_in": run_id, "failure": failure}
    _put_state(connection, campaign, stage, **state)
    _add_result(connection, campaign, stage, run_id, started_at, finished_at, failure=failure)


def states_of(connection: sa.Connection, campaign: str) -> dict[str, StageState]:
    """Stage to how it stands; one that was never tried is absent."""
    query = sa.select(stage_states).where(_STATES.campaign == campaign)
    return {row.stage: _state(row) for row in connection.execute(query)}


def all_states(connection: sa.Connection) -> dict[str, dict[str, StageState]]:
    """Campaign to stage to how it stands."""
    return _by_campaign(connection, _ALL)


def states_where_followed_by(
    connection: sa.Connection, chain: Sequence[str]
) -> dict[str, dict[str, StageState]]:
    """As `all_states`, of campaigns where a stage of `chain` was done since the next was tried."""
    return _by_campaign(connection, _followed_by(tuple(chain)))


@cache
def _followed_by(chain: tuple[str, ...]) -> sa.Select[Any]:
    above, below = stage_states.alias("above").c, stage_states.alias("below").c
    following = [sa.and_(above.stage == a, below.stage == b) for a, b in pairwise(chain)]
    query = (
        sa.select(above.campaign)
        .select_from(
            sa.outerjoin(
                above.campaign.table,
                below.campaign.table,
                sa.and_(above.campaign == below.campaign, sa.or_(*following)),
            )
        )
        .where(
            above.stage.in_(chain[:-1]),
            below.succeeded_at.is_(None) | (below.succeeded_at < above.succeeded_at),
            below.failed_at.is_(None) | (below.failed_at < above.succeeded_at),
        )
    )
    return sa.select(stage_states).where(_STATES.campaign.in_(query))


_ALL = sa.select(stage_states)


def results_of_run(connection: sa.Connection, run_id: str) -> list[StageResult]:
    """What the run did, attempt by attempt, the oldest first."""
    query = sa.select(*(stage_results.c[name] for name in StageResult.__annotations__))
    theirs = query.where(stage_results.c.run_id == run_id).order_by(stage_results.c.id)
    return [StageResult(**row._mapping) for row in connection.execute(theirs)]


def latest_success(
    connection: sa.Connection, campaign: str, stage: str, before: datetime | None = None
) -> StageResult | None:
    """How the stage of the campaign was last done, by `before` if that is given."""
    columns = stage_results.c
    query = (
        sa.select(*(columns[name] for name in StageResult.__annotations__))
        .where(columns.campaign == campaign, columns.stage == stage, columns.succeeded)
        .order_by(columns.finished_at.desc(), columns.id.desc())
        .limit(1)
    )
    if before is not None:
        query = query.where(columns.finished_at <= before)
    row = connection.execute(query).one_or_none()
    return StageResult(**row._mapping) if row else None


def latest_figures(
    connection: sa.Connection, stages: Sequence[str]
) -> dict[tuple[str, str], dict[str, float]]:
    """(campaign, stage) to the figures of the stage's latest success, of active campaigns."""
    query = (
        sa.select(_RESULTS.campaign, _RESULTS.stage, _RESULTS.figures)
        .join(stage_states, _IS_LATEST)
        .join(campaigns, campaigns.c.campaign == _STATES.campaign)
        .where(_STATES.stage.in_(stages), campaigns.c.state == ACTIVE, _RESULTS.succeeded)
    )
    return {(r.campaign, r.stage): json.loads(r.figures) for r in connection.execute(query)}


def last_durations(
    connection: sa.Connection, stage: str, keys: Collection[str]
) -> dict[str, timedelta]:
    """Campaign to how long the stage took the last time that it went well."""
    found = connection.execute(_DURATIONS, {"stage": stage, "keys": list(keys)})
    return {row.campaign: row.finished_at - row.started_at for row in found}


_DURATIONS = (
    sa.select(_RESULTS.campaign, _RESULTS.started_at, _RESULTS.finished_at)
    .join(stage_states, _IS_LATEST)
    .where(
        _STATES.stage == sa.bindparam("stage"),
        _STATES.campaign.in_(sa.bindparam("keys", expanding=True)),
        _RESULTS.succeeded,
    )
)


def forget_before(connection: sa.Connection, instant: datetime) -> int:
    """The history older than `instant` is gone, each stage's latest success excepted."""
    latest = sa.exists().where(_IS_LATEST)
    old = sa.and_(_RESULTS.finished_at < instant, ~latest)
    return connection.execute(sa.delete(stage_results).where(old)).rowcount


def _by_campaign(
    connection: sa.Connection, query: sa.Select[Any]
) -> dict[str, dict[str, StageState]]:
    states: dict[str, dict[str, StageState]] = {}
    for row in connection.execute(query):
        states.setdefault(row.campaign, {})[row.stage] = _state(row)
    return states


def _state(row: sa.Row) -> StageState:
    return StageState(**{name: getattr(row, name) for name in StageState.__annotations__})


def _put_state(connection: sa.Connection, campaign: str, stage: str, **values: object) -> None:
    row = {"campaign": campaign, "stage": stage, "failure": "", **values}
    connection.execute(_stating(connection.dialect.name, tuple(values)), row)


@cache
def _stating(engine: str, names: tuple[str, ...]) -> sa.Insert:
    """The state is inserted, or what is there takes on the values of these names."""
    dialect = postgresql if engine == "postgresql" else sqlite
    statement = dialect.insert(stage_states)
    told = {name: statement.excluded[name] for name in names}
    keys = list(stage_states.primary_key)
    return statement.on_conflict_do_update(index_elements=keys, set_=told)


def _add_result(
    connection: sa.Connection,
    campaign: str,
    stage: str,
    run_id: str,
    started_at: datetime,
    finished_at: datetime,
    **values: object,
) -> None:
    facts = {"campaign": campaign, "stage": stage, "run_id": run_id}
    times = {"started_at": started_at, "finished_at": finished_at}
    told = {"succeeded": "failure" not in values, "figures": "{}", "failure": "", **values}
    connection.execute(_ADD, {**facts, **times, **told})


_ADD = sa.insert(stage_results)
