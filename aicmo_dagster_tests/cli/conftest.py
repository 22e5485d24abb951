"""The command line in this process, with a home of its own."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aicmo_dagster.cli.main import invoke
from aicmo_dagster.settings import Settings

VARIABLES = Settings(Path(), "", Path()).process_environment()
"""Every variable that a command may export."""


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    output: str
    errors: str


Aicmo = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """AICMO_HOME, with nothing in it; commands run in its parent folder."""
    for name in VARIABLES:
        # Set first, so that what a command exports is taken back as well.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("AICMO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "home"
    logging.disable(logging.NOTSET)


@pytest.fixture
def aicmo(home: Path, capfd: pytest.CaptureFixture[str]) -> Aicmo:
    """Runs one `aicmo` command."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = invoke([str(argument) for argument in arguments])
        output, errors = capfd.readouterr()
        return Outcome(code, output, errors)

    return run
