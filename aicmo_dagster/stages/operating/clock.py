"""The continuous cron: which runs are to start now, and what became of those that did.

Not here: the maths of crons (`domain.schedules`), or Dagster, which starts runs (`defs.sensors`).
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import sqlalchemy as sa

from aicmo_dagster.domain.schedules import Tick, due_ticks, is_blacked_out
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.stages.operating.attempts import note_lost_run
from aicmo_dagster.stages.operating.sharing import (
    HARVEST,
    NURTURE,
    SHARED,
    Lengths,
    is_own,
    key_again,
    lengths_of,
    losses,
    run_keys,
    sharing,
    within_a_run,
)
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import heartbeats, ticks
from aicmo_dagster.store.due import campaigns_with_mail
from aicmo_dagster.store.results import StageState, states_of, states_where_followed_by

AT_ONCE = 25
"""Runs asked for in one look: after a downtime what is due is spread over several."""

PATIENCE = timedelta(minutes=2)
"""After this, a claimed tick without a run is asked for again: whoever took it has died."""

LOSSES = 2
"""How often a tick whose run lost its process has another."""

LARGE_NURTURE = "large_nurture"
"""The job of a large campaign's nurture ticks."""

FOLLOW = "follow"
"""The job of a run that follows a change; no tick asks for it."""

FOLLOWING = STAGES[:4]
"""The stages that follow when the one before changed. Mail goes out by its schedule alone."""


_MADE_BY = {
    "full_pipeline": STAGES,
    NURTURE: STAGES[4:],
    "train": ("score_model",),
    "report": ("campaign_report",),
}
"""Job to what it makes; the others make `FOLLOWING`."""


@dataclass(frozen=True)
class Request:
    """A run to start.

    Args:
        job: The scheduled job, `large_nurture`, `follow`, `new_files` or `answers`.
        campaigns: For whom; several where they share the run.
        run_key: One key, one run.
        stages: The stages of a `follow`.
        due_at: The tick, or the change that is followed.
    """

    job: str
    campaigns: tuple[str, ...]
    run_key: str
    due_at: datetime
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Look:
    """What one look at the clock found.

    Args:
        requests: The runs to start, oldest tick first.
        campaigns: All active campaigns.
        skipped: Tick to why nothing is started for it.
    """

    requests: list[Request]
    campaigns: set[str]
    skipped: dict[Tick, str]


@dataclass(frozen=True)
class Ended:
    """How the run of a key ended; it is lost if its process was, so that no stage said why."""

    run_id: str
    succeeded: bool
    cancelled: bool = False
    lost: bool = False


def open_run_keys(workspace: Workspace) -> set[str]:
    """The keys of runs that were asked for and have not ended, as far as is known."""
    with workspace.database.read() as connection:
        return {claimed.run_key for claimed in ticks.open_ticks(connection)}


def beat(workspace: Workspace, now: datetime) -> None:
    """The clock was looked at, which shows that daemon, code and database work together."""
    with workspace.database.write() as connection:
        heartbeats.beat(connection, heartbeats.CLOCK, now)


def settle(workspace: Workspace, ended: Mapping[str, Ended], now: datetime) -> None:
    """The ticks of the runs that have ended say what became of them.

    In a shared run each campaign has its own end: the others' failures are not its failure. What a
    lost run left undone has failed, so that it shows, unless `look` is to ask for another run.
    """
    if not ended:
        return
    undone: list[tuple[Tick, str]] = []
    with workspace.database.write() as connection:
        for claimed in ticks.open_ticks(connection):
            if run := ended.get(claimed.run_key):
                end = _end_of(connection, claimed, run)
                if end is None and run.lost and losses(claimed.run_key) < LOSSES:
                    continue
                state, reason = end or (ticks.FAILED, f"run {run.run_id} ended before it was done")
                ticks.finish_tick(connection, claimed.tick, state, reason, now)
                if state == ticks.FAILED and not run.cancelled:
                    undone.append((claimed.tick, run.run_id))
    for tick, run_id in undone:
        note_lost_run(workspace, tick.campaign, _MADE_BY.get(tick.job, FOLLOWING), run_id, now)


def look(
    workspace: Workspace,
    busy: Mapping[str, str],
    runs: Mapping[str, Ended | None],
    now: datetime,
) -> Look:
    """Takes the ticks that are due, each once, and tells which runs to start.

    Args:
        workspace: The settings and the database.
        busy: Campaign to the id of the run of it that has not ended.
        runs: The keys of runs that exist, to how each ended; those that did are settled.
        now: The instant of looking.
    """
    with workspace.database.read() as connection:
        schedules = ticks.active_schedules(connection)
        due = due_ticks(schedules, ticks.dealt_until(connection), now)
        claimed = ticks.open_ticks(connection)
        states = states_where_followed_by(connection, FOLLOWING)
        nurtures = [tick for tick in due if tick.job == NURTURE]
        with_mail = campaigns_with_mail(connection, now) if nurtures else set()
        quiet = {tick for tick in nurtures if tick.campaign not in with_mail}
        others = [tick for tick in due if tick.job != NURTURE][:AT_ONCE]
        harvested = {tick.campaign for tick in others if tick.job == HARVEST}
        lengths = {
            **lengths_of(connection, NURTURE, with_mail),
            **lengths_of(connection, HARVEST, harvested),
        }
    with_work = within_a_run([tick for tick in nurtures if tick not in quiet], lengths)
    due = sorted([*quiet, *with_work, *others])
    occupied = {c.tick.campaign: f"for {c.run_key}" for c in claimed} | dict(busy)
    skipped = {t: f"run {occupied[t.campaign]} still goes" for t in due if t.campaign in occupied}
    requests = _taken_over(workspace, claimed, runs, lengths, now)
    requests += _claim(workspace, due, skipped, quiet, lengths, now)
    resting = {key for key, s in schedules.items() if not s.enabled or is_blacked_out(s, now)}
    asked = {campaign for request in requests for campaign in request.campaigns}
    free = schedules.keys() & states.keys() - occupied.keys() - resting - asked
    requests += _follow({key: states[key] for key in sorted(free)})
    return Look(requests[:AT_ONCE], set(schedules), skipped)


def _taken_over(
    workspace: Workspace,
    claimed: list[ticks.OpenTick],
    runs: Mapping[str, Ended | None],
    lengths: Lengths,
    now: datetime,
) -> list[Request]:
    """The runs of ticks whose run was lost, and of those whose taker died, that are ours to do."""
    left: dict[ticks.OpenTick, str] = {}
    for found in claimed:
        key = found.run_key
        if key not in runs and found.claimed_at < now - PATIENCE:
            left[found] = key
        elif key in runs and runs[key] is not None:
            left[found] = key_again(found.tick, key)
    if not left:
        return []
    with workspace.database.write() as connection:
        ours = {f.tick: k for f, k in left.items() if ticks.take_over(connection, f, k, now)}
    return _requests(ours, lengths)


def _claim(
    workspace: Workspace,
    due: list[Tick],
    skipped: Mapping[Tick, str],
    quiet: Set[Tick],
    lengths: Lengths,
    now: datetime,
) -> list[Request]:
    """The runs of those of `due` that are ours to do."""
    if not due:
        return []
    to_do = [tick for tick in due if tick not in skipped and tick not in quiet]
    keys = run_keys(due, sharing(workspace, to_do, lengths))
    with workspace.database.write() as connection:
        ours = ticks.claim_ticks(connection, due, keys, skipped, quiet, now)
    return _requests({tick: keys[tick] for tick in ours}, lengths)


def _requests(keys: Mapping[Tick, str], lengths: Lengths) -> list[Request]:
    """One request a key, in order of the ticks; who shares it is served the quickest first."""
    by_key: dict[str, list[Tick]] = {}
    for tick in sorted(keys):
        by_key.setdefault(keys[tick], []).append(tick)
    return [_request(key, members, lengths) for key, members in by_key.items()]


def _request(key: str, members: list[Tick], lengths: Lengths) -> Request:
    first = members[0]
    job = LARGE_NURTURE if first.job == NURTURE and is_own(first, key) else first.job
    members = sorted(members, key=lambda t: lengths.get((t.job, t.campaign), timedelta.max))
    return Request(job, tuple(tick.campaign for tick in members), key, first.at)


def _follow(states: Mapping[str, Mapping[str, StageState]]) -> list[Request]:
    """Runs of what lies after a stage that changed, unless it was tried since then."""
    requests = []
    for campaign, known in states.items():
        for above, below in pairwise(FOLLOWING):
            changed = known[above].succeeded_at if above in known else None
            if changed is None or known[above].has_failed:
                break
            if _last_tried(known.get(below)) < changed:
                stages = FOLLOWING[FOLLOWING.index(below) :]
                key = f"{campaign}:follow:{above}:{changed.isoformat()}"
                requests.append(Request(FOLLOW, (campaign,), key, changed, stages))
                break
    return sorted(requests, key=lambda request: (request.due_at, request.campaigns))


def _last_tried(state: StageState | None) -> datetime:
    tried = (state.succeeded_at, state.failed_at) if state else ()
    return max((at for at in tried if at is not None), default=datetime.min.replace(tzinfo=UTC))


def _end_of(
    connection: sa.Connection, claimed: ticks.OpenTick, run: Ended
) -> tuple[str, str] | None:
    """The state of a tick whose run has ended, and why if it failed; None if nothing says why."""
    tick = claimed.tick
    states = states_of(connection, tick.campaign)
    failures = [
        f"{stage}: {state.failure}"
        for stage, state in states.items()
        if state.has_failed and state.failed_in == run.run_id
    ]
    if failures:
        return ticks.FAILED, "; ".join(failures)
    if run.succeeded:
        return ticks.SUCCEEDED, ""
    shares = tick.job in SHARED and not is_own(tick, claimed.run_key)
    done = {stage for stage, state in states.items() if state.succeeded_in == run.run_id}
    return (ticks.SUCCEEDED, "") if shares and done.issuperset(SHARED[tick.job]) else None
