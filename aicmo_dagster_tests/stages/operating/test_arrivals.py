"""Files that are new and answers that are due start one harvest each."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec

from aicmo_dagster.stages.operating import by_hand
from aicmo_dagster.stages.operating.arrivals import look_for_arrivals, watch_files
from aicmo_dagster.stages.operating.clock import AT_ONCE, PATIENCE, look
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.campaigns import load_campaign
from aicmo_dagster.store.provider_calls import begin_call, finish_call
from aicmo_dagster.store.source_marks import put_mark, watched_files
from aicmo_dagster.store.ticks import finish_turn
from aicmo_dagster_tests.samples import NOON
from aicmo_dagster_tests.workspaces import apply

MINUTE = timedelta(minutes=1)
SOURCES = [{"type": "csv", "path": "leads-*.csv", "columns": {"email": "Email"}}]


def looked(workspace: Workspace, at: datetime, busy: str = "") -> list[tuple[str, str]]:
    requests = look_for_arrivals(workspace, set(busy.split()), at)
    return [(request.job, *request.campaigns) for request in requests]


def written(path: Path, text: str, at: datetime) -> None:
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at.timestamp(), at.timestamp()))


def applied(workspace: Workspace, **schedule: object) -> Path:
    """A campaign over `leads-*.csv`, one file there; gives the folder."""
    folder = apply(workspace, "spring", None, sources=SOURCES, schedule=schedule).parent
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


def test_what_arrives_waits_for_a_harvest_that_was_asked_for(workspace: Workspace) -> None:
    folder = applied(workspace, harvest="1 12 * * *")
    written(folder / "leads-2.csv", "Email\nc@d.example\n", NOON + MINUTE)
    (request,) = look(workspace, {}, {}, NOON + 2 * MINUTE).requests

    assert looked(workspace, NOON + 3 * MINUTE) == []
    with workspace.database.write() as connection:
        finish_turn(connection, request.run_key, "spring", NOON + 4 * MINUTE)
    assert looked(workspace, NOON + 4 * MINUTE) == [("new_files", "spring")]


def test_a_file_that_is_dated_in_the_future_does_not_wait_for_it(workspace: Workspace) -> None:
    folder = applied(workspace)
    written(folder / "leads-2.csv", "Email\nc@d.example\n", NOON + 600 * MINUTE)
    written(folder / "leads-3.csv", "Email\ne@f.example\n", NOON + MINUTE)

    assert looked(workspace, NOON + MINUTE) == [], "one of them may not be whole"
    assert looked(workspace, NOON + 3 * MINUTE) == [("new_files", "spring")]


def test_a_file_that_comes_between_an_apply_and_the_next_look_is_new(workspace: Workspace) -> None:
    folder = applied(workspace)
    written(folder / "leads-2.csv", "Email\nc@d.example\n", NOON)
    apply(workspace, "spring", None, sources=SOURCES, schedule={"harvest": "0 9 * * *"})
    assert looked(workspace, NOON + MINUTE) == [], "the new version is not known yet"
    assert looked(workspace, NOON + 2 * MINUTE) == [("new_files", "spring")]

    leads = apply(workspace, "summer", 1)
    with workspace.database.write() as connection:
        stored = load_campaign(connection, "summer")
        by_hand.apply(
            connection, stored.campaign, stored.templates, leads.parent, who="cli:ida", now=NOON
        )
    written(leads, "Email\nx@y.example\n", NOON)
    assert looked(workspace, NOON + 3 * MINUTE) == [("new_files", "summer")]


def test_a_file_that_was_changed_or_removed_is_new_too(workspace: Workspace) -> None:
    folder = applied(workspace)
    written(folder / "leads-1.csv", "Email\nx@b.example\n", NOON + MINUTE)
    assert looked(workspace, NOON + 3 * MINUTE) == [("new_files", "spring")]
    (folder / "leads-1.csv").unlink()
    assert looked(workspace, NOON + 4 * MINUTE) == [("new_files", "spring")]


def test_what_arrives_for_many_campaigns_at_once_is_spread_over_several_looks(
    workspace: Workspace,
) -> None:
    paths = [apply(workspace, f"c{number:02}", None) for number in range(AT_ONCE + 1)]
    assert looked(workspace, NOON) == []
    for path in paths:
        written(path, "Email\n", NOON)

    first, second = (looked(workspace, NOON + number * MINUTE) for number in (1, 2))

    assert len(first) == AT_ONCE
    assert second == [("new_files", f"c{AT_ONCE:02}")]
    assert looked(workspace, NOON + 3 * MINUTE) == []


def test_a_harvest_whose_taker_died_is_asked_for_again_by_the_clock(workspace: Workspace) -> None:
    folder = applied(workspace)
    written(folder / "leads-2.csv", "Email\n", NOON + MINUTE)
    (taken,) = look_for_arrivals(workspace, set(), NOON + 3 * MINUTE)

    later = look(workspace, {}, {}, NOON + 4 * MINUTE + PATIENCE)

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


def test_a_look_that_knows_an_older_version_leaves_the_files_of_the_new_one(
    workspace: Workspace,
) -> None:
    applied(workspace)
    apply(workspace, "spring", None, sources=SOURCES, schedule={"harvest": "0 9 * * *"})
    with workspace.database.write() as connection:
        watch_files(connection, load_campaign(connection, "spring"), NOON)
        before = watched_files(connection)
        put_mark(connection, "spring", 1, ["/elsewhere.csv"], "old", NOON + MINUTE)
        assert watched_files(connection) == before


def test_files_at_a_url_are_watched_and_a_store_that_is_down_is_not_an_empty_one(
    workspace: Workspace,
) -> None:
    store = fsspec.filesystem("memory")
    sources = [{"type": "csv", "path": "memory://watched/*.csv", "columns": {"email": "Email"}}]
    apply(workspace, "spring", None, sources=sources)
    now = datetime.now(UTC)  # a store says itself when it was written to
    try:
        store.pipe("/watched/a.csv", b"Email\n")
        assert looked(workspace, now + MINUTE) == [], "it was there before"
        store.mv("/watched", "/unreachable", recursive=True)
        assert looked(workspace, now + MINUTE) == []
        store.mv("/unreachable", "/watched", recursive=True)
        assert looked(workspace, now + MINUTE) == [("new_files", "spring")]
        store.pipe("/watched/b.csv", b"Email\n")
        assert looked(workspace, now) == [], "it may not be whole"
        assert looked(workspace, now + 2 * MINUTE) == [("new_files", "spring")]
        assert looked(workspace, now + 3 * MINUTE) == []
    finally:
        store.rm("/watched", recursive=True)
