"""How a campaign stands: what was done, what is late and what comes next."""

from datetime import timedelta

from aicmo_dagster.stages.operating.freshness import GRACE
from aicmo_dagster.stages.operating.status import status
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.results import record_failure, record_success
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply

HOUR = timedelta(hours=1)


def test_a_stage_is_late_from_the_tick_that_it_missed(workspace: Workspace) -> None:
    apply(workspace, "spring", 1, schedule={"harvest": "0 * * * *"})
    times = {"run_id": "r1", "started_at": NOON + HOUR, "finished_at": NOON + HOUR}
    with workspace.database.write() as connection:
        rows = {"rows_in": 1, "rows_out": 1, "figures": {}}
        record_success(connection, "spring", "raw_leads", **rows, **times)

    def late(hours: float) -> timedelta | None:
        found = status(workspace, "spring", NOON + hours * HOUR)
        return {part.stage: part.late_by for part in found.stages}["raw_leads"]

    assert late(1.5) is None
    assert late(2.2) is None, "a run may take a while"
    assert late(2.5) == HOUR / 2
    assert late(4.5) == HOUR / 2


def test_what_never_ran_and_has_no_schedule_is_not_late(workspace: Workspace) -> None:
    apply(workspace, "spring", 1)

    found = status(workspace, "spring", NOON + 100 * HOUR)

    assert [part.late_by for part in found.stages] == [None] * 5
    assert found.jobs == []


def test_it_tells_the_schedule_in_words_and_the_failure_with_its_reason(
    workspace: Workspace,
) -> None:
    schedule = {"nurture": "*/15 * * * *", "harvest": "0 6 * * 1-5", "timezone": "Europe/Oslo"}
    apply(workspace, "spring", 1, schedule=schedule)
    times = {"run_id": "r1", "started_at": NOON, "finished_at": NOON}
    with workspace.database.write() as connection:
        record_failure(connection, "spring", "raw_leads", failure="no file", **times)

    document = status(workspace, "spring", NOON).as_document()

    assert document["stages"][0]["state"]["failure"] == "no file"
    harvest, nurture = document["jobs"]
    assert harvest["words"] == "At 06:00 on Monday through Friday"
    assert harvest["next_ticks"][0] == "2026-03-05T06:00:00+01:00"
    assert len(nurture["next_ticks"]) == 5


def test_it_tells_until_when_each_stage_is_fresh_by_the_schedule(workspace: Workspace) -> None:
    schedule = {"harvest": "0 6 * * *", "report": "0 7 * * *", "timezone": "Europe/Oslo"}
    apply(workspace, "spring", 1, schedule=schedule)
    times = {"run_id": "r1", "started_at": NOON, "finished_at": NOON}
    with workspace.database.write() as connection:
        for stage in ("raw_leads", "nurture_sends", "campaign_report"):
            rows = {"rows_in": 1, "rows_out": 1, "figures": {}}
            record_success(connection, "spring", stage, **rows, **times)

    found = {p.stage: p.fresh_until for p in status(workspace, "spring", NOON).stages}

    six = NOON.replace(hour=5) + 24 * HOUR
    assert found["raw_leads"] == six + GRACE
    assert found["campaign_report"] == six + HOUR + GRACE
    assert found["nurture_sends"] is None
    assert found["scored_leads"] is None
