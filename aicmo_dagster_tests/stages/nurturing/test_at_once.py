"""Several runs at once: they queue where they must, and nobody is written to twice."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.frames import count_rows
from aicmo_dagster_tests.bench.killing import send_at_once
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply


def run(workspace: Workspace, key: str) -> None:
    for stage in (harvest, score_leads, qualify_leads, route_leads):
        stage(workspace, key, NOON)
    nurture(workspace, key, lambda: NOON)


def test_two_campaigns_run_twice_at_once_write_to_each_person_once(workspace: Workspace) -> None:
    routing = {"sequences": [{"sequence": "everyone"}], "overlap": {"cooldown_days": 30}}
    for key in ("spring", "autumn"):
        apply(workspace, key, 40, routing=routing)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(run, workspace, key) for key in ("spring", "autumn") * 2]:
            done.result()
    with workspace.database.read() as connection:
        routed = [count_rows(connection, "routed_leads", key) for key in ("spring", "autumn")]
    assert sum(routed) == 40
    assert len(list(workspace.settings.outbox.glob("*.eml"))) == 40


def test_three_processes_that_materialise_one_campaign_write_to_each_person_once(
    tmp_path: Path, database_url: str
) -> None:
    """As two runs and a backfill do: each plans, claims and sends all that it can."""
    after = send_at_once(tmp_path, database_url, leads=150, workers=3)
    assert after.duplicates == 0
    assert after.states == {"accepted": 150}
    assert len(after.arrived) == 150
