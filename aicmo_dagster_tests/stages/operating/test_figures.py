"""The figures against a campaign that was counted by hand, on both engines."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from aicmo_dagster.domain.figures import Figure, Figures
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.operating.figures import campaign_figures, overall_figures
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.pacing import record_of
from aicmo_dagster.store.tables import nurture_sends
from aicmo_dagster.store.troubles import records_of
from aicmo_dagster_tests.figured import DAY, SENDER, figured_campaign
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import open_test_workspace

YESTERDAY, TODAY = (NOON - DAY).date(), NOON.date()


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    """A workspace with two such campaigns."""
    opened = open_test_workspace(tmp_path, database_url)
    with opened.database.write() as connection:
        figured_campaign(connection, "spring")
        figured_campaign(connection, "autumn")
    yield opened
    opened.database.close()


def counted(figures: Figures) -> dict[str, tuple[int, str | None, float | None]]:
    return {
        name: (figure.count, figure.of, figure.rate)
        for name, figure in figures
        if isinstance(figure, Figure)
    }


def test_every_figure_of_a_campaign_is_what_a_person_counts(workspace: Workspace) -> None:
    found = campaign_figures(workspace, "spring", NOON)

    assert counted(found) == {
        "harvested": (10, "records", 10 / 11),
        "scored": (10, "harvested", 1.0),
        "qualified": (7, "scored", 0.7),
        "routed": (5, "qualified or routed", 5 / 8),
        "sent": (6, "attempted", 6 / 8),
        "delivered": (5, "sent", 5 / 6),
        "bounced": (1, "sent", 1 / 6),
        "opened": (1, "delivered", 1 / 5),
        "clicked": (1, "delivered", 1 / 5),
        "replied": (1, "leads mailed", 1 / 5),
        "unsubscribed": (1, "leads mailed", 1 / 5),
        "complained": (1, "leads mailed", 1 / 5),
        "graduated": (2, "leads mailed", 2 / 5),
    }
    assert found.harvested.by_day == {YESTERDAY: 4, TODAY: 6}
    assert found.qualified.by_day == {YESTERDAY: 1, TODAY: 6}
    assert found.sent.by_day == {YESTERDAY: 2, TODAY: 4}
    assert found.delivered.by_day == {YESTERDAY: 1, TODAY: 4}
    assert found.replied.by_day == {TODAY: 1}


def test_scores_sequences_and_verdicts_are_what_a_person_counts(workspace: Workspace) -> None:
    found = campaign_figures(workspace, "spring", NOON)

    bars = {bar.low: bar.leads for bar in found.scores.distribution if bar.leads}
    assert bars == {0: 1, 10: 1, 55: 1, 60: 3, 65: 1, 90: 1, 95: 2}
    assert found.scores.mean == pytest.approx(61.23)
    assert found.scores.threshold == 60
    assert [(s.sequence, s.leads, s.share) for s in found.sequences] == [
        ("everyone", 3, 0.6),
        ("late", 2, 0.4),
    ]
    assert [each.model_dump() for each in found.engagement] == [
        {"kind": "open", "human": 2, "suspect": 0, "proxy": 1, "machine": 0, "pending": 0},
        {"kind": "click", "human": 1, "suspect": 0, "proxy": 0, "machine": 2, "pending": 1},
    ]


def test_durations_and_costs_are_what_a_person_counts(workspace: Workspace) -> None:
    found = campaign_figures(workspace, "spring", NOON)

    harvesting = next(s for s in found.durations.stages if s.stage == "raw_leads")
    assert (harvesting.runs, harvesting.failed) == (2, 0)
    assert harvesting.mean_seconds == pytest.approx(15, abs=0.01)
    assert harvesting.latest_seconds == pytest.approx(20, abs=0.01)
    assert found.durations.latest_seconds == pytest.approx(25, abs=0.01)
    costs = found.costs
    assert (costs.credits, costs.per_lead, costs.per_handoff) == (12.5, 1.25, 6.25)
    assert costs.per_qualified_lead == pytest.approx(12.5 / 7)
    assert costs.by_day == {TODAY: 12.5}
    assert [(p.provider, p.calls, p.credits) for p in costs.providers] == [("apollo", 3, 12.5)]


def test_all_that_needs_attention_is_named_with_its_campaign(workspace: Workspace) -> None:
    found = overall_figures(workspace, {"spring"}, NOON)

    assert [(t.kind, t.campaign, t.subject, t.number) for t in found.attention] == [
        ("breaker open", None, "spring@acme.example", 5),
        ("drift", "spring", "score_model", 2),
        ("handoff dead", "spring", "webhook", 1),
        ("payment in doubt", "spring", "apollo", 1),
        ("send in doubt", "spring", "nurture_sends", 1),
        ("stage failed", "spring", "nurture_sends", 1),
    ]
    assert found.attention[-1].text == "no server"


def test_several_campaigns_are_the_sum_of_each(workspace: Workspace) -> None:
    one = campaign_figures(workspace, "spring", NOON)
    for scope in (None, {"spring", "autumn"}):
        both = overall_figures(workspace, scope, NOON)
        assert both.campaigns == 2
        assert {name: n for name, (n, _, _) in counted(both).items()} == {
            name: 2 * n for name, (n, _, _) in counted(one).items()
        }
        assert {n: r for n, (_, _, r) in counted(both).items()} == pytest.approx(
            {n: r for n, (_, _, r) in counted(one).items()}
        )
        assert both.durations.mean_seconds == pytest.approx(one.durations.mean_seconds)
        assert len(both.attention) == 2 * len(one.attention)


def test_a_scope_without_campaigns_sees_nothing(workspace: Workspace) -> None:
    found = overall_figures(workspace, frozenset(), NOON)

    assert found.campaigns == 0
    assert {count for count, _, _ in counted(found).values()} == {0}
    assert (found.attention, found.senders) == ([], [])


def test_days_before_the_window_count_and_are_not_told(workspace: Workspace) -> None:
    found = campaign_figures(workspace, "spring", NOON, days=1)

    assert found.harvested.count == 10
    assert found.harvested.by_day == {TODAY: 6}


def test_a_day_is_a_day_of_utc_whatever_the_zone_of_the_server(workspace: Workspace) -> None:
    late = datetime(2026, 3, 3, 23, 59, tzinfo=UTC)
    with workspace.database.write() as connection:
        sent = nurture_sends.c.sent_at.is_not(None)
        connection.execute(sa.update(nurture_sends).where(sent).values(sent_at=late))
        if connection.dialect.name == "postgresql":
            name = workspace.database.engine.url.database
            connection.execute(sa.text(f"ALTER DATABASE {name} SET timezone TO 'Asia/Tokyo'"))
    workspace.database.close()  # the next connection has the new zone

    assert campaign_figures(workspace, "spring", NOON).sent.by_day == {late.date(): 6}


def test_senders_are_judged_as_their_ramp_judges_them(workspace: Workspace) -> None:
    with workspace.database.read() as connection:
        expected = record_of(connection, SENDER, NOON - timedelta(days=7))
        assert records_of(connection, [SENDER], NOON) == {SENDER: expected}

    sender = campaign_figures(workspace, "spring", NOON).senders[0]

    assert (sender.sent, sender.bounced, sender.complained) == (16, 4, 2)
    assert sender.health == "halt"


def test_a_campaign_that_is_not_there_is_named(workspace: Workspace) -> None:
    with pytest.raises(AicmoError, match="no campaign 'winter'"):
        campaign_figures(workspace, "winter", NOON)
