"""A restored backup or a copy of the database must not send what was sent since."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from aicmo_dagster.errors import AicmoError, Transient
from aicmo_dagster.stages.nurturing.fence import NAME, Fence
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.environments import read_stamp
from aicmo_dagster_tests.bench.mailing import KEY, enrol_in
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import open_test_workspace


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    opened = open_test_workspace(tmp_path / "home", database_url)
    yield opened
    opened.database.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def send(workspace: Workspace) -> int:
    """How many messages one run sends."""
    report = nurture(workspace, KEY, lambda: NOON)
    return int(report.figures.get("now_accepted", 0))


def test_every_claim_is_counted_in_the_database_and_outside_of_it(workspace: Workspace) -> None:
    enrol_in(workspace.database, workspace.settings.home, 3)
    assert send(workspace) == 3
    with workspace.database.read() as connection:
        stamp = read_stamp(connection)
    assert stamp is not None
    assert stamp.claims >= 1
    kept = (workspace.settings.home / NAME).read_text(encoding="utf-8")
    assert kept == f'{{"{stamp.id}": {stamp.claims}}}'


def test_a_restored_backup_sends_nothing_until_somebody_says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    url = f"sqlite:///{home / 'aicmo.db'}"
    opened = open_test_workspace(home, url)
    enrol_in(opened.database, home, 3)
    Fence(opened).check(NOON)
    opened.database.close()
    shutil.copyfile(home / "aicmo.db", tmp_path / "backup.db")
    opened = open_test_workspace(home, url)
    assert send(opened) == 3
    opened.database.close()
    for name in ("aicmo.db", "aicmo.db-wal", "aicmo.db-shm"):
        (home / name).unlink(missing_ok=True)
    shutil.copyfile(tmp_path / "backup.db", home / "aicmo.db")
    shutil.rmtree(home / "outbox")
    restored = open_test_workspace(home, url)
    with pytest.raises(AicmoError, match=r"older than what was sent .* remove .*sending.json"):
        send(restored)
    assert not (home / "outbox").exists()
    (home / NAME).unlink()
    assert send(restored) == 3
    restored.database.close()


def test_a_copy_in_another_environment_sends_nothing_until_somebody_says_so(
    workspace: Workspace, tmp_path: Path, database_url: str
) -> None:
    enrol_in(workspace.database, workspace.settings.home, 3)
    Fence(workspace).check(NOON)
    elsewhere = tmp_path / "staging"
    elsewhere.mkdir()
    staging = open_test_workspace(elsewhere, database_url, public_url="https://staging.example")
    with pytest.raises(AicmoError, match="another environment") as refusal:
        send(staging)
    told = str(refusal.value)
    start = told.index("{")
    (elsewhere / NAME).write_text(told[start : told.index("}") + 1], encoding="utf-8")
    assert send(staging) == 3
    staging.database.close()


def test_another_machine_of_the_same_installation_may_send(
    workspace: Workspace, tmp_path: Path, database_url: str
) -> None:
    enrol_in(workspace.database, workspace.settings.home, 3)
    Fence(workspace).check(NOON)
    second = tmp_path / "second"
    second.mkdir()
    other = open_test_workspace(second, database_url)
    assert send(other) == 3
    other.database.close()


def test_a_new_public_url_of_the_same_home_is_no_other_environment(
    workspace: Workspace, database_url: str
) -> None:
    enrol_in(workspace.database, workspace.settings.home, 3)
    Fence(workspace).check(NOON)
    home = workspace.settings.home
    moved = open_test_workspace(home, database_url, public_url="https://t.acme.example")
    assert send(moved) == 3
    moved.database.close()


def test_a_file_that_cannot_be_read_is_no_permission(workspace: Workspace) -> None:
    (workspace.settings.home / NAME).write_text("[]", encoding="utf-8")
    with pytest.raises(AicmoError, match="cannot be read"):
        Fence(workspace).check(NOON)


def test_where_claims_cannot_be_noted_nothing_is_sent(workspace: Workspace) -> None:
    enrol_in(workspace.database, workspace.settings.home, 3)
    fence = Fence(workspace)
    shutil.rmtree(workspace.settings.home)
    with pytest.raises(Transient, match=r"sending.json cannot be written \(No such file"):
        fence.check(NOON)
