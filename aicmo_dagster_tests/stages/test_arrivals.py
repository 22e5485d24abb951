"""Files that are new and answers that are due start one harvest each."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from aicmo_dagster.stages.arrivals import look_for_arrivals
from aicmo_dagster.stages.clock import PATIENCE, look
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.provider_calls import begin_call, finish_call
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply, open_test_workspace

MINUTE = timedelta(minutes=1)


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    opened = open_test_workspace(tmp_path, database_url)
    yield opened
    opened.database.close()


def looked(workspace: Workspace, at: datetime, busy: str = "") -> list[tuple[str, str]]:
    requests = look_for_arrivals(workspace, set(busy.split()), at)
    return [(request.job, *request.campaigns) for request in requests]


def written(path: Path, text: str, at: datetime) -> None:
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at.timestamp(), at.timestamp()))


def applied(workspace: Workspace, **schedule: object) -> Path:
    """A campaign over `leads-*.csv`, one file there; gives the folder."""
    columns = {"email": "Email"}
    sources = [{"type": "csv", "path": "leads-*.csv", "columns": columns}]
    folder = apply(workspace, "spring", None, sources=sources, schedule=schedule).parent
    written(folder / "leads-1.csv", "Email\na@b.example\n", NOON)
    assert looked(workspace, NOON) == [], "it was there before"
    return folder


def test_a_new_file_starts_one_harvest_once_it_is_written(workspace: Workspace) -> None:
    folder = applied(workspace)
    written(folder / "leads-2.csv", "Email\nc@d.example\n", NOON + MINUTE)

    assert looked(workspace, NOON + MINUTE) == [], "it may not be whole"
    assert looked(workspace, NOON + 2 * MINUTE, busy="spring") == []
    assert looked(workspace, NOON + 3 * MINUTE) == [("new_files", "spring")]
    assert looked(workspace, NOON + 4 * MINUTE) == []
    written(folder / "other.csv", "Email\n", NOON)
    assert looked(workspace, NOON + 5 * MINUTE) == []


def test_a_file_that_was_changed_or_removed_is_new_too(workspace: Workspace) -> None:
    folder = applied(workspace)
    written(folder / "leads-1.csv", "Email\nx@b.example\n", NOON + MINUTE)
    assert looked(workspace, NOON + 3 * MINUTE) == [("new_files", "spring")]
    (folder / "leads-1.csv").unlink()
    assert looked(workspace, NOON + 4 * MINUTE) == [("new_files", "spring")]


def test_a_harvest_whose_taker_died_is_asked_for_again_by_the_clock(workspace: Workspace) -> None:
    folder = applied(workspace)
    written(folder / "leads-2.csv", "Email\n", NOON + MINUTE)
    (taken,) = look_for_arrivals(workspace, set(), NOON + 3 * MINUTE)

    later = look(workspace, {}, set(), NOON + 4 * MINUTE + PATIENCE)

    assert [(request.job, request.run_key) for request in later.requests] == [
        ("new_files", taken.run_key)
    ]


def test_a_new_version_of_the_document_is_looked_at_anew(workspace: Workspace) -> None:
    applied(workspace)
    folder = apply(workspace, "spring", 1)
    assert looked(workspace, NOON + MINUTE) == []
    written(folder, "Email\n", NOON + MINUTE)
    assert looked(workspace, NOON + 3 * MINUTE) == [("new_files", "spring")]


def test_nothing_starts_in_a_campaign_that_rests(workspace: Workspace) -> None:
    folder = applied(workspace, enabled=False)
    written(folder / "leads-2.csv", "Email\n", NOON + MINUTE)

    assert looked(workspace, NOON + 3 * MINUTE) == []


def test_answers_that_are_pending_are_asked_for_after_ever_longer_waits(
    workspace: Workspace,
) -> None:
    apply(workspace, "spring", 1)
    with workspace.database.write() as connection:
        call = begin_call(
            connection,
            campaign="spring",
            provider="dropcontact",
            operation="submit",
            key="k",
            people=["p"],
            worker="w",
            credits_at_most=1,
            max_credits=9,
            now=NOON,
        )
        assert isinstance(call, int)
        finish_call(
            connection, call, state="pending", credits=None, request_id="r", detail="{}", now=NOON
        )

    minutes = [number for number in range(90) if looked(workspace, NOON + number * MINUTE) != []]

    assert minutes == [10, 20, 40, 80]
