"""Notes of which paid calls have left: what they release after a kill, and what they must not."""

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from aicmo_dagster.errors import Transient
from aicmo_dagster.store.database import Database
from aicmo_dagster.store.departures import Departures, release_kept_back
from aicmo_dagster.store.provider_calls import begin_call, finish_call
from aicmo_dagster.store.tables import provider_calls
from aicmo_dagster.store.workers import this_boot
from aicmo_dagster_tests.samples import NOON

WORKER = "here:7:1.00"


def begin(database: Database, count: int, worker: str = WORKER) -> list[int]:
    with database.write(durable=True) as connection:
        begun = [
            begin_call(
                connection,
                campaign="spring",
                provider="apollo",
                operation="match",
                key=f"{worker}/{number}",
                people=[f"person {number}"],
                worker=worker,
                credits_at_most=1,
                max_credits=100,
                now=NOON,
            )
            for number in range(count)
        ]
    return [call for call in begun if isinstance(call, int)]


def killed(folder: Path, calls: list[int], left: list[int], worker: str = WORKER) -> None:
    """What is on disk once a worker has been killed."""
    departures = Departures(folder, worker)
    with suppress(KeyboardInterrupt), departures.kept():
        departures.begin(calls)
        for call in left:
            departures.leave(call)
        raise KeyboardInterrupt


def release(database: Database, folder: Path, ended: bool = True) -> int:
    with database.write() as connection:
        released, told = release_kept_back(connection, folder, lambda worker: ended)
    for path in told:
        path.unlink()
    return released


def states(database: Database) -> dict[int, str]:
    with database.read() as connection:
        rows = connection.execute(provider_calls.select()).all()
    return {row.id: row.state for row in rows}


def test_calls_that_a_killed_worker_kept_back_may_be_made_again_and_the_others_not(
    database: Database, tmp_path: Path
) -> None:
    first, second, third = begin(database, 3)
    killed(tmp_path, [first, second, third], left=[second])
    assert release(database, tmp_path) == 2
    assert states(database) == {first: "refused", second: "begun", third: "refused"}
    assert not list(tmp_path.iterdir())


def test_nothing_is_released_of_a_worker_that_runs(database: Database, tmp_path: Path) -> None:
    calls = begin(database, 2)
    killed(tmp_path, calls, left=[])
    assert release(database, tmp_path, ended=False) == 0
    assert len(list(tmp_path.iterdir())) == 1


def test_a_call_whose_outcome_is_known_keeps_it(database: Database, tmp_path: Path) -> None:
    first, second = begin(database, 2)
    with database.write() as connection:
        paid = {"credits": 1.0, "request_id": None}
        finish_call(connection, first, state="done", detail="", now=NOON, **paid)
    killed(tmp_path, [first, second], left=[])
    assert release(database, tmp_path) == 1
    assert states(database) == {first: "done", second: "refused"}


def test_nothing_is_released_while_the_writer_runs_whatever_its_name_seems_to_say(
    database: Database, tmp_path: Path
) -> None:
    """The clock may have been set anew, or its number be that of a process in another container."""
    first, second = begin(database, 2)
    departures = Departures(tmp_path, WORKER)
    with suppress(KeyboardInterrupt), departures.kept():
        departures.begin([first, second])
        assert release(database, tmp_path, ended=True) == 0
        departures.leave(first)
        raise KeyboardInterrupt
    assert release(database, tmp_path) == 1
    assert states(database) == {first: "begun", second: "refused"}


def test_a_note_that_has_just_been_made_is_left_alone(database: Database, tmp_path: Path) -> None:
    (tmp_path / "new.calls").touch()
    assert release(database, tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_is_forgotten_of_another_machine(database: Database, tmp_path: Path) -> None:
    begin(database, 1)
    content = json.dumps({"boot": "another machine's", "worker": WORKER}) + "\nbegun 1\n"
    (tmp_path / "theirs.calls").write_text(content, encoding="utf-8")
    assert release(database, tmp_path, ended=False) == 0
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_is_released_that_is_not_noted_or_another_workers(
    database: Database, tmp_path: Path
) -> None:
    """A call without a note was begun where notes are not seen, or is of another database."""
    first, second = begin(database, 2)
    (theirs,) = begin(database, 1, worker="there:7:1.00")
    killed(tmp_path, [first, theirs], left=[])
    assert release(database, tmp_path) == 1
    assert states(database) == {first: "refused", second: "begun", theirs: "begun"}


def test_a_departure_counts_whichever_note_of_the_worker_it_stands_in(
    database: Database, tmp_path: Path
) -> None:
    (call,) = begin(database, 1)
    killed(tmp_path, [call], left=[])
    killed(tmp_path, [call], left=[call])
    assert release(database, tmp_path) == 0


@pytest.mark.parametrize(
    "content",
    [
        '{"boot": "',
        json.dumps({"boot": "an earlier one", "worker": WORKER}) + "\nbegun 1\n",
        json.dumps({"boot": this_boot(), "worker": WORKER}) + "\nbegun 1begun 2\n",
        json.dumps({"boot": this_boot(), "worker": WORKER}) + "\nbegun 1\n\0\0\0\0",
    ],
)
def test_a_note_that_may_have_lost_something_releases_nothing(
    database: Database, tmp_path: Path, content: str
) -> None:
    """After a loss of power, or on a disk that was full."""
    begin(database, 2)
    (tmp_path / "lost.calls").write_text(content, encoding="utf-8")
    assert release(database, tmp_path) == 0
    assert not list(tmp_path.iterdir())


def test_notes_are_forgotten_once_all_has_ended_well(tmp_path: Path) -> None:
    departures = Departures(tmp_path / "notes", WORKER)
    with departures.kept():
        departures.begin([1])
    assert not list((tmp_path / "notes").iterdir())
    departures.begin([1])
    with pytest.raises(ZeroDivisionError), departures.kept():
        departures.begin([1 // 0])
    assert len(list((tmp_path / "notes").iterdir())) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_a_call_does_not_leave_when_that_cannot_be_noted(tmp_path: Path) -> None:
    departures = Departures(tmp_path, WORKER)
    departures.begin([1])
    (note,) = tmp_path.iterdir()
    departures = Departures(tmp_path, WORKER)
    full = os.open("/dev/full", os.O_WRONLY)
    departures._file = full
    with pytest.raises(Transient, match="No space left"), departures.kept():
        departures.leave(1)
    assert note.exists()
