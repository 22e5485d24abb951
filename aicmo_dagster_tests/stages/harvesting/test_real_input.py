"""Real leads through all five stages. Skipped where the data is not beside the project."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from aicmo_dagster.sources.campaign_files import read_campaign_file
from aicmo_dagster.stages.deciding.qualify import qualify_leads
from aicmo_dagster.stages.deciding.route import route_leads
from aicmo_dagster.stages.deciding.score import score_leads
from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.summary import dispositions
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import apply_campaign
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import open_test_workspace

DOCUMENT = Path(__file__).parents[3] / "shared" / "data" / "x_education" / "campaign.yaml"
KEY = "x-education"
ROWS = 6468

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="the real leads are not here")


@pytest.fixture
def workspace(tmp_path: Path, new_sqlite: Callable[[], str]) -> Iterator[Workspace]:
    opened = open_test_workspace(tmp_path, new_sqlite())
    file = read_campaign_file(DOCUMENT)
    with opened.database.write() as connection:
        apply_campaign(connection, file.campaign, file.templates, file.folder, NOON)
    yield opened
    opened.database.close()


def test_every_real_lead_ends_in_exactly_one_place(workspace: Workspace) -> None:
    stages = (harvest, score_leads, qualify_leads, route_leads)
    reports = [stage(workspace, KEY, NOON) for stage in stages]
    reports.append(nurture(workspace, KEY, lambda: NOON))
    assert reports[0].rows_in == ROWS
    for before, after in pairwise(reports):
        assert after.rows_in == before.rows_out
    for report in reports[:4]:
        assert report.rows_in == report.rows_out + sum(report.reasons.values())
    places = dispositions(workspace, KEY)
    assert sum(places.values()) == ROWS
    assert places["not qualified"] == 3762
    assert places["sent"] == len(list(workspace.settings.outbox.glob("*.eml"))) == 2706
