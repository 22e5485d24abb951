"""The two ways of reading records must not be told apart, wherever the pieces of a file are cut."""

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicmo_dagster.errors import BadInput
from aicmo_dagster.sources.csv_records import read_batches
from aicmo_dagster.sources.csv_text import read_layout

TEXTS = st.one_of(
    st.text(st.sampled_from('ab,"\n\r é'), max_size=60),
    # Whole cells in regular quoting, so that Arrow gets its share.
    st.lists(
        st.tuples(*[st.sampled_from(["a", "", '"b"', '"c,\r\nd"', '"""e"""', '""', "é"])] * 2).map(
            ",".join
        ),
        max_size=12,
    ).map("\r\n".join),
)


def _read(text: str, chunk_size: int) -> tuple[list[tuple[int, str | None, str | None]], list[int]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leads.csv"
        path.write_bytes(f"x,y\n{text}".encode())
        batches = list(read_batches(read_layout(path, "leads.csv", frozenset()), [""], chunk_size))
    fitting = [
        (int(line), cells["x"], cells["y"])
        for batch in batches
        for line, cells in zip(batch.lines, batch.cells.to_pylist(), strict=True)
    ]
    return fitting, sorted(misfit.line for batch in batches for misfit in batch.misfits)


def _read_by_the_book(text: str) -> tuple[list[tuple[int, str | None, str | None]], list[int]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    fitting, misfits, line = [], [], 2
    for cells in reader:
        if len(cells) == 2:
            fitting.append((line, cells[0] or None, cells[1] or None))
        elif cells and (len(cells) > 1 or cells[0].strip()):
            misfits.append(line)
        line = reader.line_num + 2
    return fitting, misfits


def _is_closed(text: str) -> bool:
    """By the standard library: another line would not become part of the last record."""
    return list(csv.reader(io.StringIO(f"{text}\nend", newline="")))[-1] == ["end"]


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from([1, 2, 3, 7, 1 << 22]))
def test_records_are_those_of_pythons_reader_however_the_file_is_cut(text: str, chunk_size: int):
    if not _is_closed(text):
        with pytest.raises(BadInput, match="never closed"):
            _read(text, chunk_size)
    else:
        assert _read(text, chunk_size) == _read_by_the_book(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a,"b', 2),
        ('a,b\nc,"d\ne,f\n', 3),
        ('a,"b\nb"\nc,"d\n\n\n', 4),
        ('"a\nb","c\nd\n', 3),
        ('a,5" b\nc,"d', 3),
    ],
)
def test_a_quote_that_is_never_closed_is_named_by_the_line_where_it_opens(text: str, line: int):
    with pytest.raises(BadInput) as caught:
        _read(text, 1 << 22)
    assert [problem.path for problem in caught.value.problems] == [f"line {line}"]


def test_a_quote_that_stays_open_over_many_pieces_is_found_in_time():
    """Each look at the open record takes twice as much as the last, not one piece more."""
    with pytest.raises(BadInput, match="line 2"):
        _read('"' + "a,b\n" * 250_000, 64)
