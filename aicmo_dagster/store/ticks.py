"""The memory of the cron: which tick of which campaign was taken, and what became of it.

A tick is claimed by one daemon, whoever else looks, before a run is asked for. Not here: when a
tick is due (`domain.schedules`), or runs (`defs`).
"""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aicmo_dagster.domain.schedules import SCHEDULED, Tick
from aicmo_dagster.domain.sections.schedule import Schedule
from aicmo_dagster.store.campaigns import ACTIVE
from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.tables import campaigns, clocks, ticks
from aicmo_dagster.store.upserts import insert_once

_TICKS = ticks.c
CLAIMED, SUCCEEDED, FAILED, SKIPPED = "claimed", "succeeded", "failed", "skipped"


@dataclass(frozen=True)
class OpenTick:
    """A claimed tick whose run has not ended, as far as is known."""

    tick: Tick
    run_key: str
    claimed_at: datetime


@dataclass(frozen=True)
class PastTick:
    """What became of a tick: `claimed`, `succeeded`, `failed` or `skipped`, and why."""

    tick: Tick
    state: str
    reason: str
    finished_at: datetime | None


def active_schedules(connection: sa.Connection) -> dict[str, Schedule]:
    """Active campaign to its schedule."""
    rows = connection.execute(_SCHEDULES)
    return {row.campaign: _schedule(row.schedule) for row in rows}


_SCHEDULES = sa.select(campaigns.c.campaign, campaigns.c.schedule).where(
    campaigns.c.state == ACTIVE
)


def schedule_of(connection: sa.Connection, campaign: str) -> Schedule | None:
    """The schedule of an active campaign."""
    found = sa.select(campaigns.c.schedule).where(
        campaigns.c.campaign == campaign, campaigns.c.state == ACTIVE
    )
    told = connection.scalar(found)
    return None if told is None else _schedule(told)


@lru_cache(maxsize=4096)
def _schedule(told: str) -> Schedule:
    """The schedule that stands there; campaigns with the same share it, and nobody changes one.

    It was checked when the campaign was applied, which for a thousand of them is dear to do again.
    """
    return Schedule.model_construct(**json.loads(told))


def dealt_until(connection: sa.Connection) -> dict[tuple[str, str], datetime]:
    """(campaign, job) to the instant up to which its ticks are dealt with.

    That is the last tick that was taken, or when the schedule was made or changed: an edit does
    not fire for the past.
    """
    # The rows are taken apart: to ask each for its values by name takes four times as long.
    since: dict[tuple[str, str], datetime] = {
        (campaign, job): at for campaign, at in connection.execute(_SINCE) for job in SCHEDULED
    }
    for campaign, job, at in connection.execute(_CLOCKS):
        if (campaign, job) in since:
            since[campaign, job] = max(since[campaign, job], at)
    return since


_SINCE = sa.select(campaigns.c.campaign, campaigns.c.scheduled_since).where(
    campaigns.c.scheduled_since.is_not(None)
)
_CLOCKS = sa.select(clocks.c.campaign, clocks.c.job, clocks.c.dealt_until)


def claim_ticks(
    connection: sa.Connection,
    due: Sequence[Tick],
    run_keys: Mapping[Tick, str],
    skipped: Mapping[Tick, str],
    quiet: Set[Tick],
    now: datetime,
) -> list[Tick]:
    """Those of `due` that nobody had taken and that are to be done, taken now.

    Args:
        connection: From `Database.write`.
        due: From `due_ticks`.
        run_keys: Tick to the key of the run that is going to do it.
        skipped: Tick to the reason for which nothing is started; taken all the same.
        quiet: Ticks for which there is nothing to do; taken without a record.
        now: When.
    """
    take_turn(connection, "ticks")
    taken = [tick for tick in due if _advance(connection, tick)]
    rows = [
        {
            **{"campaign": tick.campaign, "job": tick.job, "due_at": tick.at},
            **{"run_key": run_keys.get(tick, ""), "claimed_at": now},
            **{"state": SKIPPED if tick in skipped else CLAIMED},
            **{"reason": skipped.get(tick, ""), "finished_at": now if tick in skipped else None},
        }
        for tick in taken
        if tick not in quiet
    ]
    if rows:
        connection.execute(sa.insert(ticks), rows)
    return [tick for tick in taken if tick not in skipped and tick not in quiet]


def take_tick(connection: sa.Connection, tick: Tick, now: datetime) -> bool:
    """The tick, which no schedule asks for, is claimed under its own key; tells whether by us."""
    return insert_once(
        connection,
        ticks,
        campaign=tick.campaign,
        job=tick.job,
        due_at=tick.at,
        run_key=tick.key,
        state=CLAIMED,
        reason="",
        claimed_at=now,
    )


def take_over(connection: sa.Connection, found: OpenTick, run_key: str, now: datetime) -> bool:
    """The claimed tick of `found` has a run under `run_key`; tells whether by us.

    Args:
        connection: From `Database.write`.
        found: As somebody who may be slower than others saw it.
        run_key: The key of the run that is going to do it.
        now: When.
    """
    unchanged = (_TICKS.run_key == found.run_key, _TICKS.claimed_at == found.claimed_at)
    statement = sa.update(ticks).where(*_is(found.tick), *unchanged, _TICKS.state == CLAIMED)
    return connection.execute(statement.values(run_key=run_key, claimed_at=now)).rowcount > 0


def open_ticks(connection: sa.Connection) -> list[OpenTick]:
    """Every claimed tick that is not finished, oldest first."""
    return [
        OpenTick(Tick(row.due_at, row.campaign, row.job), row.run_key, row.claimed_at)
        for row in connection.execute(_OPEN)
    ]


_OPEN = sa.select(ticks).where(_TICKS.state == CLAIMED).order_by(_TICKS.due_at, _TICKS.campaign)


def finish_tick(
    connection: sa.Connection, tick: Tick, state: str, reason: str, now: datetime
) -> None:
    """What became of a claimed tick."""
    statement = sa.update(ticks).where(*_is(tick), _TICKS.state == CLAIMED)
    connection.execute(statement.values(state=state, reason=reason, finished_at=now))


def finish_turn(connection: sa.Connection, run_key: str, campaign: str, now: datetime) -> None:
    """The campaign's tick is done, though the run of the key, which others share, still goes."""
    its = (_TICKS.run_key == run_key, _TICKS.campaign == campaign, _TICKS.state == CLAIMED)
    values = {"state": SUCCEEDED, "reason": "", "finished_at": now}
    connection.execute(sa.update(ticks).where(*its).values(values))


def past_ticks(connection: sa.Connection, campaign: str, limit: int) -> list[PastTick]:
    """The campaign's latest ticks, newest first."""
    query = sa.select(ticks).where(_TICKS.campaign == campaign)
    query = query.order_by(_TICKS.due_at.desc(), _TICKS.job).limit(limit)
    return [
        PastTick(Tick(r.due_at, r.campaign, r.job), r.state, r.reason, r.finished_at)
        for r in connection.execute(query)
    ]


def forget_before(connection: sa.Connection, instant: datetime) -> int:
    """Finished ticks older than `instant` are gone; none comes again for that."""
    old = sa.and_(_TICKS.due_at < instant, _TICKS.state != CLAIMED)
    return connection.execute(sa.delete(ticks).where(old)).rowcount


def _advance(connection: sa.Connection, tick: Tick) -> bool:
    """The clock of the tick's job stands at the tick; tells whether it stood before it."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = {"campaign": tick.campaign, "job": tick.job, "dealt_until": tick.at}
    statement = dialect.insert(clocks).values(values)
    advanced = statement.on_conflict_do_update(
        index_elements=list(clocks.primary_key),
        set_={"dealt_until": tick.at},
        where=clocks.c.dealt_until < tick.at,
    )
    return connection.execute(advanced).rowcount == 1


def _is(tick: Tick) -> tuple[sa.ColumnElement[bool], ...]:
    return (_TICKS.campaign == tick.campaign, _TICKS.job == tick.job, _TICKS.due_at == tick.at)
