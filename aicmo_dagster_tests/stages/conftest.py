"""Both providers as a stand-in, a workspace that uses them, and harvests under its clock."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from aicmo_dagster.stages.harvest import harvest
from aicmo_dagster.stages.providers import Time
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.providers.apollo import ApolloModes
from aicmo_dagster_tests.providers.clock import VirtualClock, on_clock
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.harvesting import Harvest, open_harvest_workspace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return VirtualClock()


@pytest.fixture
def time(clock: VirtualClock) -> Time:
    return on_clock(clock)


@pytest.fixture
def providers(request: pytest.FixtureRequest, clock: VirtualClock) -> Iterator[StandIn]:
    """Both providers; a test may ask for `people`, and for Apollo's `limits` by window."""
    wanted = getattr(request, "param", {})
    modes = ApolloModes(limits=wanted.get("limits"))
    with StandIn(wanted.get("people", 60), clock=clock, apollo=modes).running() as stand_in:
        yield stand_in


@pytest.fixture
def harvest_workspace(tmp_path: Path, database_url: str, providers: StandIn) -> Iterator[Workspace]:
    opened = open_harvest_workspace(tmp_path, database_url, providers.url)
    yield opened
    opened.database.close()


@pytest.fixture
def run(harvest_workspace: Workspace, time: Time) -> Harvest:
    """Harvests a campaign under the stand-in's clock."""

    def harvest_campaign(key: str = "spring", at: datetime = NOON) -> Report:
        return harvest(harvest_workspace, key, at, time)

    return harvest_campaign
