"""A run that is killed at any point and run again ends as if nothing had happened."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from aicmo_dagster.domain.schemas import STAGES
from aicmo_dagster.store.database import open_database
from aicmo_dagster.store.frames import read_frame
from aicmo_dagster_tests.samples import campaign_document, leads_csv

LEADS = 400
AICMO = [sys.executable, "-c", "from aicmo_dagster.cli.main import main; main()"]
RUN = [*AICMO, "run", "spring", "--as-of", "2026-03-04T12:00:00+00:00"]

Ready = Callable[[Path, str], bool]


def stage_begun(stage: str) -> Ready:
    return lambda _, told: f"spring: {stage}" in told


def messages(count: int) -> Ready:
    return lambda home, _: len(list((home / "outbox").glob("*.eml"))) >= count


@pytest.fixture
def document(tmp_path: Path) -> Path:
    columns = {"email": "Email", "first_name": "First", "company": "Account"}
    sources = [{"type": "csv", "path": "leads.csv", "columns": columns}]
    (tmp_path / "leads.csv").write_text(leads_csv(LEADS), encoding="utf-8")
    with (tmp_path / "campaign.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(campaign_document(sources=sources), file)
    return tmp_path / "campaign.yaml"


def environment(home: Path, database_url: str) -> dict[str, str]:
    ours = {"AICMO_HOME": str(home), "AICMO_DATABASE_URL": database_url, "AICMO_SECRET_KEY": "key"}
    return {k: v for k, v in os.environ.items() if not k.startswith(("AICMO", "DAGSTER"))} | ours


def kill_when(ready: Ready, home: Path, database_url: str) -> None:
    """Starts a run and kills it as soon as `ready` says so; the run must not have ended by then."""
    told = home / "told"
    with told.open("wb") as output:
        process = subprocess.Popen(RUN, env=environment(home, database_url), stderr=output)
        while process.poll() is None and not ready(home, told.read_text(encoding="utf-8")):
            time.sleep(0.002)
        process.kill()
        assert process.wait() < 0, told.read_text(encoding="utf-8")


def frames(database_url: str) -> dict[str, pd.DataFrame]:
    database = open_database(database_url)
    with database.read() as connection:
        read = {stage: read_frame(connection, stage, "spring") for stage in STAGES}
    database.close()
    return read


def apply(document: Path, home: Path, database_url: str) -> None:
    command = [*AICMO, "campaign", "apply", str(document)]
    subprocess.run(command, env=environment(home, database_url), check=True, capture_output=True)


def test_a_run_killed_at_many_points_ends_with_the_same_rows(
    tmp_path: Path, document: Path, database_url: str, new_sqlite: Callable[[], str]
) -> None:
    home, calm, calm_url = tmp_path / "killed", tmp_path / "calm", new_sqlite()
    for folder, url in ((home, database_url), (calm, calm_url)):
        apply(document, folder, url)
    points = [stage_begun("raw_leads"), stage_begun("qualified_leads"), messages(3), messages(60)]
    for point in points:
        kill_when(point, home, database_url)
    for folder, url in ((home, database_url), (calm, calm_url)):
        subprocess.run(RUN, env=environment(folder, url), check=True, capture_output=True)
    killed, unharmed = frames(database_url), frames(calm_url)
    for stage in STAGES:
        pd.testing.assert_frame_equal(killed[stage], unharmed[stage])
    assert set(killed["nurture_sends"]["state"]) == {"accepted"}
    names = [sorted(path.name for path in (f / "outbox").glob("*.eml")) for f in (home, calm)]
    assert names[0] == names[1]
    assert len(names[0]) == LEADS
