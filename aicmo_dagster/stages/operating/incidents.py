"""What is wrong now, over all active campaigns: found out anew each time, so that recovery shows.

A failed attempt that is going to be repeated is no fault yet. Not here: telling anybody (`alerts`).
"""

from collections.abc import Iterable, Iterator, Set
from datetime import datetime, timedelta

import sqlalchemy as sa

from aicmo_dagster.domain.incidents import (
    BUDGET_SPENT,
    DRIFT,
    LATE,
    RUN_FAILED,
    SENDING_STOPPED,
    Fault,
)
from aicmo_dagster.stages.harvesting.enrich import NO_CREDITS
from aicmo_dagster.stages.operating.freshness import late_stages, span
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.breakers import tripped
from aicmo_dagster.store.incidents import note_faults
from aicmo_dagster.store.results import all_states, latest_figures
from aicmo_dagster.store.ticks import active_schedules, open_ticks
from aicmo_dagster.store.troubles import DRIFTED

LONGEST = timedelta(hours=2)
"""For so long a campaign whose tick was taken is not late but at work: a run may take no longer."""


def update_incidents(
    workspace: Workspace, unfinished: Set[str], others: Iterable[Fault], now: datetime
) -> tuple[list[Fault], list[Fault]]:
    """The incidents are what is wrong now: which were opened by this, and which closed.

    Args:
        workspace: The settings and the database.
        unfinished: The runs that go on, or are going to be started again.
        others: What the caller knows to be wrong beside the campaigns.
        now: The instant of looking.
    """
    with workspace.database.read() as connection:
        faults = [*find_faults(connection, unfinished, now), *others]
    with workspace.database.write() as connection:
        return note_faults(connection, faults, now)


def find_faults(connection: sa.Connection, unfinished: Set[str], now: datetime) -> list[Fault]:
    """What is wrong with active campaigns and their senders."""
    failed = list(_failed_stages(connection, unfinished))
    stuck = {fault.campaign for fault in failed}
    # Late because it failed is one fault, and the failure says more.
    at_work = {c.tick.campaign for c in open_ticks(connection) if c.claimed_at > now - LONGEST}
    late = [f for f in _late(connection, now) if f.campaign not in stuck | at_work]
    return [*failed, *late, *_stopped(connection, now), *_figures(connection)]


def _failed_stages(connection: sa.Connection, unfinished: Set[str]) -> Iterator[Fault]:
    active = active_schedules(connection).keys()
    for campaign, states in all_states(connection).items():
        for stage, state in states.items():
            if campaign in active and state.has_failed and state.failed_in not in unfinished:
                yield Fault(RUN_FAILED, campaign, stage, state.failure, state.failed_in or "")


def _late(connection: sa.Connection, now: datetime) -> Iterator[Fault]:
    for campaign, stages in late_stages(connection, now).items():
        reason = f"{', '.join(stages)} should have been done {span(max(stages.values()))} ago"
        yield Fault(LATE, campaign, "", reason)


def _stopped(connection: sa.Connection, now: datetime) -> Iterator[Fault]:
    for sender, scope, until in tripped(connection, now):
        kind, _, what = scope.partition(" ")
        campaign, _, step = what.partition("/") if kind == "step" else ("", "", what)
        subject = f"{sender} to {step}" if kind == "provider" else f"{sender}, {step}"
        reason = f"refused again and again; nothing is tried until {until:%Y-%m-%d %H:%M} UTC"
        yield Fault(SENDING_STOPPED, campaign, subject, reason)


def _figures(connection: sa.Connection) -> Iterator[Fault]:
    """What stages count of themselves."""
    found = latest_figures(connection, ("raw_leads", "score_model"))
    for (campaign, stage), figures in found.items():
        if leads := figures.get(NO_CREDITS):
            reason = f"{leads:.0f} leads were not completed; raise enrich.max_credits"
            yield Fault(BUDGET_SPENT, campaign, stage, reason)
        if moved := figures.get(DRIFTED):
            reason = f"{moved:.0f} columns have moved; see the drift on the model's card"
            yield Fault(DRIFT, campaign, stage, reason)
