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

LEADS = 200
AICMO = [sys.executable, "-c", "from aicmo_dagster.cli.main import main; main()"]
RUN = [*AICMO, "run", "spring", "--as-of", "2026-03-04T12:00:00+00:00"]

Ready = Callable[[Path, str], bool]


def stage_begun(stage: str) -> Ready:
    return lambda _, told: f"spring: {stage}" in told


def messages(count: int) -> Ready:
    return lambda home, _: len(list((home / "outbox").glob("*.eml"))) >= count


def write_document(folder: Path) -> Path:
    """A campaign over a CSV, both in `folder`."""
    columns = {"email": "Email", "first_name": "First", "company": "Account"}
    sources = [{"type": "csv", "path": "leads.csv", "columns": columns}]
    (folder / "leads.csv").write_text(leads_csv(LEADS), encoding="utf-8")
    with (folder / "campaign.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(campaign_document(sources=sources), file)
    return folder / "campaign.yaml"


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


@pytest.fixture(scope="module")
def calm(
    tmp_path_factory: pytest.TempPathFactory, new_sqlite: Callable[[], str]
) -> tuple[Path, dict[str, pd.DataFrame]]:
    """The home and the rows of a run that nobody killed."""
    home, url = tmp_path_factory.mktemp("calm"), new_sqlite()
    apply(write_document(home), home, url)
    subprocess.run(RUN, env=environment(home, url), check=True, capture_output=True)
    return home, frames(url)


def test_a_run_killed_half_way_ends_with_the_same_rows(
    tmp_path: Path, database_url: str, calm: tuple[Path, dict[str, pd.DataFrame]]
) -> None:
    """Sending is killed far more often in `stages/test_killed`."""
    apply(write_document(tmp_path), tmp_path, database_url)
    # A run takes seconds to start, so that each engine is hit at one of the points.
    point = stage_begun("qualified_leads") if "sqlite" in database_url else messages(60)
    kill_when(point, tmp_path, database_url)
    subprocess.run(RUN, env=environment(tmp_path, database_url), check=True, capture_output=True)
    killed, (calm_home, unharmed) = frames(database_url), calm
    for stage in STAGES:
        pd.testing.assert_frame_equal(killed[stage], unharmed[stage])
    assert set(killed["nurture_sends"]["state"]) == {"accepted"}
    names = [sorted(p.name for p in (f / "outbox").glob("*.eml")) for f in (tmp_path, calm_home)]
    assert names[0] == names[1]
    assert len(names[0]) == LEADS
