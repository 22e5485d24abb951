"""A run that is killed at any point and run again ends as if nothing had happened."""

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
from aicmo_dagster_tests.cli.commands import aicmo_at, at_home
from aicmo_dagster_tests.samples import campaign_document, leads_csv

pytestmark = pytest.mark.long

LEADS = 120
AICMO = [sys.executable, "-c", "from aicmo_dagster.cli.main import main; main()"]
RUN = ["run", "spring", "--as-of", "2026-03-04T12:00:00+00:00"]

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


def variables(database_url: str) -> dict[str, str]:
    return {"AICMO_DATABASE_URL": database_url, "AICMO_SECRET_KEY": "key"}


def kill_when(ready: Ready, home: Path, database_url: str) -> None:
    """Starts a run and kills it as soon as `ready` says so; the run must not have ended by then."""
    told = home / "told"
    with told.open("wb") as output:
        with at_home(home, **variables(database_url)):
            process = subprocess.Popen([*AICMO, *RUN], stderr=output)
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


@pytest.fixture(scope="module")
def calm(
    tmp_path_factory: pytest.TempPathFactory, new_sqlite: Callable[[], str]
) -> tuple[Path, dict[str, pd.DataFrame]]:
    """The home and the rows of a run that nobody killed."""
    home, url = tmp_path_factory.mktemp("calm"), new_sqlite()
    for command in (["campaign", "apply", write_document(home)], RUN):
        aicmo_at(home, *command, **variables(url))
    return home, frames(url)


def test_a_run_killed_half_way_ends_with_the_same_rows(
    tmp_path: Path, database_url: str, calm: tuple[Path, dict[str, pd.DataFrame]]
) -> None:
    """Sending is killed far more often in `stages/nurturing/test_killed`."""
    apply = ["campaign", "apply", write_document(tmp_path)]
    aicmo_at(tmp_path, *apply, **variables(database_url))
    # A run takes seconds to start, so that each engine is hit at one of the points.
    point = stage_begun("qualified_leads") if "sqlite" in database_url else messages(60)
    kill_when(point, tmp_path, database_url)
    aicmo_at(tmp_path, *RUN, **variables(database_url))
    killed, (calm_home, unharmed) = frames(database_url), calm
    for stage in STAGES:
        pd.testing.assert_frame_equal(killed[stage], unharmed[stage])
    assert set(killed["nurture_sends"]["state"]) == {"accepted"}
    names = [sorted(p.name for p in (f / "outbox").glob("*.eml")) for f in (tmp_path, calm_home)]
    assert names[0] == names[1]
    assert len(names[0]) == LEADS
