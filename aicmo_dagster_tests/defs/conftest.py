"""What the assets, jobs and sensors under test run with. Not here: databases (`../conftest`)."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.workspaces import open_test_workspace


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    opened = open_test_workspace(tmp_path, database_url)
    yield opened
    opened.database.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
