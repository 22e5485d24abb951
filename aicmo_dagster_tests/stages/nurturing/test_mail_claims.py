"""Claims about mail, each seen to hold and to fail."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.tokens import address_key, domain_key
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.nurturing import mail_claims
from aicmo_dagster.stages.nurturing.calendar import lifecycle_table, mail_calendar, nurture_tables
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.suppressions import suppress
from aicmo_dagster.store.tables import events, nurture_sends
from aicmo_dagster_tests.samples import NOON, campaign_document
from aicmo_dagster_tests.workspaces import apply

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def prepare(workspace: Workspace, leads: int, **caps: Any) -> None:
    """`leads` leads are routed, and as many mails sent as `caps` allow."""
    nurture_section = campaign_document()["nurture"] | {"caps": caps}
    apply(workspace, "spring", leads, nurture=nurture_section)
    for stage in (harvest, score_leads, qualify_leads, route_leads):
        stage(workspace, "spring", NOON)
    nurture(workspace, "spring", lambda: NOON)


def change(workspace: Workspace, statement: sa.Executable) -> None:
    with workspace.database.write() as connection:
        connection.execute(statement)


@pytest.mark.parametrize("kind", ["address", "domain"])
def test_mail_to_someone_suppressed_before_is_found(workspace: Workspace, kind: Any) -> None:
    prepare(workspace, 3)
    secret = workspace.settings.secret_key()
    keys = {
        "address": [address_key(secret, f"lead{n}@company{n}.example") for n in (1, 2)],
        "domain": [domain_key(secret, f"company{n}.example") for n in (1, 2)],
    }
    for key, at in zip(keys[kind], (NOON + HOUR, NOON - HOUR), strict=True):
        with workspace.database.write() as connection:
            suppress(connection, kind, key, "asked", "me", at)
        found = mail_claims.nobody_suppressed_is_mailed(workspace, "spring", NOON + HOUR)
        assert found.figures["mailed"] == 3
        assert found.figures["suppressed"] == (at < NOON)
        assert found.holds is (at > NOON)


def test_caps_are_read_back_from_the_mails_themselves(workspace: Workspace) -> None:
    prepare(workspace, 9, per_sender_per_day=4, per_domain_per_hour=2)
    found = mail_claims.caps_are_kept(workspace, "spring", NOON + HOUR)
    assert found.holds
    assert found.figures["most_per_sender_per_day"] == 4
    rows = nurture_sends.c
    late = NOON + DAY - timedelta(seconds=1)
    waiting = sa.select(sa.func.min(rows.lead_id)).where(rows.state == "planned").scalar_subquery()
    change(
        workspace,
        sa.update(nurture_sends)
        .where(rows.lead_id == waiting)
        .values(state="accepted", claimed_at=late, sent_at=late),
    )
    found = mail_claims.caps_are_kept(workspace, "spring", NOON + DAY)
    assert not found.holds
    assert found.text == "per_sender_per_day: 5 where 4 are allowed"
    change(
        workspace,
        sa.update(nurture_sends)
        .where(rows.sent_at == late)
        .values(claimed_at=NOON + DAY, sent_at=NOON + DAY),
    )
    assert mail_claims.caps_are_kept(workspace, "spring", NOON + DAY).holds


def test_the_cap_of_a_domain_is_read_back_too(workspace: Workspace) -> None:
    prepare(workspace, 3, per_domain_per_hour=1)
    assert mail_claims.caps_are_kept(workspace, "spring", NOON).holds
    change(workspace, sa.update(nurture_sends).values(recipient_domain="one.example"))
    assert not mail_claims.caps_are_kept(workspace, "spring", NOON).holds


def test_what_stays_unknown_for_a_day_is_told(workspace: Workspace) -> None:
    prepare(workspace, 2)
    change(workspace, sa.update(nurture_sends).values(state="unknown"))
    assert mail_claims.nothing_stays_unknown(workspace, "spring", NOON + DAY).holds
    found = mail_claims.nothing_stays_unknown(workspace, "spring", NOON + DAY + HOUR)
    assert (found.holds, found.figures) == (False, {"unknown_for_a_day": 2})


@pytest.mark.parametrize(("kind", "count"), [("bounce", 3), ("complaint", 2)])
def test_too_many_bounces_or_complaints_are_told(
    workspace: Workspace, kind: str, count: int
) -> None:
    prepare(workspace, 20)
    assert mail_claims.bounces_and_complaints_are_few(workspace, "spring", NOON).holds
    leads = sa.select(nurture_sends.c.lead_id).limit(count)
    with workspace.database.write() as connection:
        rows = [
            {"lead_id": lead, "kind": kind, "happened_at": NOON, "key": lead, "detail": "{}"}
            for lead in connection.scalars(leads)
        ]
        connection.execute(sa.insert(events), [{"campaign": "spring", **row} for row in rows])
    found = mail_claims.bounces_and_complaints_are_few(workspace, "spring", NOON + HOUR)
    assert not found.holds
    assert found.figures[f"{kind}_rate"] == count / 20


def test_a_campaign_that_sent_nothing_claims_everything(workspace: Workspace) -> None:
    apply(workspace, "spring", 1)
    for claim in (
        mail_claims.nobody_suppressed_is_mailed,
        mail_claims.caps_are_kept,
        mail_claims.nothing_stays_unknown,
        mail_claims.bounces_and_complaints_are_few,
    ):
        assert claim(workspace, "spring", NOON).holds


def test_the_calendar_tells_what_is_due_and_what_the_cap_lets_out(workspace: Workspace) -> None:
    prepare(workspace, 9, per_sender_per_day=3)
    stored = workspace.campaign("spring")
    later: datetime = NOON + DAY
    table = mail_calendar(workspace, stored, later)
    assert table["day"].tolist()[:2] == ["2026-03-05", "2026-03-06"]
    assert len(table) == 14
    assert table["due"].tolist()[:3] == [6, 0, 0]
    assert table["expected"].tolist()[:3] == [3, 3, 0]
    used_up = mail_calendar(workspace, stored, later - DAY / 2)
    assert used_up["expected"].tolist()[:3] == [0, 3, 3]
    one = sa.select(sa.func.max(nurture_sends.c.lead_id)).scalar_subquery()
    change(
        workspace,
        sa.update(nurture_sends)
        .where(nurture_sends.c.lead_id == one)
        .values(state="planned", due_at=NOON + 3 * DAY),
    )
    assert mail_calendar(workspace, stored, later)["due"].tolist()[:3] == [5, 0, 1]


def test_tables_tell_where_leads_are_and_name_none(workspace: Workspace) -> None:
    prepare(workspace, 3)
    change(
        workspace,
        sa.update(nurture_sends).values(
            state="cancelled", reason="the lead replied", followed_at=None
        ),
    )
    nurture(workspace, "spring", lambda: NOON)
    told = lifecycle_table(workspace, "spring")
    assert told.to_dict("records") == [
        {"state": "exited", "reason": "the lead replied", "leads": 3}
    ]
    assert set(nurture_tables(workspace, workspace.campaign("spring"), NOON)) == {
        "leads_in_sequence"
    }
