import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aicmo_dagster.store.spool import Record, Writer, drain, rewrite

REFUSALS = (ValueError,)


def taken(folder: Path) -> list[Record]:
    found: list[Record] = []
    drain(folder, found.extend, REFUSALS)
    return found


def numbered(*numbers: int) -> list[Record]:
    return [{"n": number} for number in numbers]


def test_what_was_appended_is_drained_once_and_in_order(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(numbered(1, 2))
    writer.append(numbered(3))
    writer.close()

    assert taken(tmp_path) == numbered(1, 2, 3)
    assert taken(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["drain.lock"]


def test_a_segment_that_is_written_to_is_left_alone(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(numbered(1))

    assert taken(tmp_path) == []
    writer.close()
    assert taken(tmp_path) == numbered(1)


def test_what_is_not_taken_stays(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(numbered(1))
    writer.close()

    def refuse(_: list[Record]) -> None:
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - any
        drain(tmp_path, refuse, REFUSALS)
    assert taken(tmp_path) == numbered(1)


def test_what_will_never_be_taken_is_put_aside_and_holds_up_nothing(tmp_path: Path) -> None:
    for number in (1, 2):
        writer = Writer(tmp_path)
        writer.append(numbered(number))
        writer.close()
    kept: list[Record] = []

    def take(records: list[Record]) -> None:
        if records == numbered(1):
            raise ValueError
        kept.extend(records)

    assert drain(tmp_path, take, REFUSALS) == 1
    assert kept == numbered(2)
    assert len(list(tmp_path.glob("*.refused"))) == 1


def test_a_line_cut_by_a_crash_costs_no_other(tmp_path: Path) -> None:
    whole = b"\n".join(json.dumps(each).encode() for each in numbered(1, 2))
    (tmp_path / "0-1-1.ready").write_bytes(whole + b'\n{"n": 3, "and')

    assert taken(tmp_path) == numbered(1, 2)


def test_nobody_else_may_read_what_waits(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    Writer(folder).append(numbered(1))

    (segment,) = folder.glob("*.open")
    assert segment.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0


def test_a_record_that_must_go_vanishes_from_what_waits(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(numbered(1, 2, 3))
    writer.close()

    assert rewrite(tmp_path, lambda record: record["n"] != 2) == 1
    assert taken(tmp_path) == numbered(1, 3)


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aicmo_dagster.store.spool import Writer\n"
        "writer, n = Writer(Path(sys.argv[1])), 0\n"
        "while True:\n"
        "    writer.append([{'n': n}]); print(n, flush=True); n += 1\n"
        "    if n % 50 == 0: writer.close()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        time.sleep(1.5)
        os.kill(process.pid, signal.SIGKILL)
        assert process.stdout is not None
        acknowledged = [int(line) for line in process.stdout.read().split(b"\n")[:-1]]

    assert acknowledged
    found = {record["n"] for record in taken(tmp_path)}
    assert set(acknowledged) <= found
