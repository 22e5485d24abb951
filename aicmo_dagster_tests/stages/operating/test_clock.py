"""A look at the clock: which runs are to start, once each, and what became of earlier ones."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import chain

import pytest
import sqlalchemy as sa

from aicmo_dagster.stages.nurturing.planning import plan_due
from aicmo_dagster.stages.operating.clock import (
    AT_ONCE,
    LOSSES,
    PATIENCE,
    Ended,
    Look,
    look,
    settle,
)
from aicmo_dagster.stages.operating.sharing import FEW, LARGE, MOST_WORK, SHARED
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.due import campaigns_with_mail
from aicmo_dagster.store.events import add_event
from aicmo_dagster.store.frames import replace_frame
from aicmo_dagster.store.pauses import begin_pause
from aicmo_dagster.store.results import record_failure, record_success, states_of
from aicmo_dagster.store.tables import FRAME_TABLES, agenda, nurture_sends
from aicmo_dagster.store.ticks import open_ticks, past_ticks, take_over
from aicmo_dagster_tests.samples import NOON, SECRET, lead_id, raw_leads, routed_leads
from aicmo_dagster_tests.workspaces import apply

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
HOURLY = {"harvest": "0 * * * *"}
NURTURE = {"nurture": "*/15 * * * *"}


def looked(
    workspace: Workspace, at: datetime, busy: dict[str, str] | None = None, started: str = ""
) -> Look:
    return look(workspace, busy or {}, dict.fromkeys(started.split()), at)


def done(
    workspace: Workspace,
    key: str,
    stage: str,
    at: datetime,
    run_id: str = "run",
    started_at: datetime | None = None,
) -> None:
    with workspace.database.write() as connection:
        record_success(
            connection,
            key,
            stage,
            run_id=run_id,
            started_at=started_at or at,
            finished_at=at,
            rows_in=1,
            rows_out=1,
            figures={},
        )


def failed(workspace: Workspace, key: str, stage: str, at: datetime, run_id: str = "run") -> None:
    times = {"started_at": at, "finished_at": at}
    with workspace.database.write() as connection:
        record_failure(connection, key, stage, run_id=run_id, failure="no key", **times)


def outcome(workspace: Workspace, key: str) -> tuple[str, str]:
    with workspace.database.read() as connection:
        past = past_ticks(connection, key, 1)[0]
    return past.state, past.reason


def test_a_due_tick_asks_for_one_run_whoever_looks_and_how_often(workspace: Workspace) -> None:
    apply(workspace, "spring", 1, schedule=HOURLY)

    (request,) = looked(workspace, NOON + HOUR).requests

    assert (request.job, request.campaigns) == ("harvest", ("spring",))
    assert request.run_key == "spring:harvest:2026-03-04T13:00Z"
    assert looked(workspace, NOON + HOUR).requests == []
    assert looked(workspace, NOON + HOUR, started=request.run_key).requests == []


def test_a_campaign_whose_run_still_goes_is_skipped_and_says_so(workspace: Workspace) -> None:
    apply(workspace, "spring", 1, schedule=HOURLY)

    found = looked(workspace, NOON + HOUR, busy={"spring": "r1"})

    assert found.requests == []
    assert list(found.skipped.values()) == ["run r1 still goes"]
    assert outcome(workspace, "spring") == ("skipped", "run r1 still goes")
    assert len(looked(workspace, NOON + 2 * HOUR).requests) == 1, "the next tick has its turn"


def test_after_a_downtime_each_campaign_runs_once_spread_over_several_looks(
    workspace: Workspace,
) -> None:
    count = AT_ONCE + 3
    for number in range(count):
        apply(workspace, f"c{number:02}", None, schedule=HOURLY)
    back = NOON + 5 * HOUR

    asked = [looked(workspace, back).requests for _ in range(3)]

    names = [[key for each in requests for key in each.campaigns] for requests in asked]
    assert sorted(chain(*names)) == [f"c{n:02}" for n in range(count)]
    assert [len(keys) for keys in names] == [AT_ONCE, 3, 0]
    assert {request.due_at for request in chain(*asked)} == {back}


def test_a_tick_whose_taker_died_is_asked_for_again_under_its_key(workspace: Workspace) -> None:
    apply(workspace, "spring", 1, schedule=HOURLY)
    (first,) = looked(workspace, NOON + HOUR).requests

    soon = looked(workspace, NOON + HOUR + PATIENCE)
    late = looked(workspace, NOON + HOUR + PATIENCE + timedelta(seconds=1))

    assert soon.requests == []
    assert [request.run_key for request in late.requests] == [first.run_key]


def test_a_tick_whose_run_was_lost_has_another_twice_and_then_has_failed(
    workspace: Workspace,
) -> None:
    """However many daemons look, and however late one that still knows the old state."""
    apply(workspace, "spring", 1, schedule=HOURLY)
    (request,) = looked(workspace, NOON + HOUR).requests
    first, asked = request.run_key, []
    for number in range(LOSSES + 1):
        runs = {request.run_key: Ended(f"r{number}", succeeded=False, lost=True)}
        settle(workspace, runs, NOON + HOUR)
        looks = [look(workspace, {}, runs, NOON + HOUR) for _ in range(2)]
        asked += [request for each in looks for request in each.requests]
        request = asked[-1]

    assert [each.run_key for each in asked] == [f"{first}#1", f"{first}#2"]
    assert {(each.job, each.due_at) for each in asked} == {("harvest", NOON + HOUR)}
    assert outcome(workspace, "spring") == ("failed", "run r2 ended before it was done")


@pytest.mark.parametrize("is_lost", [True, False])
def test_two_daemons_that_saw_the_same_lost_run_or_dead_taker_start_one_more(
    workspace: Workspace, is_lost: bool
) -> None:
    apply(workspace, "spring", 1, schedule=HOURLY)
    looked(workspace, NOON + HOUR)
    with workspace.database.read() as connection:
        (seen,) = open_ticks(connection)
    taken = []
    for _ in range(2):
        with workspace.database.write() as connection:
            key = "again" if is_lost else seen.run_key
            taken.append(take_over(connection, seen, key, NOON + HOUR + MINUTE))

    assert taken == [True, False]


def test_of_a_shared_run_that_was_lost_only_what_is_left_is_done_again(
    workspace: Workspace,
) -> None:
    for key in ("a", "b", "c"):
        apply(workspace, key, 1, schedule=NURTURE)
        done(workspace, key, "routed_leads", NOON)
    (request,) = looked(workspace, NOON + HOUR).requests
    done(workspace, "b", "nurture_sends", NOON + HOUR, "r1")
    runs = {request.run_key: Ended("r1", succeeded=False, lost=True)}

    settle(workspace, runs, NOON + HOUR)
    again = look(workspace, {}, runs, NOON + HOUR).requests

    assert sorted(key for each in again for key in each.campaigns) == ["a", "c"]
    assert {each.job for each in again} == {"nurture"}
    assert outcome(workspace, "b") == ("succeeded", "")


def test_harvests_that_were_lost_together_are_done_again_apart(workspace: Workspace) -> None:
    keys = [f"c{number}" for number in range(FEW + 1)]
    for key in keys:
        apply(workspace, key, 1, schedule=HOURLY)
    (shared,) = looked(workspace, NOON + HOUR).requests
    for stage in SHARED["harvest"]:
        done(workspace, "c1", stage, NOON + HOUR, "r1")
    done(workspace, "c2", "raw_leads", NOON + HOUR, "r1")
    failed(workspace, "c3", "raw_leads", NOON + HOUR, "r1")
    runs = {shared.run_key: Ended("r1", succeeded=False, lost=True)}

    settle(workspace, runs, NOON + HOUR)
    again = [
        request for _ in range(2) for request in look(workspace, {}, runs, NOON + HOUR).requests
    ]

    assert shared.campaigns == tuple(keys)
    assert outcome(workspace, "c1") == ("succeeded", "")
    assert outcome(workspace, "c3") == ("failed", "raw_leads: no key")
    assert [(each.job, each.campaigns) for each in again] == [
        ("harvest", (key,)) for key in ("c0", "c2", "c4")
    ]
    assert again[0].run_key == "c0:harvest:2026-03-04T13:00Z#1"


def test_a_campaign_whose_mail_ends_its_process_keeps_nobody_from_theirs(
    workspace: Workspace,
) -> None:
    """It has the first turn wherever it shares a run."""
    keys = [f"c{number:02}" for number in range(20)]
    for key in keys:
        apply(workspace, key, None, schedule=NURTURE)
        done(workspace, key, "routed_leads", NOON)
    requests, served, runs = looked(workspace, NOON + HOUR).requests, list[str](), []
    for number in range(LOSSES + 1):
        lost = {r.run_key: "c00" in r.campaigns for r in requests}
        served += [key for r in requests if not lost[r.run_key] for key in r.campaigns]
        runs.append(len(requests))
        ended = {k: Ended(f"r{number}", not is_lost, lost=is_lost) for k, is_lost in lost.items()}
        settle(workspace, ended, NOON + HOUR)
        requests = look(workspace, {}, ended, NOON + HOUR).requests

    assert sorted(served) == keys[1:]
    assert runs[0] == 1
    assert 1 < runs[1] <= 16
    assert outcome(workspace, "c00") == ("failed", "run r2 ended before it was done")


def test_nurture_ticks_share_one_run_and_start_only_where_mail_is_due(
    workspace: Workspace,
) -> None:
    for key in ("a", "b", "idle"):
        apply(workspace, key, 1, schedule=NURTURE)
    done(workspace, "a", "routed_leads", NOON)
    done(workspace, "b", "routed_leads", NOON)
    done(workspace, "idle", "routed_leads", NOON)
    done(workspace, "idle", "nurture_sends", NOON)

    (request,) = looked(workspace, NOON + HOUR).requests

    assert (request.job, request.campaigns) == ("nurture", ("a", "b"))
    settle(workspace, {request.run_key: Ended("r1", succeeded=False)}, NOON + HOUR)
    assert outcome(workspace, "a") == ("failed", "run r1 ended before it was done")


def test_a_large_campaign_nurtures_alone_and_the_others_the_quickest_first(
    workspace: Workspace,
) -> None:
    lengths = {"large": LARGE + timedelta(seconds=1), "b": timedelta(seconds=9), "c": LARGE}
    for key in ("a", *lengths):
        apply(workspace, key, None, schedule=NURTURE)
        done(workspace, key, "routed_leads", NOON + MINUTE)
    for key, length in lengths.items():
        done(workspace, key, "nurture_sends", NOON, started_at=NOON - length)

    alone, shared = sorted(looked(workspace, NOON + HOUR).requests, key=lambda r: len(r.campaigns))

    assert (alone.job, alone.campaigns) == ("large_nurture", ("large",))
    assert (shared.job, shared.campaigns) == ("nurture", ("b", "c", "a")), "a is not known yet"
    late = looked(workspace, NOON + HOUR + PATIENCE + MINUTE).requests
    assert {request.job for request in late} == {"large_nurture", "nurture"}
    lost = {request.run_key: Ended("r1", succeeded=False, lost=True) for request in late}
    again = look(workspace, {}, lost, NOON + HOUR + PATIENCE + MINUTE).requests
    assert {request.job for request in again} == {"large_nurture", "nurture"}


def test_a_shared_nurture_is_no_longer_than_one_run_may_be(workspace: Workspace) -> None:
    count = MOST_WORK // LARGE
    for number in range(count + 1):
        key = f"c{number}"
        apply(workspace, key, None, schedule=NURTURE)
        done(workspace, key, "routed_leads", NOON + MINUTE)
        done(workspace, key, "nurture_sends", NOON, started_at=NOON - LARGE)

    asked = [looked(workspace, NOON + HOUR).requests for _ in range(2)]

    assert [len(request.campaigns) for requests in asked for request in requests] == [count, 1]


def test_however_many_have_no_mail_they_keep_nobody_waiting(workspace: Workspace) -> None:
    for number in range(AT_ONCE + 1):
        apply(workspace, f"idle-{number:02}", None, schedule=NURTURE)
    apply(workspace, "z", 1, schedule=NURTURE | HOURLY)
    done(workspace, "z", "routed_leads", NOON)

    asked = looked(workspace, NOON + HOUR / 4).requests

    assert [(request.job, request.campaigns) for request in asked] == [("nurture", ("z",))]


def accepted(connection: sa.Connection) -> None:
    """Of each lead, the first message went out at NOON, and nurture has run since."""
    connection.execute(nurture_sends.update().values(state="accepted", followed_at=NOON))
    connection.execute(agenda.update().values(state="active", look_at=None))


def wait_over(connection: sa.Connection) -> None:
    connection.execute(agenda.update().values(look_at=NOON + HOUR))


def wait_longer(connection: sa.Connection) -> None:
    connection.execute(agenda.update().values(look_at=NOON + 2 * HOUR))


def routed_no_more(connection: sa.Connection) -> None:
    wait_over(connection)
    connection.execute(FRAME_TABLES["routed_leads"].delete())


def click(connection: sa.Connection) -> None:
    add_event(connection, "spring", lead_id(1), "click", "c1", NOON)


def reply(connection: sa.Connection) -> None:
    add_event(connection, "spring", lead_id(1), "reply", "r1", NOON)


def due(connection: sa.Connection) -> None:
    connection.execute(nurture_sends.update().values(state="planned", due_at=NOON))


def due_and_paused(connection: sa.Connection) -> None:
    due(connection)
    begin_pause(connection, "spring", None, "a fair", "Ida", NOON)


@pytest.mark.parametrize(
    ("happen", "starts"),
    [
        (wait_over, True),
        (wait_longer, False),
        (routed_no_more, False),
        (click, True),
        (reply, False),
        (due, True),
        (due_and_paused, False),
    ],
)
def test_nurture_starts_where_a_step_is_to_be_planned_although_no_mail_is_due(
    workspace: Workspace, happen: Callable[[sa.Connection], None], starts: bool
) -> None:
    apply(workspace, "spring", 1, schedule=NURTURE)
    with workspace.database.write() as connection:
        replace_frame(connection, "raw_leads", "spring", raw_leads(1))
        replace_frame(connection, "routed_leads", "spring", routed_leads(1))
        plan_due(connection, workspace.campaign("spring"), SECRET, NOON)
        accepted(connection)
    for stage in ("routed_leads", "nurture_sends"):
        done(workspace, "spring", stage, NOON)
    with workspace.database.write() as connection:
        assert campaigns_with_mail(connection, NOON + HOUR) == set()
        happen(connection)

    assert bool(looked(workspace, NOON + HOUR).requests) is starts


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_a_lost_run_left_undone_has_failed_unless_somebody_cancelled_it(
    workspace: Workspace, cancelled: bool
) -> None:
    apply(workspace, "spring", 1, schedule=HOURLY)
    (request,) = looked(workspace, NOON + HOUR).requests
    done(workspace, "spring", "raw_leads", NOON + HOUR, "r1")
    failed(workspace, "spring", "raw_leads", NOON, "r0")

    settle(workspace, {request.run_key: Ended("r1", False, cancelled)}, NOON + HOUR)

    with workspace.database.read() as connection:
        states = states_of(connection, "spring")
    assert ("scored_leads" in states) is not cancelled


def test_in_a_shared_run_each_campaign_has_its_own_end(workspace: Workspace) -> None:
    for key in ("bad", "good"):
        apply(workspace, key, 1, schedule=NURTURE)
        done(workspace, key, "routed_leads", NOON)
    (request,) = looked(workspace, NOON + HOUR).requests
    done(workspace, "good", "nurture_sends", NOON + HOUR, "r1")
    failed(workspace, "bad", "nurture_sends", NOON + HOUR, "r1")

    settle(workspace, {request.run_key: Ended("r1", succeeded=False)}, NOON + HOUR)

    assert outcome(workspace, "good") == ("succeeded", "")
    assert outcome(workspace, "bad") == ("failed", "nurture_sends: no key")


def test_what_lies_after_a_changed_stage_follows_once(workspace: Workspace) -> None:
    apply(workspace, "spring", 1)
    apply(workspace, "other", 1)
    for stage in ("raw_leads", "scored_leads", "qualified_leads", "routed_leads"):
        done(workspace, "spring", stage, NOON)
        done(workspace, "other", stage, NOON)
    assert looked(workspace, NOON + HOUR).requests == []
    done(workspace, "spring", "scored_leads", NOON + HOUR)

    (request,) = looked(workspace, NOON + HOUR).requests

    assert (request.job, request.campaigns) == ("follow", ("spring",))
    assert request.stages == ("qualified_leads", "routed_leads")
    assert looked(workspace, NOON + HOUR, busy={"spring": "r1"}).requests == []
    failed(workspace, "spring", "qualified_leads", NOON + 2 * HOUR)
    assert looked(workspace, NOON + 3 * HOUR).requests == [], "it was tried"


def fail_upstream(workspace: Workspace) -> None:
    failed(workspace, "spring", "raw_leads", NOON + HOUR)


def switch_off(workspace: Workspace) -> None:
    apply(workspace, "spring", 1, schedule={"enabled": False})


def black_out(workspace: Workspace) -> None:
    apply(workspace, "spring", 1, schedule={"blackout": ["2026-03-04"]})


@pytest.mark.parametrize("hold", [fail_upstream, switch_off, black_out])
def test_nothing_follows_a_failed_stage_or_in_a_campaign_that_rests(
    workspace: Workspace, hold: Callable[[Workspace], None]
) -> None:
    apply(workspace, "spring", 1)
    done(workspace, "spring", "raw_leads", NOON)
    hold(workspace)

    assert looked(workspace, NOON + 2 * HOUR).requests == []
