"""Both providers as a stand-in, a workspace that uses them, and harvests under its clock."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from aicmo_dagster.stages.harvesting.harvest import harvest
from aicmo_dagster.stages.harvesting.providers import Time
from aicmo_dagster.stages.report import Report
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster_tests.conftest import NewDatabase
from aicmo_dagster_tests.handoff.receiver import Receiver, receiving
from aicmo_dagster_tests.providers.apollo import ApolloModes
from aicmo_dagster_tests.providers.clock import VirtualClock, on_clock
from aicmo_dagster_tests.providers.server import StandIn
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.stages.harvesting.harvests import Harvest, open_harvest_workspace
from aicmo_dagster_tests.workspaces import open_test_workspace


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    """An empty workspace."""
    opened = open_test_workspace(tmp_path, database_url)
    yield opened
    opened.database.close()


@pytest.fixture
def embedded(tmp_path: Path, new_sqlite: NewDatabase) -> Iterator[Workspace]:
    """A workspace on SQLite alone, for what does not depend on the engine."""
    opened = open_test_workspace(tmp_path, new_sqlite())
    yield opened
    opened.database.close()


@pytest.fixture(scope="session")
def one_receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def receiver(one_receiver: Receiver) -> Receiver:
    """A receiver of handoffs, at the same address for all tests, which has got nothing yet."""
    one_receiver.answers.clear()
    one_receiver.got.clear()
    return one_receiver


@dataclass(frozen=True)
class Prepared:
    """A workspace to copy: where its home lies for every test, what is in it, its database."""

    home: Path
    contents: Path
    database_url: str


@pytest.fixture(scope="session")
def prepared() -> dict[str, Prepared]:
    """By module and engine."""
    return {}


@pytest.fixture(params=["sqlite", "postgresql"])
def prepared_workspace(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    prepared: dict[str, Prepared],
) -> Iterator[Workspace]:
    """What `prepare` of the module makes of a workspace: made once on each engine, then copied.

    It has the settings that the module names in `SETTINGS`, if any.
    """
    settings = getattr(request.module, "SETTINGS", {})
    new: NewDatabase = request.getfixturevalue(f"new_{request.param}")
    name = f"{request.module.__name__}-{request.param}"
    if name not in prepared:
        folder = tmp_path_factory.mktemp("prepared")
        made = Prepared(folder / "home", folder / "contents", new())
        made.home.mkdir()
        workspace = open_test_workspace(made.home, made.database_url, **settings)
        request.module.prepare(workspace, request)
        workspace.database.close()
        made.home.rename(made.contents)
        prepared[name] = made
    like = prepared[name]
    shutil.copytree(like.contents, like.home)
    opened = open_test_workspace(like.home, new(like.database_url), **settings)
    yield opened
    opened.database.close()
    shutil.rmtree(like.home)


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
