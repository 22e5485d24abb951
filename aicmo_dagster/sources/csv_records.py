"""The records of a CSV file as batches of Arrow columns, each with its line; misfits set aside.

Blocks whose quoting is regular, which is nearly all there are, go through Arrow; a block with a
misfit in it, and everything after irregular quoting, through Python's own reader. Both read alike.
Not here: what stands before the records (`csv_text`), what the columns mean (`csv_files`).
"""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.csv

from aicmo_dagster.errors import BadInput, Problem
from aicmo_dagster.sources.csv_text import CHUNK, Layout, Record, records, utf8_chunks

LARGEST_CELL = 1 << 20
"""Bytes; a record with a larger cell is set aside."""

_BATCH = 20_000
_SHOWN = 1000

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Misfit:
    """A record that cannot be used, why, and what stands in it as JSON."""

    line: int
    reason: str
    content: str


@dataclass(frozen=True)
class Batch:
    """Records by column.

    Args:
        lines: The line that each record starts on.
        cells: One column of text for each of the header, missing cells null.
        misfits: The records found among them that have no place in `cells`.
    """

    lines: Positions
    cells: pyarrow.Table
    misfits: list[Misfit] = field(default_factory=list)


@dataclass(frozen=True)
class _Block:
    """Whole records with regular quoting at the start of a buffer.

    Args:
        size: The bytes they take.
        breaks: The ends of lines in them.
        starts: The line that each record starts on, counted from 0; blank lines are left out.
        longest: The bytes of the longest record.
    """

    size: int
    breaks: int
    starts: Positions
    longest: int


def read_batches(
    layout: Layout, missing: Sequence[str], chunk_size: int = CHUNK
) -> Iterator[Batch]:
    """The records of the file in order, at least one batch.

    Args:
        layout: What is known of the file.
        missing: What stands in a cell that holds nothing.
        chunk_size: How many bytes to read at a time.

    Raises:
        BadInput: If a quote is opened that is never closed.
    """
    yield Batch(np.empty(0, np.int64), _columns([], layout, missing))
    line, pending = layout.body_line, b""
    chunks = _body(layout, chunk_size)
    while True:
        # A record that goes on and on is looked at again only when there is twice as much of it.
        more = _take(chunks, max(len(pending), 1))
        pending += more
        block = _regular_block(pending, layout.delimiter.encode(), final=not more)
        if block is None:
            rest = _text_lines([pending], chunks)
            yield from _parse_slowly(rest, line, layout, missing)
            return
        yield from _parse_block(pending[: block.size], block, line, layout, missing)
        line, pending = line + block.breaks, pending[block.size :]
        if not more:
            return


def show(cells: Sequence[str | None], header: Sequence[str]) -> str:
    """A record as JSON, by name if it has as many cells as the header; large cells cut."""
    shown = [c if c is None or len(c) <= _SHOWN else f"{c[:_SHOWN]}…" for c in cells]
    named = dict(zip(header, shown, strict=True)) if len(shown) == len(header) else shown
    return json.dumps(named, ensure_ascii=False)


def _body(layout: Layout, chunk_size: int) -> Iterator[bytes]:
    """The bytes after the header."""
    skip = layout.body_offset
    for chunk in utf8_chunks(layout.path, layout.encoding, chunk_size):
        if len(chunk) > skip:
            yield chunk[skip:]
        skip = max(0, skip - len(chunk))


def _take(chunks: Iterator[bytes], size: int) -> bytes:
    """At least `size` bytes of `chunks`, if there are so many left; none at their end."""
    taken: list[bytes] = []
    for chunk in chunks:
        taken.append(chunk)
        size -= len(chunk)
        if size <= 0:
            break
    return b"".join(taken)


def _regular_block(buffer: bytes, delimiter: bytes, *, final: bool) -> _Block | None:
    """The whole records in `buffer`; None if its quoting is not regular.

    Args:
        buffer: Text that starts with a record.
        delimiter: What stands between cells.
        final: Whether nothing follows it.
    """
    if final and buffer and not buffer.endswith((b"\n", b"\r")):
        buffer += b"\n"
    bytes_ = np.frombuffer(buffer, np.uint8)
    ends = _line_ends(buffer, bytes_, final=final)
    quotes = np.flatnonzero(bytes_ == ord('"')) if b'"' in buffer else np.empty(0, np.int64)
    if not _quotes_are_regular(bytes_, quotes, delimiter):
        return None
    # Outside quotes, the number of quotes so far is even.
    outside = np.flatnonzero(np.searchsorted(quotes, ends) % 2 == 0)
    if final and len(quotes) % 2:
        return None
    record_ends = ends[outside]
    size = int(record_ends[-1]) + 1 if len(outside) else 0
    starts = np.concatenate([[0], outside[:-1] + 1]) if size else outside
    lengths = np.diff(record_ends, prepend=-1)
    # The end of a line is one byte or, after a carriage return, two.
    two = (bytes_[record_ends - 1] == ord("\r")) & (bytes_[record_ends] == ord("\n"))
    blank = lengths == np.where(two & (record_ends > 0), 2, 1)
    breaks = int(outside[-1]) + 1 if size else 0
    return _Block(size, breaks, starts[~blank], int(lengths.max(initial=0)))


def _line_ends(buffer: bytes, bytes_: npt.NDArray[np.uint8], *, final: bool) -> Positions:
    """Where lines end: at LF, or at a CR that no LF follows."""
    if b"\r" not in buffer:
        return np.flatnonzero(bytes_ == ord("\n"))
    following = np.append(bytes_[1:], ord("\0") if final else ord("\n"))
    lone = (bytes_ == ord("\r")) & (following != ord("\n"))
    return np.flatnonzero((bytes_ == ord("\n")) | lone)


def _quotes_are_regular(bytes_: npt.NDArray[np.uint8], quotes: Positions, delimiter: bytes) -> bool:
    """Whether each quote opens or closes a cell, or is one of two that stand for one."""
    edge = np.zeros(256, bool)
    edge[[ord("\n"), ord("\r"), ord('"'), delimiter[0]]] = True
    before, after = quotes[0::2] - 1, quotes[1::2] + 1
    before, after = before[before >= 0], after[after < len(bytes_)]
    # Quotes side by side are one that closes and one that opens: two for one, as they are meant.
    return bool(edge[bytes_[before]].all() and edge[bytes_[after]].all())


def _parse_block(
    text: bytes, block: _Block, line: int, layout: Layout, missing: Sequence[str]
) -> Iterator[Batch]:
    """The records of one block, by Arrow if each of them fits."""
    if not len(block.starts):
        return
    table = _parse_by_arrow(text, layout, missing) if block.longest <= LARGEST_CELL else None
    if table is not None and table.num_rows == len(block.starts):
        yield Batch(line + block.starts, table)
        return
    yield from _parse_slowly(io.StringIO(text.decode(), newline=""), line, layout, missing)


def _parse_by_arrow(text: bytes, layout: Layout, missing: Sequence[str]) -> pyarrow.Table | None:
    """The cells of `text`; None if some record has too few or too many."""
    types = dict.fromkeys(layout.header, pyarrow.string())
    try:
        return pyarrow.csv.read_csv(
            pyarrow.BufferReader(text),
            read_options=pyarrow.csv.ReadOptions(
                column_names=list(layout.header), block_size=len(text) + 1
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=layout.delimiter, newlines_in_values=True
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                check_utf8=False,
                column_types=types,
                null_values=list(missing),
                strings_can_be_null=True,
            ),
        )
    except pyarrow.ArrowInvalid:
        return None


def _parse_slowly(
    lines: Iterable[str], first_line: int, layout: Layout, missing: Sequence[str]
) -> Iterator[Batch]:
    """The records of `lines`, by Python's reader."""
    fitting: list[Record] = []
    misfits: list[Misfit] = []
    for record in records(lines, layout.delimiter, first_line):
        if record.open_since:
            found, expected = (
                "a quote that is never closed",
                "a closing quote; is the file cut short?",
            )
            raise BadInput(Problem(layout.where, f"line {record.open_since}", found, expected))
        if _is_blank(record.cells, len(layout.header)):
            continue
        reason = _misfit_reason(record.cells, len(layout.header))
        if reason:
            misfits.append(Misfit(record.line, reason, show(record.cells, layout.header)))
        else:
            fitting.append(record)
        if len(fitting) + len(misfits) >= _BATCH:
            yield _batch(fitting, misfits, layout, missing)
            fitting, misfits = [], []
    yield _batch(fitting, misfits, layout, missing)


def _is_blank(cells: list[str], width: int) -> bool:
    return not cells or (len(cells) == 1 < width and not cells[0].strip())


def _misfit_reason(cells: list[str], width: int) -> str | None:
    if any(len(cell) > LARGEST_CELL // 4 and len(cell.encode()) > LARGEST_CELL for cell in cells):
        return "a cell is too large"
    return f"has {len(cells)} cells, the header {width}" if len(cells) != width else None


def _batch(
    fitting: list[Record], misfits: list[Misfit], layout: Layout, missing: Sequence[str]
) -> Batch:
    lines = np.array([record.line for record in fitting], np.int64)
    return Batch(lines, _columns([record.cells for record in fitting], layout, missing), misfits)


def _columns(rows: list[list[str]], layout: Layout, missing: Sequence[str]) -> pyarrow.Table:
    nothing = frozenset(missing)
    columns = zip(*rows, strict=True) if rows else ([] for _ in layout.header)
    arrays = [
        pyarrow.array([None if cell in nothing else cell for cell in column], pyarrow.string())
        for column in columns
    ]
    return pyarrow.table(arrays, names=list(layout.header))


def _text_lines(*sources: Iterable[bytes]) -> Iterator[str]:
    """Physical lines with their ends, of UTF-8 cut anywhere between characters."""
    rest = ""
    for source in sources:
        for chunk in source:
            *lines, rest = io.StringIO(rest + chunk.decode(), newline="") if rest or chunk else [""]
            yield from lines
    # What remains may hold a lone CR, which an LF could have followed.
    yield from io.StringIO(rest, newline="")
