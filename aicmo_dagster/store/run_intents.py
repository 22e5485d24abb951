"""Runs that were asked for over the API: the intent is committed before Dagster is asked.

launching → launched, or refused where nothing was started. One intent a campaign is launching at a
time, so that two requests, or a request and its repetition, cannot both start a run. Not here:
asking Dagster (`api.runs`).
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from aicmo_dagster.store.database import take_turn
from aicmo_dagster.store.tables import run_intents
from aicmo_dagster.store.upserts import put_row

LAUNCHING, LAUNCHED, REFUSED = "launching", "launched", "refused"

_INTENTS = run_intents.c


@dataclass(frozen=True)
class RunIntent:
    """A run that was asked for.

    Args:
        id: Also a tag of the run, by which it is found if the answer was lost.
        campaign: For whom.
        action: What to run.
        state: What became of it.
        run_id: The run, once it is known.
        requested_by: Who asked.
        requested_at: When it was asked for first.
        attempted_at: When Dagster was last about to be asked.
    """

    id: str
    campaign: str
    action: str
    state: str
    run_id: str | None
    requested_by: str
    requested_at: datetime
    attempted_at: datetime


def begin_intent(connection: sa.Connection, intent: RunIntent) -> RunIntent | None:
    """`intent` is launching; or what stands in its way, and then nothing changes.

    That is another intent of the campaign that is launching, or the same one, unless it has started
    nothing. Commit durably before Dagster is asked.
    """
    take_turn(connection, f"runs of {intent.campaign}")
    known = _one(connection, _INTENTS.id == intent.id)
    if known is not None and known.state != REFUSED:
        return known
    launching = (_INTENTS.campaign == intent.campaign) & (_INTENTS.state == LAUNCHING)
    other = _one(connection, launching)
    if other is None:
        put_row(connection, run_intents, **vars(intent))
    return other


def settle_intent(connection: sa.Connection, intent_id: str, run_id: str | None) -> bool:
    """The intent has started the run `run_id`; without one, nothing was started.

    An intent that has its run keeps it. Tells whether this changed anything.
    """
    values = {"state": LAUNCHED if run_id else REFUSED, "run_id": run_id}
    unsettled = (_INTENTS.id == intent_id) & (_INTENTS.state != LAUNCHED)
    return connection.execute(sa.update(run_intents).where(unsettled).values(values)).rowcount > 0


def _one(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> RunIntent | None:
    row = connection.execute(sa.select(run_intents).where(condition)).one_or_none()
    return RunIntent(**row._mapping) if row else None
