"""Planning over a real ledger: who is looked at, and what becomes of the leads."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.nurture.lifecycle import SKIPPED
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.nurturing.planning import plan_due
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.agenda import (
    FOLD_BACK,
    agenda_counts,
    leads_to_look_at,
)
from aicmo_dagster.store.interruptions import put_off
from aicmo_dagster.store.ledger import sends_of_lead
from aicmo_dagster.store.moves import take_back_plans
from aicmo_dagster.store.tables import FRAME_TABLES, agenda, engagement, events, nurture_sends
from aicmo_dagster_tests.samples import NOON, SECRET
from aicmo_dagster_tests.workspaces import apply

DAY = timedelta(days=1)
STEPS = [
    {"id": "intro", "subject": "Hello", "body": "Hi"},
    {"id": "nudge", "wait": {"days": 4, "if_clicked": 1}, "body": "Again"},
]


def route(workspace: Workspace, leads: int, steps: Any = STEPS) -> list[str]:
    """`leads` leads are in a sequence; their ids."""
    apply(workspace, "spring", leads, sequences={"everyone": {"steps": steps}})
    for stage in (harvest, score_leads, qualify_leads, route_leads):
        stage(workspace, "spring", NOON)
    routed = FRAME_TABLES["routed_leads"].c
    with workspace.database.read() as connection:
        return list(connection.scalars(sa.select(routed.lead_id).order_by(routed.position)))


Routed = tuple[Workspace, str]
"""A workspace whose campaign has one lead in its sequence, and that lead."""


def prepare(workspace: Workspace, _: pytest.FixtureRequest) -> None:
    route(workspace, 1)


@pytest.fixture
def routed(prepared_workspace: Workspace) -> Routed:
    leads = FRAME_TABLES["routed_leads"].c
    with prepared_workspace.database.read() as connection:
        return prepared_workspace, connection.scalars(sa.select(leads.lead_id)).one()


def tick(workspace: Workspace, now: datetime = NOON) -> int:
    stored = workspace.campaign("spring")
    with workspace.database.write() as connection:
        return plan_due(connection, stored, SECRET, now)


def settle(workspace: Workspace, lead: str, step: str, state: str, **values: Any) -> None:
    statement = sa.update(nurture_sends).where(
        nurture_sends.c.lead_id == lead, nurture_sends.c.step == step
    )
    with workspace.database.write() as connection:
        connection.execute(statement.values(state=state, **values))


def judge(workspace: Workspace, lead: str, verdict: str) -> None:
    """The verdict on all of the lead's events."""
    names = ("campaign", "lead_id", "kind", "happened_at")
    said = map(sa.literal, (verdict, "a rule", 1))
    mine = sa.select(events.c.id, *(events.c[name] for name in names), *said)
    target = ["event_id", *names, "verdict", "rule", "rules_version"]
    with workspace.database.write() as connection:
        told = mine.where(events.c.lead_id == lead)
        connection.execute(sa.insert(engagement).from_select(target, told))


def respond(
    workspace: Workspace, lead: str, kind: str, at: datetime, verdict: str | None = "human"
) -> None:
    row = {"kind": kind, "happened_at": at, "key": f"{lead}{kind}{at}", "detail": "{}"}
    with workspace.database.write() as connection:
        connection.execute(sa.insert(events).values(campaign="spring", lead_id=lead, **row))
    if verdict:
        judge(workspace, lead, verdict)


def counts(workspace: Workspace) -> dict[str, int]:
    with workspace.database.read() as connection:
        return agenda_counts(connection, "spring")


def looked_at(workspace: Workspace, now: datetime) -> list[str]:
    with workspace.database.read() as connection:
        return leads_to_look_at(connection, "spring", now)["lead_id"].tolist()


def sends(workspace: Workspace, lead: str) -> dict[str, Any]:
    """Each step's send of the lead."""
    with workspace.database.read() as connection:
        return {row["step"]: row for row in sends_of_lead(connection, "spring", lead)}


def test_a_lead_is_planned_once_and_then_not_looked_at(routed: Routed) -> None:
    workspace, lead = routed
    assert tick(workspace) == 1
    assert counts(workspace) == {"enrolled": 1}
    assert sends(workspace, lead)["intro"]["priority"] == 1
    assert looked_at(workspace, NOON + 100 * DAY) == []
    assert tick(workspace, NOON + DAY) == 0


def test_leads_routed_later_are_enrolled_too(routed: Routed) -> None:
    workspace, _ = routed
    tick(workspace)
    route(workspace, 3)
    assert tick(workspace) == 2
    assert counts(workspace) == {"enrolled": 3}


def test_an_accepted_send_brings_the_next_step_with_the_longest_wait(routed: Routed) -> None:
    workspace, lead = routed
    tick(workspace)
    settle(workspace, lead, "intro", "accepted", sent_at=NOON)
    assert tick(workspace, NOON) == 1
    nudge = sends(workspace, lead)["nudge"]
    assert (nudge["due_at"], nudge["priority"]) == (NOON + 4 * DAY, 0)
    assert counts(workspace) == {"active": 1}
    assert looked_at(workspace, NOON + DAY) == [lead]


def test_a_click_moves_the_next_step_forward(routed: Routed) -> None:
    workspace, lead = routed
    tick(workspace)
    settle(workspace, lead, "intro", "accepted", sent_at=NOON)
    tick(workspace)
    tick(workspace, NOON + DAY)
    assert sends(workspace, lead)["nudge"]["due_at"] == NOON + 4 * DAY
    clicked = NOON + 2 * DAY
    respond(workspace, lead, "click", clicked)
    tick(workspace, clicked)
    assert sends(workspace, lead)["nudge"]["due_at"] == NOON + 4 * DAY
    tick(workspace, clicked + FOLD_BACK)
    assert sends(workspace, lead)["nudge"]["due_at"] == clicked + FOLD_BACK


@pytest.mark.parametrize(
    ("verdict", "counts"),
    [("human", True), ("machine", False), ("pending", False), (None, False)],
)
def test_only_a_click_that_a_person_is_judged_to_have_made_moves_it(
    routed: Routed, verdict: str | None, counts: bool
) -> None:
    workspace, lead = routed
    tick(workspace)
    settle(workspace, lead, "intro", "accepted", sent_at=NOON)
    tick(workspace)
    tick(workspace, NOON + DAY)
    clicked = NOON + 2 * DAY
    respond(workspace, lead, "click", clicked, verdict)
    tick(workspace, clicked)
    tick(workspace, clicked + FOLD_BACK)
    due_at = clicked + FOLD_BACK if counts else NOON + 4 * DAY
    assert sends(workspace, lead)["nudge"]["due_at"] == due_at


@pytest.mark.parametrize("seen", [True, False])
def test_a_click_that_is_judged_late_is_looked_at_again(routed: Routed, seen: bool) -> None:
    workspace, lead = routed
    tick(workspace)
    settle(workspace, lead, "intro", "accepted", sent_at=NOON)
    tick(workspace)
    tick(workspace, NOON + DAY)
    clicked = NOON + 2 * DAY
    respond(workspace, lead, "click", clicked, "pending" if seen else None)
    tick(workspace, clicked)
    tick(workspace, clicked + FOLD_BACK)
    if seen:
        with workspace.database.write() as connection:
            connection.execute(sa.update(engagement).values(verdict="human"))
    else:
        judge(workspace, lead, "human")
    tick(workspace, clicked + 2 * FOLD_BACK)
    assert sends(workspace, lead)["nudge"]["due_at"] == clicked + 2 * FOLD_BACK
    assert looked_at(workspace, clicked + 9 * FOLD_BACK) == []


def test_a_send_that_was_put_off_is_not_moved_forward(routed: Routed) -> None:
    workspace, lead = routed
    tick(workspace)
    settle(workspace, lead, "intro", "accepted", sent_at=NOON)
    tick(workspace)
    with workspace.database.write() as connection:
        put_off(connection, "spring", lead, NOON + 9 * DAY, "the lead is away")
    respond(workspace, lead, "click", NOON + DAY / 2)
    tick(workspace, NOON + DAY)
    tick(workspace, NOON + 2 * DAY)
    assert sends(workspace, lead)["nudge"]["due_at"] == NOON + 9 * DAY


def test_a_lead_that_is_moved_before_its_first_message_is_planned_for_again(
    workspace: Workspace,
) -> None:
    moved, other = route(workspace, 2)
    tick(workspace)
    settle(workspace, other, "intro", "accepted", sent_at=NOON)
    with workspace.database.write() as connection:
        assert take_back_plans(connection, "spring", [moved, other]) == {moved}
    assert tick(workspace, NOON + DAY) == 2
    assert sends(workspace, moved)["intro"]["state"] == "planned"


def test_a_click_on_an_earlier_message_says_nothing(routed: Routed) -> None:
    workspace, lead = routed
    tick(workspace)
    respond(workspace, lead, "click", NOON - DAY)
    settle(workspace, lead, "intro", "accepted", sent_at=NOON)
    tick(workspace)
    tick(workspace, NOON + 1.5 * DAY)
    assert sends(workspace, lead)["nudge"]["due_at"] == NOON + 4 * DAY


def test_a_send_that_is_due_already_keeps_its_place(routed: Routed) -> None:
    workspace, lead = routed
    tick(workspace)
    settle(workspace, lead, "intro", "accepted", sent_at=NOON)
    tick(workspace)
    respond(workspace, lead, "click", NOON + 5 * DAY)
    tick(workspace, NOON + 5 * DAY)
    tick(workspace, NOON + 6 * DAY)
    assert sends(workspace, lead)["nudge"]["due_at"] == NOON + 4 * DAY


def test_at_the_end_of_its_sequence_a_lead_has_finished(workspace: Workspace) -> None:
    (lead,) = route(workspace, 1, STEPS[:1])
    tick(workspace)
    settle(workspace, lead, "intro", "accepted", sent_at=NOON)
    assert tick(workspace) == 0
    assert counts(workspace) == {"finished": 1}


@pytest.mark.parametrize("state", ["rejected", "cancelled"])
def test_a_lead_exits_with_the_reason_of_its_send(routed: Routed, state: str) -> None:
    workspace, lead = routed
    tick(workspace)
    settle(workspace, lead, "intro", state, reason="the lead replied")
    assert tick(workspace) == 0
    with workspace.database.read() as connection:
        row = connection.execute(sa.select(agenda)).one()
    assert (row.state, row.reason) == ("exited", "the lead replied")


def test_a_skipped_step_is_followed_by_the_next(routed: Routed) -> None:
    workspace, lead = routed
    tick(workspace)
    settle(workspace, lead, "intro", "cancelled", reason=SKIPPED)
    tick(workspace, NOON + DAY)
    assert sends(workspace, lead)["nudge"]["due_at"] == NOON + 5 * DAY


def test_a_send_under_way_holds_the_sequence(routed: Routed) -> None:
    workspace, lead = routed
    tick(workspace)
    settle(workspace, lead, "intro", "unknown")
    assert tick(workspace, NOON + 9 * DAY) == 0
    assert counts(workspace) == {"enrolled": 1}


def test_a_lead_that_lost_its_address_is_looked_at_again_a_day_later(routed: Routed) -> None:
    workspace, lead = routed
    raw = FRAME_TABLES["raw_leads"]
    with workspace.database.write() as connection:
        connection.execute(sa.update(raw).values(email=None))
    assert tick(workspace) == 0
    assert looked_at(workspace, NOON) == []
    with workspace.database.write() as connection:
        connection.execute(sa.update(raw).values(email="back@company.example"))
    assert tick(workspace, NOON + DAY) == 1
    assert sends(workspace, lead)["intro"]["recipient_domain"] == "company.example"
