"""How old what a campaign's stages made may be: until the next tick of its schedule, and a while.

Not here: how this is shown (`status`), or whom to tell (`incidents`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from aicmo_dagster.domain.schedules import is_blacked_out, next_ticks, previous_tick
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.domain.sections.schedule import Schedule
from aicmo_dagster.store.results import StageState, all_states
from aicmo_dagster.store.ticks import active_schedules, dealt_until

GRACE = timedelta(minutes=15)
"""A run may take as long as this before what it makes counts as late."""

JOBS_OF: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(STAGES[:4], ("full_pipeline", "harvest")),
    "nurture_sends": ("full_pipeline",),
    "score_model": ("train",),
    "campaign_report": ("report",),
}
"""The jobs that make a stage. A nurture tick without mail to send is in order and makes nothing."""


def late_by(
    stage: str,
    states: Mapping[str, StageState],
    schedule: Schedule,
    since: Mapping[str, datetime],
    now: datetime,
) -> timedelta | None:
    """How long ago the stage should have been done, if it was not.

    Args:
        stage: The stage.
        states: How the campaign's stages stand.
        schedule: The campaign's.
        since: Job to the instant up to which its ticks are dealt with.
        now: The instant of looking.
    """
    expected = [
        tick
        for job in JOBS_OF[stage]
        if (cron := getattr(schedule, job)) and schedule.enabled and job in since
        if (tick := previous_tick(cron, schedule.timezone, now - GRACE)) >= since[job]
        if not is_blacked_out(schedule, tick)
    ]
    if not expected:
        return None
    state = states.get(stage)
    done = state.succeeded_at if state else None
    latest = max(expected)
    return None if done is not None and done >= latest else now - latest


def fresh_until(stage: str, schedule: Schedule, done_at: datetime) -> datetime | None:
    """When what was made then is out of date; None where no schedule makes it again."""
    ticks = [at for job in JOBS_OF[stage] for at in next_ticks(schedule, job, done_at, 1)]
    return (min(ticks) + GRACE).astimezone(UTC) if ticks else None


def span(length: timedelta) -> str:
    """The length in hours and minutes."""
    hours, rest = divmod(int(length.total_seconds()), 3600)
    return f"{hours} h {rest // 60} min"


def late_stages(connection: sa.Connection, now: datetime) -> dict[str, dict[str, timedelta]]:
    """Active campaign to its late stages, in order, and by how much; who is in time is absent."""
    schedules, states = active_schedules(connection), all_states(connection)
    since: dict[str, dict[str, datetime]] = {}
    for (campaign, job), at in dealt_until(connection).items():
        since.setdefault(campaign, {})[job] = at
    found: dict[str, dict[str, timedelta]] = {}
    for campaign, schedule in schedules.items():
        for stage in JOBS_OF:
            known = states.get(campaign, {})
            late = late_by(stage, known, schedule, since.get(campaign, {}), now)
            if late is not None:
                found.setdefault(campaign, {})[stage] = late
    return found
