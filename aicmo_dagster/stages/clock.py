"""The continuous cron: which runs are to start now, and what became of those that did.

Not here: the maths of crons (`domain.schedules`), or Dagster, which starts runs (`defs.sensors`).
"""

import hashlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import sqlalchemy as sa

from aicmo_dagster.domain.schedules import Tick, due_ticks, is_blacked_out
from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.stages.attempts import note_lost_run
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store import heartbeats, ticks
from aicmo_dagster.store.due import campaigns_with_mail
from aicmo_dagster.store.results import StageState, all_states, last_durations, states_of

AT_ONCE = 25
"""Runs asked for in one look: after a downtime what is due is spread over several."""

SHARED_AT_ONCE = 100
"""Campaigns in one shared run."""

LARGE = timedelta(minutes=1)
"""A campaign whose nurture took longer has a run of its own, so that no other waits for it."""

PATIENCE = timedelta(minutes=2)
"""After this, a claimed tick without a run is asked for again: whoever took it has died."""

_AGAIN = "#"
"""In the key of a run: it is followed by how many were lost before."""

LOSSES = 2
"""How often a tick whose run lost its process has another."""

SHARED = "nurture"
"""The job whose ticks share a run: it is due often, and a run of its own costs 2 CPU seconds."""

LARGE_NURTURE = "large_nurture"
"""The job of a large campaign's nurture ticks."""

FOLLOW = "follow"
"""The job of a run that follows a change; no tick asks for it."""

FOLLOWING = STAGES[:4]
"""The stages that follow when the one before changed. Mail goes out by its schedule alone."""


_MADE_BY = {
    "full_pipeline": STAGES,
    SHARED: STAGES[4:],
    "train": ("score_model",),
    "report": ("campaign_report",),
}
"""Job to what it makes; the others make `FOLLOWING`."""


@dataclass(frozen=True)
class Request:
    """A run to start.

    Args:
        job: The scheduled job, `large_nurture`, `follow`, `new_files` or `answers`.
        campaigns: For whom; several only for the shared job.
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
                end = _end_of(connection, claimed.tick, run)
                if end is None and run.lost and _losses(claimed.run_key) < LOSSES:
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
        states = all_states(connection)
        shared = [tick for tick in due if tick.job == SHARED]
        with_mail = campaigns_with_mail(connection, now) if shared else set()
        lengths = last_durations(connection, "nurture_sends", with_mail) if shared else {}
    quiet = {tick for tick in shared if tick.campaign not in with_mail}
    busy_shares = [tick for tick in shared if tick not in quiet][:SHARED_AT_ONCE]
    own = [tick for tick in due if tick.job != SHARED][:AT_ONCE]
    due = sorted([*quiet, *busy_shares, *own])
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
    lengths: Mapping[str, timedelta],
    now: datetime,
) -> list[Request]:
    """The runs of ticks whose run was lost, and of those whose taker died, that are ours to do."""
    left: dict[ticks.OpenTick, str] = {}
    for found in claimed:
        key = found.run_key
        if key not in runs and found.claimed_at < now - PATIENCE:
            left[found] = key
        elif key in runs and runs[key] is not None:
            left[found] = f"{key.partition(_AGAIN)[0]}{_AGAIN}{_losses(key) + 1}"
    if not left:
        return []
    with workspace.database.write() as connection:
        first = {found.run_key: found for found in reversed(left)}.values()
        ours = {f.run_key for f in first if ticks.take_over(connection, f, left[f], now)}
    return _requests({f.tick: key for f, key in left.items() if f.run_key in ours}, lengths)


def _losses(run_key: str) -> int:
    """How many runs the ticks under the key have lost."""
    return int(run_key.partition(_AGAIN)[2] or 0)


def _claim(
    workspace: Workspace,
    due: list[Tick],
    skipped: Mapping[Tick, str],
    quiet: Set[Tick],
    lengths: Mapping[str, timedelta],
    now: datetime,
) -> list[Request]:
    """The runs of those of `due` that are ours to do."""
    if not due:
        return []
    large = {campaign for campaign, length in lengths.items() if length > LARGE}
    shares = {t for t in due if t.job == SHARED and t.campaign not in large} - quiet
    keys = "".join(tick.key for tick in due if tick in shares and tick not in skipped)
    digest = hashlib.sha256(keys.encode()).hexdigest()[:16]
    run_keys = {t: f"{SHARED}:{digest}" if t in shares else t.key for t in due}
    with workspace.database.write() as connection:
        ours = ticks.claim_ticks(connection, due, run_keys, skipped, quiet, now)
    return _requests({tick: run_keys[tick] for tick in ours}, lengths)


def _requests(run_keys: Mapping[Tick, str], lengths: Mapping[str, timedelta]) -> list[Request]:
    """One request a key, in order of the ticks; who shares it is served the quickest first."""
    by_key: dict[str, list[Tick]] = {}
    for tick in sorted(run_keys):
        by_key.setdefault(run_keys[tick], []).append(tick)
    return [_request(key, members, lengths) for key, members in by_key.items()]


def _request(key: str, members: list[Tick], lengths: Mapping[str, timedelta]) -> Request:
    first = members[0]
    is_own = key.partition(_AGAIN)[0] == first.key
    job = LARGE_NURTURE if first.job == SHARED and is_own else first.job
    keys = sorted(
        (tick.campaign for tick in members), key=lambda each: lengths.get(each, timedelta.max)
    )
    return Request(job, tuple(keys), key, first.at)


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


def _end_of(connection: sa.Connection, tick: Tick, run: Ended) -> tuple[str, str] | None:
    """The state of a tick whose run has ended, and why if it failed; None if nothing says why."""
    states = states_of(connection, tick.campaign)
    failures = [
        f"{stage}: {state.failure}"
        for stage, state in states.items()
        if state.has_failed and state.failed_in == run.run_id
    ]
    if failures:
        return ticks.FAILED, "; ".join(failures)
    mailed = states.get("nurture_sends")
    mailed_here = tick.job == SHARED and mailed is not None and mailed.succeeded_in == run.run_id
    if run.succeeded or mailed_here:
        return ticks.SUCCEEDED, ""
    return None
