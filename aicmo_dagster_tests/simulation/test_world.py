"""Whole campaigns over a hundred people, in many shapes: everyone is somewhere, for a reason."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from aicmo_dagster.simulation.behaviour import Behaviour
from aicmo_dagster.simulation.world import World
from aicmo_dagster.stages.summary import dispositions
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster.store.tables import events, handoffs
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.providers.wire import Fault
from aicmo_dagster_tests.simulation.invariants import breaches
from aicmo_dagster_tests.simulation.worlds import (
    MONDAY,
    TWO_STEPS,
    living,
    market,
    nurture,
    settle,
    world,
)
from aicmo_dagster_tests.stages.harvesting.harvests import open_harvest_workspace, search
from aicmo_dagster_tests.workspaces import open_test_workspace

PEOPLE = 110


@pytest.fixture
def workspace(tmp_path: Path, new_sqlite: Callable[[], str]) -> Iterator[Workspace]:
    opened = open_test_workspace(tmp_path, new_sqlite())
    market(tmp_path, PEOPLE)
    yield opened
    opened.database.close()


def lived(workspace: Workspace, days: float, *keys: str, start: datetime = MONDAY) -> World:
    """The world after so many days, in which nothing must be amiss."""
    found = world(workspace, start)
    return gone_on(workspace, found, days, *keys)


def gone_on(workspace: Workspace, found: World, days: float, *keys: str) -> World:
    found.run(found.clock.now() + timedelta(days=days))
    assert breaches(workspace, [*keys] or ["spring"], found.journal, found.clock.now()) == []
    return found


def kinds(workspace: Workspace) -> set[str]:
    with workspace.database.read() as connection:
        return set(connection.scalars(sa.select(events.c.kind).distinct()))


def test_a_campaign_without_limits_writes_to_everyone_it_can_and_hears_from_them(
    workspace: Workspace,
) -> None:
    settle(workspace, living())
    found = lived(workspace, 6)
    places = dispositions(workspace, "spring")
    assert places["rejected"] > 0  # the list is as dirty as lists are
    assert places["not routed"] > 0  # those without an address
    assert places["sent"] > PEOPLE / 2
    assert places["scheduled"] == 0
    assert {"reply", "unsubscribe", "bounce", "out_of_office"} <= kinds(workspace)
    steps = {letter.number for letter in found.journal.letters}
    assert steps == {0, 1}
    with workspace.database.read() as connection:
        handed = connection.execute(sa.select(handoffs.c.state)).scalars().all()
    assert set(handed) == {"delivered"}


def test_a_campaign_that_rejects_everyone_writes_to_nobody(workspace: Workspace) -> None:
    settle(workspace, living(scoring={"threshold": 100, "fit": {}}))
    found = lived(workspace, 2)
    places = dispositions(workspace, "spring")
    assert found.journal.letters == []
    assert places["not qualified"] == sum(places.values()) - places["rejected"]


def test_caps_hold_over_days_and_nobody_is_forgotten(workspace: Workspace) -> None:
    caps = {"per_sender_per_day": 15, "per_domain_per_hour": 1}
    settle(workspace, living(nurture=nurture(caps=caps)))
    found = lived(workspace, 4)
    assert 45 <= len(found.journal.letters) <= 60
    assert dispositions(workspace, "spring")["scheduled"] > 0


def test_an_edit_in_flight_holds_for_those_who_come_after_it(workspace: Workspace) -> None:
    steps = [TWO_STEPS["everyone"]["steps"][0], {"id": "nudge", "wait": {"hours": 4}, "body": "?"}]
    edited = {"everyone": {"steps": [*steps, {"id": "last", "wait": {"hours": 2}, "body": "Bye."}]}}
    capacity = {"sequences": [{"sequence": "everyone", "capacity": 40}]}
    daily = {"harvest": "0 6 * * *", "nurture": "*/30 * * * *"}
    short = {"everyone": {"steps": steps}}
    settle(workspace, living(routing=capacity, schedule=daily, sequences=short))
    edit = living(routing=capacity, schedule=daily, sequences=edited)
    found = world(workspace)
    found.at(MONDAY + timedelta(days=1), lambda: settle(workspace, edit, found.clock.now()))
    gone_on(workspace, found, 3)
    with workspace.database.read() as connection:
        sends = read_frame(connection, "nurture_sends", "spring", ["lead_id", "step"])
        routed = read_frame(connection, "routed_leads", "spring", ["lead_id", "campaign_version"])
    versions = dict(zip(routed["lead_id"], routed["campaign_version"], strict=True))
    got_last = {versions[lead] for lead in sends.loc[sends["step"] == "last", "lead_id"]}
    assert set(versions.values()) == {1, 2}
    assert got_last == {2}


def test_windows_are_kept_through_a_change_of_the_clock(workspace: Workspace) -> None:
    """In Norway it is summer time from Sunday, 29 March 2026, on."""
    start, oslo = datetime(2026, 3, 27, 0, 0, tzinfo=UTC), ZoneInfo("Europe/Oslo")
    window = {"days": ["fri", "sat", "sun", "mon", "tue"], "hours": "09:00-10:00"}
    at_home = window | {"timezone": "campaign", "jitter_minutes": 30}
    daily = {"harvest": "0 6 * * *", "nurture": "*/30 * * * *", "timezone": "Europe/Oslo"}
    each_day = {"sequences": [{"sequence": "everyone", "per_day": 25}]}
    sending = nurture(window=at_home)
    settle(workspace, living(schedule=daily, nurture=sending, routing=each_day), start)
    found = lived(workspace, 4, start=start)
    local = [letter.arrived_at.astimezone(oslo) for letter in found.journal.letters]
    assert {at.hour for at in local} == {9}
    assert {at.day for at in local} == {27, 28, 29, 30}
    assert {letter.arrived_at.hour for letter in found.journal.letters} == {8, 7}


def test_two_campaigns_never_write_to_the_same_person_at_once(workspace: Workspace) -> None:
    settle(workspace, living())
    settle(workspace, living("autumn"))
    found = lived(workspace, 3, "spring", "autumn")
    with workspace.database.read() as connection:
        routed = [
            set(read_frame(connection, "routed_leads", key, ["lead_id"])["lead_id"])
            for key in ("spring", "autumn")
        ]
    most = max(letter.number for letter in found.journal.letters)
    assert most == 1  # nobody got more than the two messages of one campaign
    assert min(map(len, routed)) == 0


def test_a_provider_without_a_key_stops_no_other_source(workspace: Workspace) -> None:
    apollo = {"type": "apollo", "search": {"person_titles": ["cto"]}, "max_leads": 10}
    sources = [*living().model_dump(mode="json")["sources"], apollo]
    settle(workspace, living(sources=sources))
    found = lived(workspace, 1)
    notes = [note for each in found.passes for note in each.report.notes]
    assert any("AICMO_APOLLO_API_KEY" in note for note in notes)
    assert found.journal.letters


def test_a_provider_that_goes_down_half_way_delays_some_and_loses_nobody(
    tmp_path: Path, new_sqlite: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom it could not be asked about any more is asked about the next day, once."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with StandIn(PEOPLE, specials=False).running() as stand_in:
        down = tuple(range(4, 400))
        stand_in.faults.set(Fault("bulk_match", nth=down, status=503), Fault("enrich", status=503))
        workspace = open_harvest_workspace(tmp_path, new_sqlite(), stand_in.url, at_once=1)
        daily = {"harvest": "0 6 * * *", "nurture": "0 */4 * * *"}
        enrich = {"waterfall": ["apollo", "dropcontact"], "max_credits": 1000}
        settle(workspace, living(sources=[search(PEOPLE)], enrich=enrich, schedule=daily))
        found = lived(workspace, 1)
        before = dispositions(workspace, "spring")
        stand_in.faults.set()
        gone_on(workspace, found, 1)
        after = dispositions(workspace, "spring")
        paid_twice = stand_in.ledger.paid_twice("apollo") | stand_in.ledger.paid_twice(
            "dropcontact"
        )
        workspace.database.close()
    assert 0 < before["sent"] < PEOPLE / 2
    assert before["not routed"] > PEOPLE / 2  # they have no address yet
    assert sum(before.values()) == sum(after.values()) >= PEOPLE
    assert after["sent"] > 2 * before["sent"]
    assert paid_twice == set()


def test_a_world_that_goes_on_elsewhere_repeats_nothing(workspace: Workspace) -> None:
    settle(workspace, living(nurture=nurture(caps={"per_sender_per_day": 30})))
    before = lived(workspace, 1.5)
    letters = len(before.journal.letters)
    before.journal.close()
    after = gone_on(workspace, world(workspace), 2)
    assert len(after.journal.letters) > letters


def test_quiet_time_costs_no_turn(workspace: Workspace) -> None:
    settle(workspace, living(scoring={"threshold": 100, "fit": {}}))
    found = world(workspace, behaviour=Behaviour())
    found.run(MONDAY + timedelta(days=28))
    assert {each.report.stage for each in found.passes} >= {"raw_leads", "routed_leads"}
    assert len(found.passes) <= 4 * 5  # a harvest a week, and a look at the mail after each
