"""Pauses and versions over a real ledger."""

from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError, BadInput
from aicmo_dagster.stages.nurturing.lifecycle import (
    migrate,
    pause,
    preview_migration,
    preview_resume,
    resume,
    resume_lead,
)
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.agenda import agenda_counts
from aicmo_dagster.store.overrides import add_override
from aicmo_dagster.store.tables import nurture_sends
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.deciding.routing import DAY, route, send

INTRO = {"id": "intro", "subject": "Hello", "body": "Hi"}
NUDGE = {"id": "nudge", "wait": {"days": 2}, "body": "Again"}
LAST = {"id": "last", "wait": {"days": 2}, "body": "Farewell"}


def steps(workspace: Workspace) -> dict[tuple[str, str], int]:
    """Sends by step and state."""
    columns = nurture_sends.c
    query = sa.select(columns.step, columns.state, sa.func.count()).group_by(
        columns.step, columns.state
    )
    with workspace.database.read() as connection:
        return {(step, state): count for step, state, count in connection.execute(query)}


def due(workspace: Workspace, step: str) -> list[datetime]:
    columns = nurture_sends.c
    query = sa.select(columns.due_at).where(columns.step == step).order_by(columns.due_at)
    with workspace.database.read() as connection:
        return list(connection.scalars(query))


def hold(workspace: Workspace, days: float, **more: Any) -> bool:
    told = {"by": "me", "who": "cli:me", "now": NOON + days * DAY}
    return pause(workspace, "spring", reason="stop", **told, **more)


def go_on(workspace: Workspace, mode: Any, days: float, **more: Any) -> int:
    return resume(workspace, "spring", mode, by="me", who="cli:me", now=NOON + days * DAY, **more)


@pytest.mark.parametrize("sequence", [None, "everyone"])
def test_what_is_paused_sends_nothing(workspace: Workspace, sequence: str | None) -> None:
    route(workspace, 2, INTRO)
    assert hold(workspace, 0, sequence=sequence)
    assert not hold(workspace, 0, sequence=sequence)
    report = send(workspace)
    assert steps(workspace) == {("intro", "planned"): 2}
    assert report.reasons == ({"the campaign is paused": 2} if sequence is None else {})
    go_on(workspace, "shift", 1, sequence=sequence)
    send(workspace, 1)
    assert steps(workspace) == {("intro", "accepted"): 2}


def test_what_is_not_there_cannot_be_paused_or_resumed(workspace: Workspace) -> None:
    route(workspace, 1, INTRO)
    with pytest.raises(BadInput, match="everyone"):
        hold(workspace, 0, sequence="nobody")
    with pytest.raises(AicmoError, match="not paused"):
        go_on(workspace, "skip", 1)
    with pytest.raises(BadInput, match="skip, shift, spread"):
        go_on(workspace, "forget", 1)


def prepare(workspace: Workspace, _: pytest.FixtureRequest) -> None:
    """Four follow-ups are due in the first two days of a pause of five, a day from the start."""
    route(workspace, 4, INTRO, NUDGE, LAST)
    send(workspace)
    hold(workspace, 1)
    send(workspace, 3)


@pytest.fixture
def paused(prepared_workspace: Workspace) -> Workspace:
    """One with the follow-ups of `prepare`."""
    return prepared_workspace


def test_the_counts_of_each_way_to_resume_are_shown_before(paused: Workspace) -> None:
    table = preview_resume(paused, "spring", now=NOON + 6 * DAY).set_index("mode")
    assert table.loc["skip"].to_dict() == {
        "skipped": 4,
        "moved": 0,
        "due_at_once": 0,
        "due_later": 0,
    }
    assert table.loc["shift"].tolist() == [0, 4, 0, 4]
    assert table.loc["spread"].tolist() == [0, 4, 1, 3]


def test_resuming_with_skip_goes_on_with_the_next_step(paused: Workspace) -> None:
    assert go_on(paused, "skip", 6) == 4
    send(paused, 6)
    assert steps(paused) == {
        ("intro", "accepted"): 4,
        ("nudge", "cancelled"): 4,
        ("last", "planned"): 4,
    }
    assert set(due(paused, "last")) == {NOON + 8 * DAY}


def test_resuming_with_shift_moves_follow_ups_by_the_length_of_the_pause(
    paused: Workspace,
) -> None:
    assert go_on(paused, "shift", 6) == 4
    assert set(due(paused, "nudge")) == {NOON + 7 * DAY}
    send(paused, 6.9)
    assert steps(paused)["nudge", "planned"] == 4
    send(paused, 7)
    assert steps(paused)["nudge", "accepted"] == 4


def test_a_wait_that_depends_on_clicks_is_shifted_too(workspace: Workspace) -> None:
    route(workspace, 1, INTRO, NUDGE | {"wait": {"days": 2, "if_clicked": 1}})
    send(workspace)
    hold(workspace, 0.5)
    send(workspace, 0.75)
    go_on(workspace, "shift", 5.5)
    assert due(workspace, "nudge") == [NOON + 7 * DAY]
    send(workspace, 6)
    send(workspace, 6.5)
    assert due(workspace, "nudge") == [NOON + 7 * DAY]


def test_first_messages_are_not_shifted(workspace: Workspace) -> None:
    route(workspace, 3, INTRO)
    hold(workspace, 0)
    send(workspace)
    table = preview_resume(workspace, "spring", now=NOON + DAY).set_index("mode")
    assert table.loc["shift"].tolist() == [0, 0, 3, 0]


def test_resuming_with_spread_sends_them_one_after_another(paused: Workspace) -> None:
    go_on(paused, "spread", 6, over=2 * DAY)
    assert due(paused, "nudge") == [NOON + (6 + n / 2) * DAY for n in range(4)]


def test_a_sequence_paused_on_its_own_stays_paused_with_the_campaign_resumed(
    paused: Workspace,
) -> None:
    hold(paused, 3, sequence="everyone")
    assert go_on(paused, "skip", 6) == 0
    send(paused, 6)
    assert steps(paused)["nudge", "planned"] == 4


def test_an_edited_sequence_leaves_leads_on_theirs_until_they_are_migrated(
    workspace: Workspace,
) -> None:
    route(workspace, 3, INTRO, NUDGE)
    send(workspace)
    route(workspace, 3, INTRO, {"id": "gift", "wait": {"days": 1}, "body": "Here"}, NUDGE)
    table = preview_migration(workspace, "spring")
    assert table["next"].tolist() == ["nudge"] * 3
    assert table["then"].tolist() == ["gift"] * 3
    assert set(table["from_version"]) == {1}
    assert table["stays"].isna().all()
    assert migrate(workspace, "spring", NOON + DAY / 2, who="cli:me") == 3
    assert preview_migration(workspace, "spring").empty
    send(workspace, 1)
    assert steps(workspace) == {
        ("intro", "accepted"): 3,
        ("gift", "accepted"): 3,
        ("nudge", "planned"): 3,
    }


def test_leads_stay_where_the_new_version_has_no_place_for_them(workspace: Workspace) -> None:
    route(workspace, 2, INTRO, NUDGE)
    send(workspace)
    route(workspace, 2, {"id": "other", "subject": "New", "body": "Hi"}, NUDGE)
    table = preview_migration(workspace, "spring")
    assert set(table["stays"]) == {"its last step is not in the new version"}
    assert migrate(workspace, "spring", NOON + DAY, who="cli:me") == 0
    route(workspace, 2, NUDGE | {"subject": "Again"}, INTRO)
    send(workspace, 2)
    table = preview_migration(workspace, "spring")
    assert table.empty  # they have finished


def test_nobody_gets_a_step_again_by_migrating(workspace: Workspace) -> None:
    route(workspace, 1, INTRO, NUDGE, LAST)
    for days in (0, 2):
        send(workspace, days)
    route(workspace, 1, NUDGE | {"subject": "Again"}, INTRO, LAST)
    assert set(preview_migration(workspace, "spring")["stays"]) == {"it would get a step again"}


def test_a_lead_whose_send_is_under_way_stays(workspace: Workspace) -> None:
    route(workspace, 1, INTRO, NUDGE)
    send(workspace)
    with workspace.database.write() as connection:
        connection.execute(
            sa.update(nurture_sends).where(nurture_sends.c.step == "nudge").values(state="unknown")
        )
    route(workspace, 1, INTRO, LAST)
    assert set(preview_migration(workspace, "spring")["stays"]) == {"a send to it is under way"}


def test_leads_that_have_not_begun_migrate_and_begin_anew(workspace: Workspace) -> None:
    route(workspace, 2, INTRO)
    hold(workspace, 0)
    send(workspace)
    route(workspace, 2, {"id": "hello", "subject": "New", "body": "Hi"})
    assert migrate(workspace, "spring", NOON, who="cli:me") == 2
    send(workspace)
    assert steps(workspace) == {("hello", "planned"): 2}
    with workspace.database.read() as connection:
        assert agenda_counts(connection, "spring") == {"enrolled": 2}


@pytest.mark.parametrize(
    ("mode", "counts", "then"),
    [
        ("skip", (1, 0, 0, 0), {("nudge", "cancelled"): 1, ("last", "planned"): 1}),
        ("shift", (0, 1, 0, 1), {("nudge", "planned"): 1}),
        ("spread", (0, 1, 1, 0), {("nudge", "accepted"): 1, ("last", "planned"): 1}),
    ],
)
def test_a_single_lead_is_resumed_in_each_way_as_it_was_shown(
    workspace: Workspace, mode: Any, counts: tuple[int, ...], then: dict[tuple[str, str], int]
) -> None:
    route(workspace, 1, INTRO, NUDGE, LAST)
    send(workspace)
    send(workspace, 0.5)
    with workspace.database.write() as connection:
        lead_id = connection.scalar(sa.select(nurture_sends.c.lead_id).limit(1))
        add_override(connection, "spring", lead_id, "pause", "x", "ida", NOON + DAY)
    send(workspace, 5)
    now = NOON + 6 * DAY

    shown = preview_resume(workspace, "spring", now=now, lead_id=lead_id)
    given = {"reason": "x", "by": "ida", "who": "cli:ida", "now": now}
    assert resume_lead(workspace, "spring", lead_id, mode, **given) == 1
    send(workspace, 6)

    assert tuple(shown.set_index("mode").loc[mode]) == counts
    assert steps(workspace) == {("intro", "accepted"): 1} | then
    with pytest.raises(AicmoError, match="is not paused"):
        resume_lead(workspace, "spring", lead_id, mode, **given)
