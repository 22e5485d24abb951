from collections.abc import Callable
from datetime import datetime, timedelta

import pandas as pd
import pytest

from aicmo_dagster.store.database import Database, open_database
from aicmo_dagster.store.decisions import Decision, history, record_decisions
from aicmo_dagster_tests.store.rows import NOW, lead, texts

STAGE = "qualified_leads"


def verdicts(*outcomes: str, reason: str = "score", by: str = "rules") -> pd.DataFrame:
    count = len(outcomes)
    return texts(
        lead_id=[lead(number) for number in range(count)],
        outcome=list(outcomes),
        reason=[reason] * count,
        decided_by=[by] * count,
        cause=["not stored"] * count,
    )


def recorded(
    database: Database,
    frame: pd.DataFrame,
    *,
    stage: str = STAGE,
    campaign: str = "c",
    now: datetime = NOW,
) -> int:
    with database.write() as connection:
        return record_decisions(
            connection, campaign, stage, frame, now=now, campaign_version=3, inputs={"model": "m1"}
        )


def test_only_what_differs_from_the_latest_is_appended(database: Database) -> None:
    assert recorded(database, verdicts("yes", "no")) == 2
    assert recorded(database, verdicts("yes", "no")) == 0
    assert recorded(database, verdicts("yes", "yes", "no")) == 2


@pytest.mark.parametrize("changed", [{"reason": "rule"}, {"by": "override"}])
def test_another_reason_or_decider_is_another_decision(
    database: Database, changed: dict[str, str]
) -> None:
    recorded(database, verdicts("yes"))

    assert recorded(database, verdicts("yes", **changed)) == 1


def test_the_latest_counts_and_not_any_earlier_one(database: Database) -> None:
    recorded(database, verdicts("yes"))
    recorded(database, verdicts("no"))

    assert recorded(database, verdicts("yes")) == 1


def test_stages_and_campaigns_are_told_apart(database: Database) -> None:
    recorded(database, verdicts("yes"))

    assert recorded(database, verdicts("yes"), stage="routed_leads") == 1
    assert recorded(database, verdicts("yes"), campaign="d") == 1


def test_an_empty_frame_records_nothing(database: Database) -> None:
    assert recorded(database, verdicts()) == 0


def test_a_history_tells_all_stages_oldest_first(database: Database) -> None:
    later = NOW + timedelta(days=1)
    recorded(database, verdicts("yes", "no"))
    recorded(database, verdicts("routed", by="strategy"), stage="routed_leads")
    recorded(database, verdicts("no", "no"), now=later)
    with database.read() as connection:
        found = history(connection, "c", lead(0))

    grounds = {"campaign_version": 3, "inputs": {"model": "m1"}}
    assert found == [
        Decision(STAGE, "yes", "score", "rules", NOW, **grounds),
        Decision("routed_leads", "routed", "score", "strategy", NOW, **grounds),
        Decision(STAGE, "no", "score", "rules", later, **grounds),
    ]


def test_what_is_unchanged_costs_no_more_a_lead_where_there_are_more_leads(
    new_sqlite: Callable[[], str],
) -> None:
    """Counted in steps of SQLite's machine, which are the same on every computer."""
    database = open_database(new_sqlite())
    steps = {}
    for count in (500, 2000):
        known = verdicts(*["yes"] * count)
        recorded(database, known, campaign=f"of {count}")
        with database.write() as connection:
            ticks = []
            driver = connection.connection.driver_connection
            driver.set_progress_handler(lambda ticks=ticks: ticks.append(1), 100)
            record_decisions(
                connection, f"of {count}", STAGE, known, now=NOW, campaign_version=3, inputs={}
            )
            driver.set_progress_handler(None, 0)
        steps[count] = len(ticks)
    database.close()

    assert steps[2000] < 6 * steps[500]
