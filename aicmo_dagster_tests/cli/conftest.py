"""The command line in this process, with a home of its own."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aicmo_dagster.cli.main import invoke
from aicmo_dagster.defs.runs import open_instance
from aicmo_dagster.settings import load_settings
from aicmo_dagster.stages.workspace import open_workspace
from aicmo_dagster.store.audit import AuditEntry, list_changes
from aicmo_dagster_tests.cli.commands import at_home


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    output: str
    errors: str


def audited() -> list[AuditEntry]:
    """What the audit has, the latest first."""
    with open_workspace(load_settings()) as workspace, workspace.database.read() as connection:
        return list_changes(connection, 100)


Aicmo = Callable[..., Outcome]
Furnish = Callable[[str, Callable[[], object]], None]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """AICMO_HOME, with nothing in it; commands run in its parent folder."""
    monkeypatch.chdir(tmp_path)
    with at_home(tmp_path / "home"):
        yield tmp_path / "home"


@pytest.fixture
def aicmo(home: Path, capfd: pytest.CaptureFixture[str]) -> Aicmo:
    """Runs one `aicmo` command."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = invoke([str(argument) for argument in arguments])
        output, errors = capfd.readouterr()
        return Outcome(code, output, errors)

    return run


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of homes that were furnished once."""
    return tmp_path_factory.mktemp("furnished")


@pytest.fixture
def furnish(request: pytest.FixtureRequest, furnished: Path, home: Path) -> Furnish:
    """Does something to the empty home, the first time; after that, copies what came of it."""

    def fill(name: str, do: Callable[[], object]) -> None:
        kept = furnished / f"{request.module.__name__}.{name}"
        if kept.exists():
            shutil.copytree(kept, home, symlinks=True)
        else:
            do()
            shutil.copytree(home, kept, symlinks=True)

    return fill


def make_databases() -> None:
    """The home has AICMO's database and Dagster's, both empty."""
    settings = load_settings()
    with open_workspace(settings), open_instance(settings):
        pass
