"""Tests of variants over a real ledger and real events."""

from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from aicmo_dagster.stages.nurturing.experiments import ASK_AGAIN, experiment_table, standings
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.tables import events, nurture_sends
from aicmo_dagster_tests.samples import NOON, lead_id
from aicmo_dagster_tests.workspaces import apply

DAY = timedelta(days=1)
VARIANTS = [{"id": "short", "body": "a"}, {"id": "long", "body": "b"}]
AT = (1, "everyone", "intro")


def start(workspace: Workspace, variants: Any = VARIANTS, **test: Any) -> None:
    intro = {"id": "intro", "subject": "Hello", "variants": variants, "test": test}
    apply(workspace, "spring", None, sequences={"everyone": {"steps": [intro]}})


def expose(workspace: Workspace, short: tuple[int, int], long: tuple[int, int]) -> None:
    """So many delivered leads, and replies among them, of each variant, an hour apart."""
    numbers = {"short": range(short[0]), "long": range(1000, 1000 + long[0])}
    sends, replies = [], []
    for variant, told in numbers.items():
        for number in told:
            sends.append(_sent(number, variant))
            if number % 1000 < {"short": short, "long": long}[variant][1]:
                replies.append(_replied(number))
    with workspace.database.write() as connection:
        connection.execute(sa.insert(nurture_sends), sends)
        if replies:
            connection.execute(sa.insert(events), replies)


def _sent(number: int, variant: str) -> dict[str, Any]:
    return {
        "campaign": "spring",
        "lead_id": lead_id(number),
        "sequence": "everyone",
        "step": "intro",
        "variant": variant,
        "campaign_version": 1,
        "message_id": f"<{number}@acme.example>",
        "recipient_domain": "company.example",
        "state": "accepted",
        "due_at": NOON,
        "sent_at": NOON + timedelta(minutes=number % 1000),
        "sender": "ida@acme.example",
        "deadline_at": NOON,
    }


def _replied(number: int, kind: str = "reply", at: datetime = NOON + DAY) -> dict[str, Any]:
    return {
        "campaign": "spring",
        "lead_id": lead_id(number),
        "kind": kind,
        "step": "intro",
        "happened_at": at,
        "key": f"{kind}{number}",
        "detail": "{}",
    }


def ask(workspace: Workspace, now: datetime, version: int = 1) -> Any:
    stored = workspace.campaign("spring", version)
    with workspace.database.write() as connection:
        return standings(connection, {version: stored}, now)[version, "everyone", "intro"]


def test_on_a_verdict_new_leads_get_the_winner(workspace: Workspace) -> None:
    start(workspace, leads=200)
    expose(workspace, (100, 5), (100, 40))
    assert ask(workspace, NOON).winner is None
    assert ask(workspace, NOON + 5 * DAY).winner is None  # their time to reply is not over
    assert ask(workspace, NOON + 9 * DAY).winner == "long"
    table = experiment_table(workspace, "spring")
    assert table["stands"].tolist() == ["running", "winner"]
    assert table["delivered"].tolist() == [100, 100]
    assert table["rate"].tolist() == [0.05, 0.4]
    assert table["difference"].tolist()[1] == pytest.approx(0.35)
    assert set(table["state"]) == {"decided"}


def test_a_decided_test_stays_decided(workspace: Workspace) -> None:
    start(workspace, leads=200)
    expose(workspace, (100, 5), (100, 40))
    for days in (0, 9):
        ask(workspace, NOON + days * DAY)
    with workspace.database.write() as connection:
        connection.execute(sa.delete(events))
    assert ask(workspace, NOON + 20 * DAY).winner == "long"


def test_outcomes_are_read_once_an_hour(workspace: Workspace) -> None:
    start(workspace, leads=200)
    ask(workspace, NOON + 9 * DAY)
    expose(workspace, (100, 5), (100, 40))
    assert ask(workspace, NOON + 9 * DAY + ASK_AGAIN / 2).winner is None
    assert ask(workspace, NOON + 9 * DAY + ASK_AGAIN).winner == "long"


def test_replies_after_their_time_and_bounced_leads_do_not_count(workspace: Workspace) -> None:
    start(workspace, leads=200)
    expose(workspace, (100, 0), (102, 0))
    late = [_replied(n, at=NOON + 8.5 * DAY) for n in range(1000, 1050)]
    bounced = [_replied(n, "bounce") for n in (1000, 1001)]
    with workspace.database.write() as connection:
        connection.execute(sa.insert(events), late + bounced)
    ask(workspace, NOON)
    ask(workspace, NOON + 20 * DAY)
    table = experiment_table(workspace, "spring")
    assert table["delivered"].tolist() == [100, 100]
    assert table["successes"].tolist() == [0, 0]
    assert set(table["state"]) == {"no difference"}


def test_a_variant_that_loses_leads_is_stopped(workspace: Workspace) -> None:
    start(workspace, leads=2000)
    expose(workspace, (200, 5), (200, 5))
    left = [_replied(n, "unsubscribe") for n in range(1100, 1120)]
    with workspace.database.write() as connection:
        connection.execute(sa.insert(events), left)
    ask(workspace, NOON)
    found = ask(workspace, NOON + 9 * DAY)
    assert (found.stopped, found.winner) == ({"long"}, "short")


def test_an_edit_of_what_is_compared_begins_another_test(workspace: Workspace) -> None:
    start(workspace, leads=200)
    expose(workspace, (100, 5), (100, 40))
    for days in (0, 9):
        ask(workspace, NOON + days * DAY)
    start(workspace, [*VARIANTS[:1], {"id": "long", "body": "other words"}], leads=200)
    for days in (10, 11):
        assert ask(workspace, NOON + days * DAY, version=2).winner is None
    assert ask(workspace, NOON + 12 * DAY).winner == "long"
    assert experiment_table(workspace, "spring")["state"].tolist().count("running") == 1


def test_a_campaign_without_tests_asks_for_nothing(workspace: Workspace) -> None:
    apply(workspace, "spring", None)
    with workspace.database.write() as connection:
        assert standings(connection, {1: workspace.campaign("spring")}, NOON) == {}
    assert isinstance(experiment_table(workspace, "spring"), pd.DataFrame)
