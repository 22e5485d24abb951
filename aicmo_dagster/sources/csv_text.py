"""A CSV file as text, as any spreadsheet writes it: its encoding, delimiter and header.

Not here: its records by column (`csv_records`), what the columns mean (`csv_files`).
"""

import codecs
import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aicmo_dagster.errors import BadInput, Problem

CHUNK = 1 << 22
"""Bytes read at a time."""

DELIMITERS = (",", ";", "\t", "|")

_ARCHIVES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # xlsx and ods are zip files; xls is the other
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_EXCEL_SEPARATOR = re.compile(r'"?sep=([\t -!#-~])"?\s*', re.IGNORECASE)
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True)
class Record:
    """One record as written.

    Args:
        line: The physical line that it starts on, the first of the file being 1.
        cells: Its cells; none on a blank line.
        open_since: The line on which a quote opens that is never closed, if so.
    """

    line: int
    cells: list[str]
    open_since: int | None = None


@dataclass(frozen=True)
class Layout:
    """How to read the records of one file.

    Args:
        where: The file's name for people: relative to the document.
        header: The columns' names, trimmed; one without a name is called ``column N``.
        body_line: The line after the header.
        body_offset: The bytes before that line, in UTF-8 without a byte order mark.
    """

    path: Path
    where: str
    encoding: str
    delimiter: str
    header: tuple[str, ...]
    body_line: int
    body_offset: int


def read_layout(path: Path, where: str, wanted: frozenset[str]) -> Layout:
    """The layout of the file at `path`.

    Args:
        path: The file.
        where: Its name, for the errors.
        wanted: The columns that the campaign names; they must all be there.

    Raises:
        BadInput: If it is not text, empty, or its header is not one; with every problem found.
    """
    encoding = _encoding(path, where)
    beginning = next(utf8_chunks(path, encoding), b"").decode(errors="ignore")
    lines = list(io.StringIO(beginning, newline=""))
    separator = _EXCEL_SEPARATOR.fullmatch(lines[0]) if lines else None
    before = lines[:1] if separator else []
    marks = (separator[1],) if separator else DELIMITERS
    delimiter, header = _find_header(lines[len(before) :], marks, wanted)
    if not header.lines:
        raise BadInput(Problem(where, "", "an empty file", "a line with the names of the columns"))
    line = len(before) + header.lines
    problems = _header_problems(header, wanted, where, f"line {line}")
    if problems:
        raise BadInput(*problems)
    offset = len("".join(lines[:line]).encode())
    return Layout(path, where, encoding, delimiter, header.names, line + 1, offset)


def utf8_chunks(path: Path, encoding: str, size: int = CHUNK) -> Iterator[bytes]:
    """The text of the file as UTF-8, without a byte order mark, piece by piece."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as file:
        while chunk := file.read(size):
            yield decoder.decode(chunk).encode()
    yield decoder.decode(b"", final=True).encode()


def records(lines: Iterable[str], delimiter: str, first_line: int = 1) -> Iterator[Record]:
    """The records that `lines` hold, quotes and all.

    Args:
        lines: Physical lines with their ends.
        delimiter: What stands between cells.
        first_line: The number of the first of them.
    """
    csv.field_size_limit(2**31 - 1)  # the library's own limit would end the file at a large cell
    supply = _Supply(lines)
    reader = csv.reader(supply, delimiter=delimiter)
    start = 0
    for cells in reader:
        # The reader asks for another line after the last only while it is inside quotes.
        opened = first_line + reader.line_num - _spanned(cells[-1]) if supply.ended else None
        yield Record(first_line + start, cells, opened)
        start = reader.line_num


def _spanned(cell: str) -> int:
    """The number of physical lines that `cell` stands on."""
    return max(1, sum(1 for _ in io.StringIO(cell, newline="")))


class _Supply:
    """Lines that remember whether more of them were asked for than there are."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for line in self._lines:
            return line
        self.ended = True
        raise StopIteration


def _encoding(path: Path, where: str) -> str:
    """The encoding in which the whole file can be read."""
    try:
        with path.open("rb") as file:
            start = file.read(CHUNK)
        if start.startswith(_ARCHIVES):
            raise BadInput(Problem(where, "", "a spreadsheet", "text: save it as CSV"))
        found = next((name for name in _candidates(start) if _decodes(path, name, where)), None)
    except OSError as error:
        found_text = f"a file that cannot be read ({error.strerror})"
        raise BadInput(Problem(where, "", found_text, "a readable CSV file")) from error
    if found is None:
        expected = (
            "text in UTF-8, in UTF-16 with a byte order mark or in Windows-1252: save it as CSV"
        )
        raise BadInput(Problem(where, "", "a binary file", expected))
    return found


def _candidates(start: bytes) -> tuple[str, ...]:
    """The encodings that a file with this start may have, likeliest first."""
    if start.startswith(_UTF16):
        return ("utf-16",)
    # Only the Macintosh of old ended lines with CR alone; Excel there still does, in its encoding.
    old_macintosh = b"\r" in start and b"\n" not in start
    return ("utf-8-sig", "mac_roman" if old_macintosh else "cp1252")


def _decodes(path: Path, encoding: str, where: str) -> bool:
    """Whether the file is text in `encoding`, without NULs.

    Raises:
        BadInput: If it is, up to an end in the middle of a character.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    plain = True
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                text = decoder.decode(chunk)
                plain = plain and text.isascii()
                if "\0" in text:
                    return False
    except UnicodeDecodeError:
        return False
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        if plain:  # then nothing but this end speaks for the encoding
            return False
        cut = Problem(where, "", "an end in the middle of a character", "the whole file")
        raise BadInput(cut) from None
    return True


@dataclass(frozen=True)
class _Header:
    """The names of the columns, the lines up to their end, and whether a quote stays open there."""

    names: tuple[str, ...] = ()
    lines: int = 0
    is_open: bool = False


def _find_header(
    lines: list[str], marks: Iterable[str], wanted: frozenset[str]
) -> tuple[str, _Header]:
    """The delimiter, and the header that it makes of `lines`."""
    readings = {mark: _first_record(lines, mark) for mark in marks}
    # A mark inside the names may be as frequent; the one that yields the columns asked for is it.
    return max(
        readings.items(),
        key=lambda reading: (len(wanted.intersection(reading[1].names)), len(reading[1].names)),
    )


def _first_record(lines: list[str], delimiter: str) -> _Header:
    """The first record that is not blank, as a header."""
    supply = iter(lines)
    for record in records(supply, delimiter):
        names = [cell.strip() for cell in record.cells]
        if any(names):
            used = len(lines) - sum(1 for _ in supply)
            named = (name or f"column {place}" for place, name in enumerate(names, start=1))
            return _Header(tuple(named), used, record.open_since is not None)
    return _Header()


def _header_problems(
    header: _Header, wanted: frozenset[str], where: str, place: str
) -> list[Problem]:
    if header.is_open:
        return [Problem(where, place, "a quote that is never closed", "a closing quote")]
    if any(_ADDRESS.fullmatch(name) for name in header.names):
        # Nothing of such a line may be shown: it is somebody's record.
        found, expected = (
            "an address among the names of the columns",
            "a header line above the records",
        )
        return [Problem(where, place, found, expected)]
    problems = [
        Problem(where, place, f"the column {name!r} {count} times", "each column once")
        for name, count in Counter(header.names).items()
        if count > 1
    ]
    for name in sorted(wanted.difference(header.names)):
        problems.append(Problem(where, place, f"no column {name!r}", _nearest(name, header.names)))
    return problems


def _nearest(name: str, header: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, header, n=1, cutoff=0.6)
    names = ", ".join(map(repr, dict.fromkeys(header)))
    return f"{near[0]!r}, or another of the columns there: {names}" if near else f"one of: {names}"
