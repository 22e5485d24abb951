"""Commands of `aicmo` in this process, where starting one takes seconds of imports."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from aicmo_dagster.cli.main import invoke
from aicmo_dagster.settings import Settings

VARIABLES = Settings(Path(), "", Path()).process_environment()
"""Every variable that a command may export."""


@contextmanager
def at_home(home: Path, **variables: str) -> Iterator[None]:
    """AICMO_HOME is `home`; of our other variables there are only these."""
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            # Set first, so that what a command exports is taken back as well.
            patch.setenv(name, "")
            patch.delenv(name)
        for name, value in {"AICMO_HOME": str(home), **variables}.items():
            patch.setenv(name, value)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def aicmo_at(home: Path, *arguments: object, **variables: str) -> str:
    """Runs a command, which must end well; gives what it printed."""
    with at_home(home, **variables), redirect_stdout(StringIO()) as printed:
        assert invoke([str(argument) for argument in arguments]) == 0
    return printed.getvalue()
