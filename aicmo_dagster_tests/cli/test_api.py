"""What `aicmo api` does before it serves."""

import subprocess
import sys

import pytest

from aicmo_dagster.cli.serving import make_database
from aicmo_dagster.errors import AicmoError
from aicmo_dagster.settings import load_settings
from aicmo_dagster_tests.cli.conftest import Aicmo


def test_it_starts_without_its_database_and_says_what_is_wrong(
    aicmo: Aicmo, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Containers start in any order, and links in mail that was sent lead here."""
    monkeypatch.setenv("AICMO_DATABASE_URL", "postgresql://user:secret@127.0.0.1:9/x")
    make_database(load_settings())
    told = capfd.readouterr().err
    assert "127.0.0.1, database x, cannot be used (nothing listens there)" in told
    assert "everything once it can be used" in told
    assert "secret" not in told


def test_a_url_that_names_no_database_ends_it(
    aicmo: Aicmo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AICMO_DATABASE_URL", "mysql://127.0.0.1/x")
    with pytest.raises(AicmoError, match="mysql is not known here"):
        make_database(load_settings())


def test_arrow_is_not_imported_before_it_is_told_to_hold_on_to_nothing() -> None:
    program = "import sys, aicmo_dagster.cli.api; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
