import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aicmo_dagster.errors import AicmoError
from aicmo_dagster.mail.outbox import BATCH, Outbox
from aicmo_dagster.mail.parcels import Parcel
from aicmo_dagster_tests.mail.books import Notebook

ID = "<0123456789abcdef@acme.example>"


def deliver(
    outbox: Outbox, message_id: str = ID, content: bytes = b"Subject: x\r\n\r\nHi\r\n"
) -> str:
    book = Notebook()
    outbox.deliver([Parcel("ida@acme.example", "jo@lead.example", message_id, content)], book)
    ((_, delivery),) = book.outcomes
    return delivery.state


def test_a_message_becomes_one_file_of_its_own(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "home" / "outbox")

    assert deliver(outbox) == "accepted"
    (path,) = (tmp_path / "home" / "outbox").iterdir()
    assert path.suffix == ".eml"
    assert path.read_bytes() == b"Subject: x\r\n\r\nHi\r\n"


def test_the_same_message_id_leaves_the_first_file_and_is_accepted(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)

    assert deliver(outbox, content=b"first") == "accepted"
    assert deliver(Outbox(tmp_path), content=b"second") == "accepted"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


def test_other_message_ids_make_other_files(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for name in ("<a@x>", "<A@x>", "<../../a@x>", f"<{'a' * 300}@x>"):
        deliver(outbox, name)

    assert len(list(tmp_path.glob("*.eml"))) == 4


def test_where_no_more_can_be_had_those_before_are_on_disk_and_on_record(tmp_path: Path) -> None:
    book = Notebook()

    def parcels() -> Iterator[Parcel]:
        for n in range(BATCH + 1):
            yield Parcel("ida@acme.example", "jo@lead.example", f"<{n}@x>", b"Subject: x\r\n")
        raise AicmoError("no more can be claimed")

    with pytest.raises(AicmoError, match="no more can be claimed"):
        Outbox(tmp_path).deliver(parcels(), book)
    assert list(book.states().values()) == ["accepted"] * (BATCH + 1)


def test_it_knows_what_it_holds(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    deliver(outbox)

    assert outbox.was_delivered(ID)
    assert not outbox.was_delivered("<other@acme.example>")


def test_many_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    contents = [bytes([65 + n]) * 100_000 for n in range(8)]
    threads = [
        threading.Thread(target=deliver, args=(Outbox(tmp_path), ID, content))
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (path,) = tmp_path.iterdir()
    assert path.read_bytes() in contents


def test_a_file_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power failure leaves either nothing under the name or the whole message."""
    seen: list[str] = []
    sync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append("sync"), sync(fd))[1])
    monkeypatch.setattr(os, "link", lambda a, b: (seen.append("link"), link(a, b))[1])

    deliver(Outbox(tmp_path))

    assert seen == ["sync", "link", "sync"]


def test_a_failed_write_leaves_no_file_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AicmoError, match="No space left on device"):
        deliver(outbox)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")

    with pytest.raises(AicmoError, match=r"outbox .*taken.* cannot be written .*AICMO_HOME"):
        Outbox(tmp_path / "taken" / "outbox")


def test_drafts_of_processes_that_ended_are_removed_and_young_ones_stay(tmp_path: Path) -> None:
    old, young = tmp_path / ".draft-old", tmp_path / ".draft-young"
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    Outbox(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_a_draft_that_gets_its_name_meanwhile_is_no_fault_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".draft-gone").symlink_to(tmp_path / "named by now")
    assert Outbox(tmp_path).was_delivered("<a@acme.example>") is False
